//! The keys of access logs, one a month, made by the writer ahead of time: whoever only reads can make none.

use super::Keyring;
use super::fold::random_key;
use super::log::locked;
use crate::crypto::{Key, signing_seed};
use crate::error::Result;
use crate::format::access::{Month, MonthKey};
use crate::format::keyring::{EntryKind, TREE_KEY_BYTES, TreeKey};

/// How many months ahead keys are made.
const MONTHS_AHEAD: usize = 12;

impl Keyring {
    /// The key of a month, where it has one.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] where the part of the tree that would hold it cannot be read.
    pub fn month_key(&self, month: Month) -> Result<Option<Key>> {
        let Some((payload, _)) = self.find(&MonthKey::place(month))? else { return Ok(None) };
        MonthKey::decode(&payload).map(|found| Some(found.key)).map_err(|what| self.damage(what))
    }

    /// Makes the keys of `month` and the twelve after it that are missing, and makes them durable.
    ///
    /// # Errors
    /// As [`Keyring::use_customer`].
    pub fn make_month_keys(&self, month: Month) -> Result<()> {
        let mut made = false;
        let mut next = month;
        for _ in 0..=MONTHS_AHEAD {
            let place = MonthKey::place(next);
            let _stripe = locked(self.stripe(&place));
            if self.find(&place)?.is_none() {
                let key = MonthKey { month: next, key: random_key(&*self.env)? };
                self.append(place, true, key.encode())?;
                made = true;
            }
            next = next.next();
        }
        if made {
            self.sync()?;
        }
        Ok(())
    }

    /// The months that have a key, oldest first.
    ///
    /// # Errors
    /// As [`Keyring::month_key`].
    pub fn months(&self) -> Result<Vec<Month>> {
        let mut months = Vec::new();
        let from = TreeKey::new(EntryKind::AccessMonth, &[0; 16]);
        let to = TreeKey([EntryKind::AccessMonth as u8 + 1; TREE_KEY_BYTES]);
        self.walk_items(&from, Some(&to), &mut |item| {
            months.push(MonthKey::decode(&item.payload).map_err(|what| self.damage(what))?.month);
            Ok(())
        })?;
        Ok(months)
    }

    /// Where the key of a month stands, for [`Keyring::shred`].
    pub fn month_place(&self, month: Month) -> TreeKey {
        MonthKey::place(month)
    }

    /// The seed of the key that checkpoints are signed with.
    pub fn signing_seed(&self) -> Key {
        signing_seed(&self.store, &self.lookup)
    }
}
