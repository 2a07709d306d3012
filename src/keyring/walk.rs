//! Walking over everything the keyring holds, in order of its keys, in bounded memory: leaves one at a time, with the
//! unfolded entries merged in.

use crate::sync::Arc;

use super::log::locked;
use super::state::Unfolded;
use super::{Keyring, ScrubNote};
use crate::error::Result;
use crate::format::keyring::{EntryKind, TreeKey};
use crate::format::keyring_entry::CustomerEntry;
use crate::format::keyring_tree::Item;

impl Keyring {
    /// Visits every item from `from` on and below `to`, as of the moment of the call. Returns how many customers there were
    /// at that moment.
    pub(super) fn walk_items(
        &self,
        from: &TreeKey,
        to: Option<&TreeKey>,
        visit: &mut dyn FnMut(&Item) -> Result<()>,
    ) -> Result<u64> {
        let within = |key: &TreeKey| from <= key && to.is_none_or(|to| key < to);
        let (tree, mut fresh, customers) = {
            let state = locked(&self.state);
            let fresh: Vec<Arc<Unfolded>> = state.by_key.values().filter(|entry| within(&entry.key)).cloned().collect();
            (state.tree.clone(), fresh, state.customers)
        };
        fresh.sort_unstable_by_key(|entry| entry.key);
        let item = |entry: &Unfolded| Item { key: entry.key, number: entry.number, payload: entry.payload.clone() };
        let mut next = 0;
        tree.walk(&self.nodes, from, to, &mut |held| {
            while next < fresh.len() && fresh[next].key < held.key {
                visit(&item(&fresh[next]))?;
                next += 1;
            }
            match fresh.get(next).filter(|entry| entry.key == held.key) {
                Some(entry) => {
                    next += 1;
                    visit(&item(entry))
                }
                None => visit(held),
            }
        })?;
        fresh[next..].iter().try_for_each(|entry| visit(&item(entry)))?;
        Ok(customers)
    }

    /// Visits every customer, tombstones included, as of the moment of the call. In no order that means anything.
    ///
    /// # Errors
    /// The visitor's, or [`crate::ErrorKind::Corrupt`] where a part of the tree cannot be read.
    pub fn walk_customers(&self, visit: &mut dyn FnMut(&CustomerEntry) -> Result<()>) -> Result<()> {
        self.walk_customers_part(0, 1, visit)
    }

    /// Visits one of `parts` shares of all customers, of about equal size, so that threads can divide a walk.
    ///
    /// # Errors
    /// As [`Keyring::walk_customers`].
    pub fn walk_customers_part(
        &self,
        part: u32,
        parts: u32,
        visit: &mut dyn FnMut(&CustomerEntry) -> Result<()>,
    ) -> Result<()> {
        let bound = |part: u32| {
            let share = u64::from(part) * (1 << 32) / u64::from(parts.max(1));
            let mut tag = [0; 16];
            // Part and parts fit 32 bits, so that a share below the last fits too; the end of the last is another kind.
            tag[..4].copy_from_slice(&(share as u32).to_be_bytes());
            match part >= parts {
                true => TreeKey::new(EntryKind::Partition, &[0; 16]),
                false => TreeKey::new(EntryKind::Customer, &tag),
            }
        };
        let (from, to) = (bound(part), bound(part.saturating_add(1)));
        self.walk_items(&from, Some(&to), &mut |item| visit(&self.decode(&item.payload)?)).map(drop)
    }

    /// Visits every note of dead cells that are still to be scrubbed, each with where it stands.
    ///
    /// # Errors
    /// As [`Keyring::walk_customers`].
    pub fn walk_notes(&self, visit: &mut dyn FnMut(TreeKey, ScrubNote) -> Result<()>) -> Result<()> {
        let from = TreeKey::new(EntryKind::ScrubNote, &[0; 16]);
        let to = TreeKey::new(EntryKind::Hold, &[0; 16]);
        self.walk_items(&from, Some(&to), &mut |item| {
            visit(item.key, ScrubNote::decode(&item.payload).map_err(|what| self.damage(what))?)
        })
        .map(drop)
    }
}
