//! Audit, the other half: checkpoints over the ledger, proofs of what is in it, and the check that nothing of it or of
//! the access logs was changed since.
//!
//! The ledger notes how far the access logs have come, so that one checkpoint vouches for all of them.

use crate::sync::Arc;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::access_log::{self, LogFile, LogId, Month};
use crate::crypto::{Digest, Frontier, Signer, hex};
use crate::engine::{Engine, access};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::bytes::Malformed;
use crate::format::ledger::AccessMark;
use crate::format::note::{Checkpoint, Proof, PublicKey};
use crate::ident::StoreId;
use crate::ledger::{self, AccessLogs, Fact, Inclusion};
use crate::ops::audit::damage;
use crate::ops::receipt;
use crate::ops::recover::mark;
use crate::policy::Policy;
use crate::report::{Audit, Damage, ProvedReceipt, Receipt};
use crate::window::Timestamp;

fn signer(engine: &Engine) -> (PublicKey, Signer) {
    let signer = Signer::from_seed(&engine.keyring.signing_seed());
    (PublicKey::of(&engine.store, signer.public()), signer)
}

fn invalid(what: Malformed) -> Error {
    Error::new(ErrorKind::Invalid, what.0)
}

/// What checkpoints of this store are verified with.
pub fn key(engine: &Engine) -> PublicKey {
    signer(engine).0
}

/// A checkpoint over the ledger as it is, and, in a writing opening, over the access logs as they are.
///
/// # Errors
/// What the ledger answers.
pub fn checkpoint(engine: &Engine) -> Result<String> {
    if let Some(writer) = &engine.writer
        && let Ok(_one_at_a_time) = writer.housekeep_beside_settling()
    {
        access::tell_ledger(engine)?;
    }
    let ledger = engine.ledger();
    Ok(sign(engine, ledger.length(), ledger.head()))
}

fn sign(engine: &Engine, length: u64, head: Digest) -> String {
    let (key, signer) = signer(engine);
    Checkpoint { origin: key.name().to_owned(), length, head }.sign(&key, &signer)
}

/// The proof that leaf `index` is in the ledger.
///
/// # Errors
/// [`ErrorKind::Invalid`] where there is no such leaf; [`ErrorKind::Corrupt`] where the ledger is damaged.
pub fn prove(engine: &Engine, index: u64) -> Result<String> {
    let ledger = engine.ledger();
    if index >= ledger.length() {
        return Err(Error::new(ErrorKind::Invalid, format!("the ledger has {} leaves", ledger.length()))
            .hint("leaves are counted from 0"));
    }
    proof(engine, ledger.prove_where(&mut |at, _| at == index)?)
}

/// The proof of everything that the ledger says of act `number`; none where there is no such act.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where the ledger is damaged.
pub fn prove_receipt(engine: &Engine, number: u64) -> Result<Option<String>> {
    let proven = engine
        .ledger()
        .prove_where(&mut |_, leaf| ledger::leaf_fact(leaf).is_some_and(|(_, fact)| act_of(&fact) == Some(number)))?;
    if proven.is_empty() { Ok(None) } else { proof(engine, proven).map(Some) }
}

/// The accounts of those of these acts that there are, by number, each with its proof: words and proof are of the same leaves, so
/// that they agree whatever is done meanwhile.
///
/// # Errors
/// As [`prove_receipt`].
pub fn proved_receipts(engine: &Engine, numbers: &[u64]) -> Result<Vec<ProvedReceipt>> {
    receipt::notice(engine)?;
    let wanted: BTreeSet<u64> = numbers.iter().copied().collect();
    let of =
        |leaf: &[u8]| ledger::leaf_fact(leaf).and_then(|(_, fact)| act_of(&fact)).filter(|act| wanted.contains(act));
    let mut proven: BTreeMap<u64, Vec<Inclusion>> = BTreeMap::new();
    for inclusion in engine.ledger().prove_where(&mut |_, leaf| of(leaf).is_some())? {
        let Some(act) = of(&inclusion.leaf) else { continue };
        proven.entry(act).or_default().push(inclusion);
    }
    let told = |number: &u64| {
        let leaves = proven.remove(number).unwrap_or_default();
        let facts: Vec<_> = leaves.iter().filter_map(|leaf| Some((leaf.kind_and_time()?.1, leaf.fact()?))).collect();
        match receipt::from_facts(*number, &facts) {
            Some(receipt) => Ok(Some(ProvedReceipt { receipt, proof: Some(proof(engine, leaves)?) })),
            None => Ok(receipt::receipt(engine, *number).map(|receipt| ProvedReceipt { receipt, proof: None })),
        }
    };
    wanted.iter().map(told).filter_map(Result::transpose).collect()
}

