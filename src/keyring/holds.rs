//! Legal holds in the keyring: appended when they are placed, removed by a rewrite when they are lifted.

use super::Keyring;
use super::log::locked;
use crate::error::Result;
use crate::format::keyring::{EntryKind, TREE_KEY_BYTES, TreeKey};
use crate::format::keyring_hold::HoldEntry;

impl Keyring {
    /// Adds a hold and makes it durable in every mirror.
    ///
    /// # Errors
    /// As [`Keyring::use_customer`].
    pub fn place_hold(&self, hold: &HoldEntry) -> Result<()> {
        let key = HoldEntry::key(hold.number);
        {
            let _stripe = locked(self.stripe(&key));
            self.append(key, true, hold.encode())?;
        }
        self.sync().map(drop)
    }

    /// Every hold, in order of their numbers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] where a part of the tree that may hold one cannot be read.
    pub fn holds(&self) -> Result<Vec<HoldEntry>> {
        let mut holds = Vec::new();
        let from = TreeKey::new(EntryKind::Hold, &[0; 16]);
        let to = TreeKey([EntryKind::Hold as u8 + 1; TREE_KEY_BYTES]);
        self.walk_items(&from, Some(&to), &mut |item| {
            holds.push(HoldEntry::decode(&item.payload).map_err(|what| self.damage(what))?);
            Ok(())
        })?;
        Ok(holds)
    }
}
