//! Making a keyring: custodian, log with an empty tree, opening file, and last the root slots, from which moment on
//! there is one.

use crate::sync::Arc;
use std::path::Path;

use super::custodian::Custodian;
use super::fold::{no_randomness, random_key};
use super::log::Log;
use super::open::{Site, log_number};
use super::opening::write_first;
use super::roots::{SLOTS, Slot, read_slots, write_roots};
use super::state::State;
use super::tree::Tree;
use super::{Access, Floor, Keyring, KeyringOptions};
use crate::crypto::{NONCE_BYTES, sha256};
use crate::env::{self, Env, TEMPORARY};
use crate::error::{Error, ErrorKind, Result};
use crate::format::keyring::{CROWN_LEVEL, LOG_HEAD_BYTES, LogHead, NodeHead, TreeKey, seal_node};
use crate::format::keyring_root::{RootRecord, RootSlot};
use crate::format::keyring_tree::{Chain, Child, Crown, encode_leaf};
use crate::ident::StoreId;

const FIRST_FILE: u64 = 1;
const LEAF_ID: u64 = 1;
const CROWN_ID: u64 = 2;

impl Keyring {
    /// Makes a keyring for `store` in every directory and has the custodian begin to keep its keys. What an earlier
    /// attempt left behind is cleared away, as long as no opening of it was ever registered.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where there is a keyring already, or the custodian keeps another store's keys.
    pub fn create(
        env: Arc<dyn Env>,
        options: KeyringOptions,
        custodian: Arc<dyn Custodian>,
        store: StoreId,
    ) -> Result<Keyring> {
        if options.dirs.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "a keyring needs at least one directory"));
        }
        let site = Site { env, dirs: options.dirs, custodian, store };
        for dir in &site.dirs {
            env::create_dirs(&*site.env, dir).map_err(|error| Error::io("create the keyring", dir, error))?;
            clear(&site, dir)?;
        }
        site.custodian.create(&store)?;
        let epoch = site.custodian.next_epoch()?;
        let (tree, sealed) = first_tree(&site, epoch)?;
        write_first(&site)?;
        write_roots(&*site.env, &site.dirs, &RootSlot { store, epoch, sealed })?;
        Ok(Keyring::over(site, Access::Write, Floor::default(), options.cache_bytes, State::over(Arc::new(tree))))
    }
}

/// Removes what an attempt to create left in `dir`; refuses where it may be a keyring that somebody needs.
fn clear(site: &Site, dir: &Path) -> Result<()> {
    let io = |error| Error::io("clear the keyring's directory", dir, error);
    let names = site.env.list(dir).map_err(io)?;
    let ours = |name: &str| SLOTS.contains(&name) || name == "opening" || log_number(name).is_some();
    let mut removed = false;
    for entry in names.iter().filter(|entry| ours(&entry.name) || entry.name.ends_with(TEMPORARY)) {
        let path = dir.join(&entry.name);
        if !entry.name.ends_with(TEMPORARY) && !left_by_creation(site, dir, &entry.name) {
            return Err(Error::new(ErrorKind::Invalid, "there is a keyring here already")
                .in_file(&path)
                .hint("name another directory for the new keyring"));
        }
        site.env.remove_file(&path).map_err(io)?;
        removed = true;
    }
    // Durably: names that came back after a crash would belong to no custodian any more.
    if removed { site.env.sync_dir(dir).map_err(io) } else { Ok(()) }
}

fn left_by_creation(site: &Site, dir: &Path, name: &str) -> bool {
    let Ok(registration) = site.custodian.registration() else { return false };
    let store = match log_number(name) {
        Some(_) => {
            let file = site.env.open(&dir.join(name), env::OpenMode::Read);
            let mut head = [0; LOG_HEAD_BYTES];
            let read = file.and_then(|file| env::read_exact_at(&*file, &mut head, 0));
            read.ok().and_then(|()| LogHead::decode(&head).ok()).map(|head| head.store)
        }
        None if name == "opening" => super::opening::read(&*site.env, &[dir.to_path_buf()]).ok().map(|it| it.store),
        None => read_slots(&*site.env, &[dir.to_path_buf()], false).into_iter().flatten().find_map(|slot| match slot {
            Slot::Whole(slot) => Some(slot.store),
            _ => None,
        }),
    };
    registration.opening.number == 0 && store == Some(registration.store)
}

fn first_tree(site: &Site, epoch: u64) -> Result<(Tree, Vec<u8>)> {
    let mut log = Log::create(&*site.env, &site.dirs, (FIRST_FILE, 0), &site.store)?;
    let random = |_| -> Result<_> {
        let nonce = env::random::<NONCE_BYTES>(&*site.env).map_err(no_randomness)?;
        Ok((random_key(&*site.env)?, nonce))
    };
    let (leaf_key, leaf_nonce) = random(())?;
    let leaf = NodeHead { id: LEAF_ID, level: 0, epoch };
    let place = log.append(|out| seal_node(out, &site.store, &leaf, &leaf_key, &leaf_nonce, &encode_leaf(&[])));
    let top = Child { first: TreeKey::default(), place, id: LEAF_ID, key: leaf_key, items: 0, chain: Chain::default() };
    let crown = Crown {
        lookup: random_key(&*site.env)?,
        route: random_key(&*site.env)?,
        level: 0,
        top,
        next_node: CROWN_ID + 1,
        live_bytes: u64::from(place.length),
        folded: 0,
    };
    let (crown_key, crown_nonce) = random(())?;
    let head = NodeHead { id: CROWN_ID, level: CROWN_LEVEL, epoch };
    let mut frame = Vec::new();
    seal_node(&mut frame, &site.store, &head, &crown_key, &crown_nonce, &crown.encode());
    let place = log.append(|out| out.extend_from_slice(&frame));
    log.sync()?;
    log.publish(&*site.env)?;
    let root = RootRecord {
        store: site.store,
        epoch,
        file: FIRST_FILE,
        oldest: FIRST_FILE,
        crown: place,
        crown_id: CROWN_ID,
        crown_key,
        crown_hash: sha256(&frame),
        fold: log.end(),
        next_entry: 1,
        next_partition: 1,
        customers: 0,
        ledger_length: 0,
        ledger_head: [0; 32],
    };
    let sealed = site.custodian.seal(epoch, &root.encode())?;
    Ok((Tree::under(site.store, (Arc::new(log), None), root, crown), sealed))
}
