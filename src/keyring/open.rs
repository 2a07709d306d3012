//! Opening a keyring: the newest root among all slots, the tree under it, the entries behind it from the mirror with the
//! longest valid chain. What is right is decided here, before anything is mended.

use crate::sync::Arc;
use std::io;
use std::path::{Path, PathBuf};

use super::custodian::Custodian;
use super::log::{Log, Mirror, log_path};
use super::mend::{mend_copies, mend_tails, sweep};
use super::roots::{Roots, Slot, mend_roots, read_roots};
use super::scan::{Scan, scan};
use super::state::{State, Unfolded};
use super::tree::{Nodes, Tree, damaged};
use super::{Access, Floor, Keyring, KeyringOptions, KeyringReport};
use crate::env::{self, Env, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::bytes::{Malformed, filled};
use crate::format::keyring::{EntryBody, EntryKind, LOG_HEAD_BYTES, LogFrame, LogHead, Place};
use crate::format::keyring_column::Column;
use crate::format::keyring_root::RootRecord;
use crate::format::keyring_tree::Payload;
use crate::ident::StoreId;

/// The most bytes behind the last fold that are read: far beyond what folding lets pile up.
pub(super) const TAIL_LIMIT: u64 = 1 << 30;
/// A reader tries again this often when a writer changes files under it.
const READ_ATTEMPTS: usize = 10;

/// Where a keyring is and who opens it.
pub(super) struct Site {
    pub env: Arc<dyn Env>,
    pub dirs: Vec<PathBuf>,
    pub custodian: Arc<dyn Custodian>,
    pub store: StoreId,
}

/// The number in the name of a log file.
pub(super) fn log_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".keys")?;
    if digits.len() == 10 { digits.parse().ok() } else { None }
}

/// One mirror's log as it was found.
pub(super) struct Copy {
    pub mirror: Mirror,
    /// Where in the log of all files it begins.
    pub base: u64,
    pub tail: Vec<u8>,
    pub scan: Scan,
    /// Whether its tail holds frames of another mirror by now.
    pub patched: bool,
}

/// The file before, from which the tree has not been carried over wholly.
pub(super) struct Before {
    pub base: u64,
    /// By directory; none where it is missing or damaged.
    pub mirrors: Vec<Option<Mirror>>,
}

/// A keyring as it was found, nothing mended yet.
pub(super) struct Loaded {
    pub roots: Roots,
    pub state: State,
    /// By directory; none where it is missing, damaged or behind.
    pub copies: Vec<Option<Copy>>,
    pub best: usize,
    pub before: Option<Before>,
}

pub(super) fn open_root(site: &Site, roots: &Roots) -> Result<RootRecord> {
    let plain = site.custodian.open(&roots.newest.sealed)?;
    let wrong = |what: String| {
        let path = site.dirs.first().map(|dir| dir.join("root.a")).unwrap_or_default();
        Error::corrupt(&path, 0, format!("the keyring's root record: {what}"))
    };
    let record = RootRecord::decode(&plain).map_err(|what| wrong(what.to_string()))?;
    if record.store != site.store || record.epoch != roots.newest.epoch {
        return Err(wrong("it is not the one that its slot names".into()));
    }
    let known = site.custodian.registration()?;
    let behind = known.ledger_length > record.ledger_length
        || (known.ledger_length == record.ledger_length && known.ledger_head != record.ledger_head);
    if known.store != site.store {
        return Err(Error::new(ErrorKind::KeyUnavailable, "the custodian keeps the keys of another store")
            .hint("name the custodian that was made with this store"));
    }
    if behind {
        return Err(Error::new(ErrorKind::KeyUnavailable, "the keyring is older than its custodian remembers").hint(
            "it was restored from a copy: bring the newest one back, since erased customers live on in this one",
        ));
    }
    Ok(record)
}

/// Opens one file of the log, and reads its head.
fn open_file(site: &Site, dir: &Path, number: u64, write: bool) -> Result<(Mirror, LogHead)> {
    let path = log_path(dir, number);
    let io = |error| Error::io("read the keyring", &path, error);
    let file = site.env.open(&path, if write { OpenMode::Write } else { OpenMode::Read }).map_err(io)?;
    if write {
        // What a killed process wrote is made durable, what a failed sync left in the cache is forgotten.
        file.sync_data().map_err(io)?;
        file.drop_cache();
    }
    let mut head = [0; LOG_HEAD_BYTES];
    match env::read_exact_at(&*file, &mut head, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(Error::corrupt(&path, 0, "the keyring ends in its head"));
        }
        read => read.map_err(io)?,
    }
    let found =
        LogHead::decode(&head).map_err(|what| Error::corrupt(&path, 0, format!("the keyring's head: {what}")))?;
    if found.store != site.store {
        return Err(Error::new(ErrorKind::KeyUnavailable, "this keyring belongs to another store").in_file(&path));
    }
    if found.file != number {
        return Err(Error::corrupt(&path, 0, "the keyring's head is another file's"));
    }
    Ok((Mirror { path, file }, found))
}