fn proof(engine: &Engine, proven: Vec<Inclusion>) -> Result<String> {
    let first = proven.first().ok_or_else(|| Error::new(ErrorKind::Invalid, "there is nothing to prove"))?;
    let checkpoint = sign(engine, first.length, first.head);
    let leaves = proven.into_iter().map(|proven| (proven.index, proven.leaf, proven.path)).collect();
    Ok(Proof { leaves, checkpoint }.encode())
}

fn act_of(fact: &Fact) -> Option<u64> {
    match fact {
        Fact::Intended { number, .. } | Fact::Effected { number, .. } | Fact::Done { number } => Some(*number),
        _ => None,
    }
}

/// What was proved: leaves of a ledger, and the receipt that they make, if they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// How long the ledger was.
    pub length: u64,
    /// The leaves: number, kind and time.
    pub leaves: Vec<(u64, u8, Timestamp)>,
    /// The account of an act, where the leaves are all of one.
    pub receipt: Option<Receipt>,
}

/// Checks a proof against a public key, and nothing else: no store is needed.
///
/// # Errors
/// [`ErrorKind::Invalid`] where it is no proof, or not of this key; [`ErrorKind::Corrupt`] where it does not prove what it
/// says.
pub fn verify_proof(text: &str, key: &str) -> Result<Proved> {
    let key = PublicKey::parse(key).map_err(invalid)?;
    let proof = Proof::parse(text).map_err(invalid)?;
    let wrong = |what: &str| Error::new(ErrorKind::Corrupt, what);
    let checkpoint = Checkpoint::open(&proof.checkpoint, &key).map_err(|flaw| wrong(flaw.0))?;
    let mut leaves: Vec<(u64, u8, Timestamp)> = Vec::new();
    let mut facts = Vec::new();
    for (index, leaf, path) in proof.leaves {
        let inclusion = Inclusion { index, length: checkpoint.length, head: checkpoint.head, leaf, path };
        let in_order = leaves.last().is_none_or(|(last, ..)| *last < index);
        if !inclusion.holds() || !in_order {
            return Err(wrong("a leaf is not in the ledger that the checkpoint is of"));
        }
        let (kind, at) = inclusion.kind_and_time().ok_or_else(|| wrong("a leaf does not read"))?;
        leaves.push((index, kind, at));
        facts.extend(inclusion.fact().map(|fact| (at, fact)));
    }
    let receipt = match facts.first() {
        Some((_, Fact::Intended { number, .. })) => receipt::from_facts(*number, &facts),
        _ => None,
    };
    Ok(Proved { length: checkpoint.length, leaves, receipt })
}

/// Recomputes the ledger and every access log of the store in `root`, and compares them with a `checkpoint` that was kept
/// elsewhere, signed with `key`. Without one it is a self-check: whoever can write to the store could have made all of it
/// anew. Needs no key of the store, and opens nothing.
///
/// # Errors
/// [`ErrorKind::NotFound`] and [`ErrorKind::Unsupported`] where there is no store; [`ErrorKind::Invalid`] for a
/// checkpoint of another store or key. Whatever is wrong with the store is in the answer.
pub fn audit(env: &Arc<dyn Env>, root: &Path, against: Option<(&str, &str)>) -> Result<Audit> {
    let store = mark(&**env, root)?.store;
    let mut audit = Audit::default();
    let expect = against.map(|(note, key)| opened(note, key, &store)).transpose()?;
    audit.against = expect.as_ref().map(|checkpoint| checkpoint.length);
    let expect = expect.map(|checkpoint| (checkpoint.length, checkpoint.head));
    let dir = root.join("ledger");
    match ledger::verify(&**env, &dir, expect, None) {
        Ok(check) => {
            audit.ledger_leaves = check.leaves;
            audit.ledger_root = hex(&check.root);
            audit.unfinished_bytes += check.unfinished;
            if check.goes_on_from_older {
                // An opening of a restored store takes that for granted; who compares with a checkpoint asks just this.
                let what = "it goes on from an older copy: what the checkpoint was taken of is not all there";
                audit.damage.push(Damage { path: dir.clone(), offset: None, what: what.into() });
            }
        }
        Err(error) => {
            let path = error.path().unwrap_or(&dir).to_path_buf();
            audit.damage.push(Damage { path, offset: error.offset(), what: error.without_place() });
        }
    }
    let noted = noted(env, &dir, &store, audit.against).unwrap_or_default();
    audit.access_dropped_through = noted.dropped.map(|month| month.to_string());
    if let Some(month) = noted.too_early {
        let what = format!("access logs up to {month} were let go of before their time by the policy in force");
        audit.damage.push(Damage { path: dir, offset: None, what });
    }
    check_access_logs(&**env, root, &store, &noted, &mut audit)?;
    Ok(audit)
}

