//! What is asked of the access log and of the ledger's proofs.

use super::Store;
use crate::error::Result;
use crate::ops::audit::{self, AccessFilter};
use crate::ops::audit_proof;
use crate::report::{AccessReport, ProvedReceipt};

impl Store {
    /// Who did what, as the access log has it. What was about a customer is told while the customer lives here, and by
    /// nobody after.
    ///
    /// # Errors
    /// Damage in the keyring; damage of access logs is in the answer.
    pub fn access_log(&self, filter: &AccessFilter) -> Result<AccessReport> {
        audit::log(self.current()?, filter)
    }

    /// The public key that checkpoints and proofs of this store are verified with, in the form of C2SP signed notes:
    /// `NAME+HASH+KEY`. The same for the life of the store.
    pub fn audit_key(&self) -> String {
        audit_proof::key(&self.0.engine).to_string()
    }

    /// A signed checkpoint (C2SP tlog-checkpoint) over the ledger as it is. In a writing opening the ledger first notes how
    /// far the access logs have come, so that it vouches for those too; a reader's checkpoint covers them as of the last note
    /// that the writer made: at least once an hour where it keeps house, and at its close.
    ///
    /// # Errors
    /// What the ledger answers.
    pub fn checkpoint(&self) -> Result<String> {
        audit_proof::checkpoint(self.current()?)
    }

    /// The proof that leaf `index` (from 0) is in the ledger, with the checkpoint that it leads to, for
    /// [`crate::verify_proof`].
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] where there is no such leaf; [`crate::ErrorKind::Corrupt`] where the ledger is damaged.
    pub fn prove(&self, index: u64) -> Result<String> {
        audit_proof::prove(self.current()?, index)
    }

    /// The proof of everything that the ledger says of the act with this receipt: it verifies offline, without the store.
    /// `None` where there is no such act.
    ///
    /// # Errors
    /// As [`Store::prove`].
    pub fn prove_receipt(&self, number: u64) -> Result<Option<String>> {
        audit_proof::prove_receipt(self.current()?, number)
    }

    /// The receipts with these numbers, as far as there are any, each with its proof. What a receipt says and what its proof
    /// does are the same, also where another stage is reached meanwhile.
    ///
    /// # Errors
    /// As [`Store::prove`]; what the ledger of a writing opening answers.
    pub fn proved_receipts(&self, numbers: &[u64]) -> Result<Vec<ProvedReceipt>> {
        audit_proof::proved_receipts(self.current()?, numbers)
    }
}