fn too_short(path: &Path, length: u64) -> Error {
    Error::corrupt(path, length, "the keyring is shorter than its root says")
}

fn open_copy(site: &Site, dir: &Path, record: &RootRecord, write: bool) -> Result<Copy> {
    let (Mirror { path, file }, LogHead { base, .. }) = open_file(site, dir, record.file, write)?;
    let io = |error| Error::io("read the keyring", &path, error);
    let length = file.len().map_err(io)?;
    let fold = record.fold.checked_sub(base).ok_or_else(|| too_short(&path, 0))?;
    if length < fold {
        return Err(too_short(&path, length));
    }
    if length - fold > TAIL_LIMIT {
        return Err(Error::corrupt(&path, fold, "the keyring is impossibly long"));
    }
    let mut tail = vec![0; (length - fold) as usize];
    match env::read_exact_at(&*file, &mut tail, fold) {
        // A writer may cut the file while a reader reads it.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !write => {}
        read => read.map_err(io)?,
    }
    let filled = filled(&tail);
    let scan = scan(&tail, record.fold, record.epoch, record.next_entry);
    // Up to the last whole entry, whose last bytes may be zeros, or up to whatever else stands there.
    tail.truncate(filled.max((scan.valid - record.fold) as usize));
    Ok(Copy { mirror: Mirror { path, file }, base, tail, scan, patched: false })
}

/// Opens the file before, which must reach up to `until`; also returns where it begins.
fn open_before(site: &Site, dir: &Path, number: u64, until: u64, write: bool) -> Result<(Mirror, u64)> {
    let (mirror, LogHead { base, .. }) = open_file(site, dir, number, write)?;
    let length = mirror.file.len().map_err(|error| Error::io("read the keyring", &mirror.path, error))?;
    match until.checked_sub(base) {
        Some(bytes) if bytes > LOG_HEAD_BYTES as u64 && length >= bytes => Ok((mirror, base)),
        _ => Err(too_short(&mirror.path, length)),
    }
}

/// The file before, if the root names one: where the newest root and the file that is written were whole or, if it is
/// whole in none of these directories, in any.
fn open_befores(site: &Site, record: &RootRecord, copies: &[Option<Copy>], write: bool) -> Result<Option<Before>> {
    let Some(until) = copies.iter().flatten().map(|copy| copy.base).next() else { return Ok(None) };
    if record.oldest == record.file {
        return Ok(None);
    }
    let mut failed = None;
    for any in [false, true] {
        let mut before = Before { base: 0, mirrors: Vec::with_capacity(site.dirs.len()) };
        for (dir, copy) in site.dirs.iter().zip(copies) {
            let opened = (any || copy.is_some()).then(|| open_before(site, dir, record.oldest, until, write));
            before.mirrors.push(match opened.transpose() {
                Ok(found) => found.map(|(mirror, base)| {
                    before.base = base;
                    mirror
                }),
                Err(error) => {
                    failed = failed.or(Some(error));
                    None
                }
            });
        }
        if before.mirrors.iter().any(Option::is_some) {
            return Ok(Some(before));
        }
    }
    let error = failed.unwrap_or_else(|| Error::new(ErrorKind::Invalid, "a keyring in no directory"));
    Err(error.hint("bring this file of the keyring back from a mirror"))
}