/// Whether every access log is there, whole, and continues what the ledger noted of it last. For those who verify
/// everything.
///
/// # Errors
/// What the operating system answers.
pub fn access_logs(env: &dyn Env, root: &Path, store: &StoreId, logs: &AccessLogs) -> Result<Audit> {
    let (mut noted, mut audit) = (Noted { dropped: logs.dropped_through, ..Noted::default() }, Audit::default());
    for mark in logs.marks.values() {
        noted.marks.entry(mark.key()).or_default().push(*mark);
    }
    check_access_logs(env, root, store, &noted, &mut audit)?;
    Ok(audit)
}

fn opened(note: &str, key: &str, store: &StoreId) -> Result<Checkpoint> {
    let key = PublicKey::parse(key).map_err(invalid)?;
    let checkpoint = Checkpoint::open(note, &key).map_err(invalid)?;
    match checkpoint.origin == crate::format::note::origin(store) {
        true => Ok(checkpoint),
        false => Err(Error::new(ErrorKind::Invalid, "the checkpoint is of another store")),
    }
}

/// Every mark of an access log that the ledger has ever made, in order.
#[derive(Default)]
struct Noted {
    marks: BTreeMap<(Month, LogId), Vec<AccessMark>>,
    dropped: Option<Month>,
    /// A month that was dropped since the checkpoint, although the policy of the time kept it longer.
    too_early: Option<Month>,
}

fn noted(env: &Arc<dyn Env>, dir: &Path, store: &StoreId, against: Option<u64>) -> Result<Noted> {
    let mut noted = Noted::default();
    let (mut policy, mut leaves) = (None, 0);
    ledger::each_leaf(&**env, dir, store, &mut |leaf| {
        leaves += 1;
        // What the checkpoint vouches for was on record when somebody took it.
        let is_vouched_for = against.is_none_or(|length| leaves <= length);
        match ledger::leaf_fact(leaf) {
            Some((_, Fact::AccessNoted { logs })) => {
                logs.into_iter().for_each(|mark| noted.marks.entry(mark.key()).or_default().push(mark));
            }
            Some((_, Fact::PolicySet { text, .. })) => policy = Policy::parse(&text).ok(),
            Some((at, Fact::AccessDropped { month })) => {
                let deadline = policy.as_ref().and_then(|policy| policy.access_log_deadline(&month.window()));
                if !is_vouched_for && deadline.is_none_or(|deadline| at < deadline) {
                    noted.too_early = noted.too_early.max(Some(month));
                }
                noted.dropped = noted.dropped.max(Some(month));
            }
            _ => {}
        }
    })?;
    Ok(noted)
}

fn check_access_logs(env: &dyn Env, root: &Path, store: &StoreId, noted: &Noted, audit: &mut Audit) -> Result<()> {
    let dir = root.join(access::DIRECTORY);
    let mut left: BTreeMap<_, _> = noted.marks.iter().filter(|((month, _), _)| Some(*month) > noted.dropped).collect();
    for file in access_log::files(env, &dir)? {
        let marks = left.remove(&(file.month, file.log)).map_or(&[][..], Vec::as_slice);
        match check_one(env, &file, store, marks) {
            Ok((entries, unfinished)) => {
                audit.access_logs += 1;
                audit.access_entries += entries;
                audit.access_vouched += marks.last().map_or(0, |mark| mark.length);
                audit.unfinished_bytes += unfinished;
            }
            Err(error) => audit.damage.push(damage(&file, &error)),
        }
    }
    for (month, log) in left.into_keys() {
        let path = dir.join(format!("{log}-{month}.log"));
        audit.damage.push(Damage { path, offset: None, what: "an access log that the ledger names is missing".into() });
    }
    Ok(())
}

/// Whether one access log was, at every length that the ledger noted, what the ledger noted.
fn check_one(env: &dyn Env, file: &LogFile, store: &StoreId, marks: &[AccessMark]) -> Result<(u64, u64)> {
    let mut marks = marks.iter().peekable();
    let mut passes = |tree: &Frontier| {
        while let Some(mark) = marks.next_if(|mark| mark.length == tree.length()) {
            if mark.head != tree.head() {
                return Err(Error::new(ErrorKind::Corrupt, "the access log is not the one that the ledger noted")
                    .in_file(&file.path));
            }
        }
        Ok(())
    };
    let scanned = access_log::scan(env, file, store, &mut |tree, _| passes(tree).map(|()| true))?;
    passes(&scanned.tree)?;
    match marks.next() {
        None => Ok((scanned.tree.length(), scanned.unfinished)),
        Some(mark) => {
            let what = format!("the access log has {} entries of {}", scanned.tree.length(), mark.length);
            Err(Error::corrupt(&file.path, scanned.end, what))
        }
    }
}