/// Opens the log in every directory whose root is the newest, or, if none of those is whole, in the others.
fn open_copies(site: &Site, roots: &Roots, record: &RootRecord, write: bool) -> Result<Vec<Option<Copy>>> {
    let current = |pair: &[Slot; 2]| {
        pair.iter().any(|slot| matches!(slot, Slot::Whole(slot) if slot.epoch == roots.newest.epoch))
    };
    let mut failed = None;
    for newest in [true, false] {
        let mut copies = Vec::with_capacity(site.dirs.len());
        for (dir, pair) in site.dirs.iter().zip(&roots.slots) {
            let copy = match current(pair) == newest {
                true => open_copy(site, dir, record, write),
                false => {
                    copies.push(None);
                    continue;
                }
            };
            match copy {
                Ok(copy) => copies.push(Some(copy)),
                Err(error) if error.kind() == ErrorKind::KeyUnavailable => return Err(error),
                Err(error) => {
                    failed = failed.or(Some(error));
                    copies.push(None);
                }
            }
        }
        if copies.iter().any(Option::is_some) {
            return Ok(copies);
        }
    }
    let error = failed.unwrap_or_else(|| Error::new(ErrorKind::Invalid, "a keyring in no directory"));
    Err(error.hint("bring the keyring back from a mirror"))
}

/// Where the longest chain breaks and another mirror has the frame that belongs there, takes it from that one.
fn patch(copies: &mut [Option<Copy>], record: &RootRecord) {
    while let Some(best) = longest(copies) {
        let Some(broken) = copies[best].as_ref().and_then(|copy| copy.scan.broken) else { return };
        let from = (broken.0 - record.fold) as usize;
        let others = copies.iter().enumerate().filter(|(index, _)| *index != best);
        let frame = others.filter_map(|(_, copy)| copy.as_ref()?.tail.get(from..)).find_map(|rest| {
            let (_, length) = LogFrame::parse(rest).ok()?;
            Some(rest[..length].to_vec())
        });
        let (Some(frame), Some(copy)) = (frame, &mut copies[best]) else { return };
        let end = from + frame.len();
        if copy.tail.len() < end {
            copy.tail.resize(end, 0);
        }
        if copy.tail[from..end] == frame {
            return; // It is whole, and stands there for another reason.
        }
        copy.tail[from..end].copy_from_slice(&frame);
        copy.scan = scan(&copy.tail, record.fold, record.epoch, record.next_entry);
        copy.patched = true;
    }
}

fn longest(copies: &[Option<Copy>]) -> Option<usize> {
    let whole = copies.iter().enumerate().filter_map(|(index, copy)| Some((index, copy.as_ref()?)));
    whole.max_by_key(|(index, copy)| (copy.scan.next, copy.scan.valid, usize::MAX - index)).map(|(index, _)| index)
}

/// The copy with the longest valid chain, checked against what is known to have been durable.
fn choose(copies: &[Option<Copy>], floor: Floor) -> Result<usize> {
    let none = || Error::new(ErrorKind::Invalid, "a keyring in no directory");
    let index = longest(copies).ok_or_else(none)?;
    let best = copies[index].as_ref().ok_or_else(none)?;
    let known = copies.iter().flatten().map(|copy| copy.scan.durable).max().unwrap_or(0).max(floor.entry);
    if known < best.scan.next {
        return Ok(index);
    }
    let (offset, what) = best.scan.broken.unwrap_or((best.scan.valid, "it ends"));
    let message = format!(
        "entry {} of the keyring was durable and is gone, up to entry {known} at least: {what}",
        best.scan.next
    );
    Err(Error::corrupt(&best.mirror.path, offset - best.base, message).hint(
        "bring this file back from a mirror of the keyring; without it the records of some customers cannot be read",
    ))
}

/// Decrypts the entry at `place` of `bytes`, which start at `base`, and takes it in.
pub(super) fn take_in(state: &mut State, nodes: &Nodes, bytes: &[u8], base: u64, place: Place) -> Result<()> {
    let tree = state.tree.clone();
    let wrong = |what| damaged(&tree.log, place, what);
    let Ok((LogFrame::Entry(frame), _)) = LogFrame::parse(&bytes[(place.offset - base) as usize..]) else {
        return Err(wrong(Malformed("another frame stands where an entry should be")));
    };
    let key = frame.open_route(&tree.store, &tree.route).map_err(wrong)?;
    let leaf = tree.leaf_of(nodes, &key)?;
    let plain = frame.open_body(&tree.store, &leaf.key).map_err(wrong)?;
    let body = EntryBody::decode(&plain).map_err(wrong)?;
    if body.key != key || body.previous != state.chain(&leaf).head {
        return Err(wrong(Malformed("an entry is not where its route and chain say")));
    }
    if key.kind() == EntryKind::Partition as u8 {
        let number = match Column::decode(body.payload).map_err(wrong)? {
            Column::Living(entry) => entry.number,
            Column::Remnant(remnant) => remnant.number,
        };
        state.next_partition = state.next_partition.max(number.0 + 1);
    }
    let (first, length) = (body.first, body.payload.len());
    let payload = Payload::end_of(plain, length);
    let entry = Unfolded { key, number: frame.head.number, first, payload };
    state.note(&leaf, entry, place);
    Ok(())
}

fn load(site: &Site, nodes: &Nodes, floor: Floor, write: bool) -> Result<Loaded> {
    let roots = read_roots(&*site.env, &site.dirs, &site.store, write)?;
    let record = open_root(site, &roots)?;
    let fold = record.fold;
    let mut copies = open_copies(site, &roots, &record, write)?;
    patch(&mut copies, &record);
    let best = choose(&copies, floor)?;
    let before = open_befores(site, &record, &copies, write)?;
    let Some(copy) = &copies[best] else {
        return Err(Error::new(ErrorKind::Invalid, "a keyring in no directory"));
    };
    // The best mirror first: the others are asked where it fails.
    let mut mirrors = vec![copy.mirror.clone()];
    let others = copies.iter().enumerate().filter(|(index, _)| *index != best);
    mirrors.extend(others.filter_map(|(_, copy)| Some(copy.as_ref()?.mirror.clone())));
    let log = Arc::new(Log::over((record.file, copy.base), mirrors, copy.scan.valid, write));
    let file_before = before.as_ref().map(|before| {
        let mirrors = before.mirrors.iter().flatten().cloned().collect();
        Arc::new(Log::over((record.oldest, before.base), mirrors, copy.base, write))
    });
    let mut state = State::over(Arc::new(Tree::open(site.store, (log, file_before), record)?));
    for place in &copy.scan.entries {
        take_in(&mut state, nodes, &copy.tail, fold, *place)?;
    }
    state.scanned = copy.scan.valid;
    Ok(Loaded { roots, state, copies, best, before })
}

impl Keyring {
    /// Opens the keyring of `store`. A writer cuts an unfinished append, mends mirrors and root slots, and folds what was
    /// not folded under a new root; a reader changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::KeyUnavailable`] where there is none, it is another store's or a rolled-back one, or the custodian
    /// cannot open it; [`ErrorKind::Corrupt`] where an entry that was durable (by `floor`, or by what later entries say)
    /// is in no mirror.
    pub fn open(
        env: Arc<dyn Env>,
        options: KeyringOptions,
        custodian: Arc<dyn Custodian>,
        store: &StoreId,
        access: Access,
        floor: Floor,
    ) -> Result<(Keyring, KeyringReport)> {
        let site = Site { env, dirs: options.dirs, custodian, store: *store };
        let nodes = Nodes::new(options.cache_bytes / 2);
        if access == Access::Read {
            let loaded = load_for_reading(&site, &nodes, floor)?;
            let cut = loaded.copies[loaded.best].as_ref().map_or(0, |copy| copy.scan.beyond);
            let keyring = Keyring::over(site, access, floor, options.cache_bytes, loaded.state);
            return Ok((keyring, KeyringReport { bytes_cut: cut, ..KeyringReport::default() }));
        }
        let mut loaded = load(&site, &nodes, floor, true)?;
        let mut report = KeyringReport {
            bytes_cut: loaded.copies[loaded.best].as_ref().map_or(0, |copy| copy.scan.beyond),
            ..KeyringReport::default()
        };
        report.mirrors_mended = mend_tails(&loaded)?;
        let copied = mend_copies(&site, &mut loaded)?;
        report.mirrors_mended += copied;
        report.roots_mended = mend_roots(&*site.env, &site.dirs, &loaded.roots)?;
        sweep(&site, &loaded.state.tree)?;
        let unclean = !loaded.state.entries.is_empty() || report != KeyringReport::default();
        let keyring = Keyring::over(site, access, floor, options.cache_bytes, loaded.state);
        if unclean {
            // Under a new root nothing that a mirror missed, or that was cut, can ever be taken for a part of the chain.
            keyring.fold(keyring.ledger())?;
        }
        Ok((keyring, report))
    }
}

/// Loads while a writer may be at work: a file that is being compacted away, or a slot half written, is tried again.
pub(super) fn load_for_reading(site: &Site, nodes: &Nodes, floor: Floor) -> Result<Loaded> {
    let mut attempt = 1;
    loop {
        match load(site, nodes, floor, false) {
            Ok(loaded) => return Ok(loaded),
            Err(error)
                if attempt < READ_ATTEMPTS && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) =>
            {
                nodes.clear();
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}
