//! Dictionaries: what bodies of a partition are compressed with. Each stands in a file of its own, sealed under a key of
//! its partition; one ledger fact makes it visible, and only then may a frame name it.
//!
//! The copies that a stream's partitions have of one dictionary are one prepared dictionary in memory, kept by the hash
//! of what is sealed, a bounded number of them. What no living partition has any more is dropped at once.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::partitions::{Partition, Partitions};
use super::{Engine, tasks};
use crate::compress::Dictionary;
use crate::crypto::{DictionaryKey, Digest, sha256};
use crate::env::{self, Env, read_file};
use crate::error::{Error, ErrorKind, Result};
use crate::format::dictionary::{DICTIONARY_LIMIT, DICTIONARY_OVERHEAD, DictionaryHead, DictionaryView, Provenance};
use crate::format::journal::Unreadable;
use crate::format::ledger::{DictionaryFact, Fact, State};
use crate::ident::{PartitionNumber, Stream};
use crate::segment;
use crate::sync::atomic::Ordering;
use crate::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};

/// Prepared dictionaries kept in memory: half a megabyte for one of 64 KB, and as much again once a body is left to zstd.
const PREPARED_LIMIT: usize = 48;

/// Partitions of which it is known at once what new frames name.
const WRITING_LIMIT: usize = 64;

/// Files that are written at the same time where the store has threads of its own: each waits for the disk, and who
/// appends to a new window waits for all of them.
const SIDE_BY_SIDE: usize = 4;

const PREFIX: &str = "dictionary-";

/// The path of a dictionary, in the store's data directory `root`.
pub fn path(root: &Path, fact: &DictionaryFact) -> PathBuf {
    segment::directory(root, &fact.id).join(format!("{PREFIX}{:08x}", fact.dictionary))
}

/// The id of the dictionary with this name; `None` for any other file.
pub fn id_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(PREFIX)?;
    let id = u32::from_str_radix(digits, 16).ok()?;
    (id != 0 && format!("{id:08x}") == digits).then_some(id)
}

/// The id of a dictionary in frames and file names: by its words, so that copies bear the same. Never zero.
pub fn id(dictionary: &Dictionary) -> u32 {
    let [a, b, c, d, ..] = sha256(dictionary.bytes());
    u32::from_le_bytes([a, b, c, d]).max(1)
}

/// Reads the file at `path`, whole and of this store, for as much as can be told without a key.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where it is damaged, or not the one with `hash`; what the operating system answers.
pub fn read(env: &dyn Env, path: &Path, hash: Option<&Digest>) -> Result<(DictionaryHead, Vec<u8>)> {
    let limit = (DICTIONARY_LIMIT + DICTIONARY_OVERHEAD) as u64;
    let bytes = read_file(env, path, limit).map_err(|error| match error.kind() {
        std::io::ErrorKind::FileTooLarge => Error::corrupt(path, limit, "the dictionary is longer than any may be"),
        _ => Error::io("read a dictionary", path, error),
    });
    let hint = "records were compressed with it: see `tenure repair`, or bring it back from a copy of the store";
    let bytes = bytes.map_err(|error| error.hint(hint))?;
    let head = DictionaryView::parse(&bytes).map(|view| *view.head()).map_err(|unreadable| match unreadable {
        Unreadable::Malformed(wrong) => Error::corrupt(path, 0, wrong.0).hint(hint),
        Unreadable::Version(version) => {
            Error::new(ErrorKind::Unsupported, format!("the dictionary has version {version} of the format"))
                .in_file(path)
                .hint("open the store with the newer version that wrote it")
        }
    })?;
    if hash.is_some_and(|hash| *hash != sha256(&bytes)) {
        return Err(Error::corrupt(path, 0, "the dictionary is not the one that the ledger names").hint(hint));
    }
    Ok((head, bytes))
}

/// A dictionary as it stands in its file under `key`, packed.
///
/// # Errors
/// As [`read`]; [`ErrorKind::Corrupt`] where it does not open or is another partition's.
pub fn open(env: &dyn Env, root: &Path, fact: &DictionaryFact, key: &DictionaryKey) -> Result<Vec<u8>> {
    let path = path(root, fact);
    let (head, bytes) = read(env, &path, Some(&fact.hash))?;
    let wrong = |what: &str| Error::corrupt(&path, 0, what);
    if (head.partition, head.dictionary) != (fact.partition, fact.dictionary) {
        return Err(wrong("the dictionary belongs to another partition"));
    }
    let view = DictionaryView::parse(&bytes).map_err(|_| wrong("the dictionary changed while it was read"))?;
    view.open(key).map_err(|malformed| wrong(malformed.0))
}

/// The key of a partition's dictionary.
///
/// # Errors
/// [`ErrorKind::KeyUnavailable`] where it died with the partition's own.
pub fn key(partition: &Partition, fact: &DictionaryFact) -> Result<DictionaryKey> {
    partition.dictionary_key(fact.dictionary).ok_or_else(|| {
        let what = format!("dictionary {:08x} of partition {} has no key any more", fact.dictionary, fact.id);
        Error::new(ErrorKind::KeyUnavailable, what).hint("the keyring may be older than the store")
    })
}

/// A dictionary and the id that frames name it by.
pub type Named = (u32, Arc<Dictionary>);

#[derive(Default)]
struct Known {
    /// By partition, oldest first: new frames name the last.
    facts: HashMap<PartitionNumber, Vec<DictionaryFact>>,
    /// The dictionary of every stream that was trained last, to be copied into partitions that have none.
    newest: HashMap<Stream, DictionaryFact>,
}

impl Known {
    fn add(&mut self, fact: &DictionaryFact) {
        self.facts.entry(fact.partition).or_default().push(fact.clone());
        let newest = self.newest.entry(fact.id.stream.clone()).or_insert_with(|| fact.clone());
        if newest.provenance.trained <= fact.provenance.trained {
            *newest = fact.clone();
        }
    }
}

#[derive(Default)]
struct Prepared {
    by_content: HashMap<Digest, (Arc<Dictionary>, u64)>,
    contents: HashMap<(PartitionNumber, u32), Digest>,
    clock: u64,
    /// Partitions that were given a copy, or for which that failed: not tried again in this opening.
    tried: HashSet<PartitionNumber>,
}

/// The dictionaries of one opening.
#[derive(Default)]
pub struct Dictionaries {
    known: RwLock<Known>,
    prepared: Mutex<Prepared>,
    /// Held while partitions are given copies: who comes with records for one of them waits for its copy.
    copying: Mutex<()>,
    /// What new frames of the partitions written lately name, so that an append asks one lock.
    writing: RwLock<HashMap<PartitionNumber, Option<Named>>>,
}

impl Dictionaries {
    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().expect("no holder of this lock panics")
    }

    fn prepared(&self) -> MutexGuard<'_, Prepared> {
        self.prepared.lock().expect("no holder of this lock panics")
    }

    /// Takes over what the ledger says, and forgets what it no longer names.
    pub fn follow(&self, state: &State) {
        let mut fresh = Known::default();
        state.dictionaries.values().flatten().for_each(|fact| fresh.add(fact));
        *self.known.write().expect("no holder of this lock panics") = fresh;
        self.forget(|partition| !state.dictionaries.contains_key(&partition));
    }

    /// The dictionaries of one partition, oldest first.
    pub fn of(&self, partition: PartitionNumber) -> Vec<DictionaryFact> {
        self.known().facts.get(&partition).cloned().unwrap_or_default()
    }

    /// The dictionaries of a stream, each partition's own copies, in no order.
    pub fn of_stream(&self, stream: &Stream) -> Vec<DictionaryFact> {
        self.known().facts.values().flatten().filter(|fact| fact.id.stream == *stream).cloned().collect()
    }

    /// The dictionary of a stream that was trained last.
    pub fn newest(&self, stream: &Stream) -> Option<DictionaryFact> {
        self.known().newest.get(stream).cloned()
    }

    /// The same, made ready; none where it cannot be read.
    pub fn newest_prepared(&self, engine: &Engine, stream: &Stream) -> Option<Arc<Dictionary>> {
        let fact = self.newest(stream)?;
        let partition = engine.partitions.numbered(fact.partition)?;
        self.prepare(&*engine.env, &engine.root, &fact, &partition).ok()
    }

    /// Forgets those of partitions whose key was destroyed. Returns what they were.
    pub fn remove(&self, dead: &HashSet<PartitionNumber>) -> Vec<DictionaryFact> {
        let mut known = self.known.write().expect("no holder of this lock panics");
        let mut left = Known::default();
        let mut gone = Vec::new();
        for (partition, facts) in std::mem::take(&mut known.facts) {
            match dead.contains(&partition) {
                true => gone.extend(facts),
                false => facts.iter().for_each(|fact| left.add(fact)),
            }
        }
        *known = left;
        drop(known);
        self.forget(|partition| dead.contains(&partition));
        gone
    }

    /// The dictionary that new frames of `partition` name; `None` where there is none, or it cannot be read: appends go
    /// on without it.
    pub fn current(&self, env: &dyn Env, root: &Path, partition: &Partition) -> Option<Named> {
        if let Some(named) = self.writing.read().expect("no holder of this lock panics").get(&partition.number) {
            return named.clone();
        }
        let fact = self.known().facts.get(&partition.number)?.last()?.clone();
        let prepared = self.prepare(env, root, &fact, partition);
        let named = prepared.ok().map(|dictionary| (fact.dictionary, dictionary));
        let known = self.known();
        // It may have died meanwhile, or have a successor.
        if known.facts.get(&partition.number).and_then(|facts| facts.last()) == Some(&fact) {
            let mut writing = self.writing.write().expect("no holder of this lock panics");
            if writing.len() >= WRITING_LIMIT {
                writing.clear();
            }
            writing.insert(partition.number, named.clone());
        }
        named
    }

    /// Looks again for what new frames of a partition name: its file was made anew.
    pub fn look_again(&self, partition: PartitionNumber) {
        self.writing.write().expect("no holder of this lock panics").remove(&partition);
    }

    fn forget(&self, dead: impl Fn(PartitionNumber) -> bool) {
        self.writing.write().expect("no holder of this lock panics").clear();
        self.prepared().forget(dead);
    }

    fn add(&self, fact: &DictionaryFact) {
        self.known.write().expect("no holder of this lock panics").add(fact);
        self.look_again(fact.partition);
    }

    /// The dictionary that a frame of `partition` names.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where the ledger knows of none, or its file is damaged.
    pub fn named(&self, env: &dyn Env, root: &Path, partition: &Partition, id: u32) -> Result<Arc<Dictionary>> {
        let known = self.known();
        let fact = known.facts.get(&partition.number).and_then(|facts| facts.iter().find(|fact| fact.dictionary == id));
        let fact = fact.cloned().ok_or_else(|| {
            let what = format!("a frame names dictionary {id:08x}, of which the ledger knows nothing");
            Error::new(ErrorKind::Corrupt, what)
                .in_file(&segment::directory(root, &partition.id))
                .hint("bring ledger and segments from one and the same copy of the store")
        })?;
        drop(known);
        self.prepare(env, root, &fact, partition)
    }

    fn prepare(
        &self,
        env: &dyn Env,
        root: &Path,
        fact: &DictionaryFact,
        partition: &Partition,
    ) -> Result<Arc<Dictionary>> {
        let place = (fact.partition, fact.dictionary);
        if let Some(dictionary) = self.prepared().find(place) {
            return Ok(dictionary);
        }
        let packed = open(env, root, fact, &key(partition, fact)?)?;
        let content = sha256(&packed);
        if let Some(dictionary) = self.keep(fact, content, None) {
            return Ok(dictionary);
        }
        let dictionary = Dictionary::unpack(packed, DICTIONARY_LIMIT).map_err(|_| {
            Error::corrupt(&path(root, fact), 0, "the words of the dictionary make no sense")
                .hint("run `tenure verify --deep` and report this")
        })?;
        let dictionary = Arc::new(dictionary);
        Ok(self.keep(fact, content, Some(dictionary.clone())).unwrap_or(dictionary))
    }

    /// Keeps a dictionary in memory, the one of the same content where there is one. Nothing is kept of a column that
    /// died while its dictionary was read: whoever removes it from what is known waits for this, and forgets it then.
    fn keep(
        &self,
        fact: &DictionaryFact,
        content: Digest,
        dictionary: Option<Arc<Dictionary>>,
    ) -> Option<Arc<Dictionary>> {
        let known = self.known();
        if !known.facts.get(&fact.partition).is_some_and(|facts| facts.contains(fact)) {
            return None;
        }
        let mut prepared = self.prepared();
        prepared.keep((fact.partition, fact.dictionary), content, dictionary)
    }

    /// Whether `partition` has no dictionary while its stream has one, and giving it a copy has not failed.
    pub fn lacks(&self, partition: &Partition) -> bool {
        let known = self.known();
        !known.facts.contains_key(&partition.number)
            && known.newest.contains_key(&partition.id.stream)
            && !self.prepared().tried.contains(&partition.number)
    }
}

impl Prepared {
    fn find(&mut self, key: (PartitionNumber, u32)) -> Option<Arc<Dictionary>> {
        let content = self.contents.get(&key)?;
        self.clock += 1;
        let (dictionary, used) = self.by_content.get_mut(content)?;
        *used = self.clock;
        Some(dictionary.clone())
    }

    fn keep(
        &mut self,
        place: (PartitionNumber, u32),
        content: Digest,
        dictionary: Option<Arc<Dictionary>>,
    ) -> Option<Arc<Dictionary>> {
        self.clock += 1;
        let kept = match (self.by_content.get_mut(&content), dictionary) {
            (Some((kept, used)), _) => {
                *used = self.clock;
                kept.clone()
            }
            (None, dictionary) => self.by_content.entry(content).or_insert((dictionary?, self.clock)).0.clone(),
        };
        self.contents.insert(place, content);
        if self.by_content.len() > PREPARED_LIMIT {
            let oldest = self.by_content.iter().min_by_key(|(_, (_, used))| *used).map(|(content, _)| *content);
            oldest.map(|content| self.by_content.remove(&content));
        }
        Some(kept)
    }

    fn forget(&mut self, dead: impl Fn(PartitionNumber) -> bool) {
        self.contents.retain(|(partition, _), _| !dead(*partition));
        let left: HashSet<&Digest> = self.contents.values().collect();
        self.by_content.retain(|content, _| left.contains(content));
    }
}

/// A dictionary that a partition is to have.
pub struct Gift<'a> {
    /// The partition.
    pub partition: &'a Partition,
    /// The dictionary.
    pub dictionary: Arc<Dictionary>,
    /// What it was made of.
    pub provenance: Provenance,
}

impl Gift<'_> {
    /// Seals it under the partition's key and publishes its file. The fact that will make it visible; nothing where the
    /// partition has it, or no key any more, or where there is a file, left behind by a step that failed.
    fn write(&self, engine: &Engine) -> Result<Option<DictionaryFact>> {
        let &Gift { partition, ref dictionary, provenance } = self;
        let (number, id) = (partition.number, id(dictionary));
        if engine.catalog.dictionaries.of(number).iter().any(|fact| fact.dictionary == id) {
            return Ok(None);
        }
        let head = DictionaryHead { store: engine.store, partition: number, dictionary: id, provenance };
        let Some(key) = partition.key.as_ref().map(|key| key.dictionary(id)) else { return Ok(None) };
        let sealed = head.seal(&key, &dictionary.packed());
        let sealed =
            sealed.ok_or_else(|| Error::new(ErrorKind::Invalid, "the dictionary is longer than any may be"))?;
        let (hash, bytes) = (sha256(&sealed), sealed.len() as u64);
        let fact =
            DictionaryFact { partition: number, id: partition.id.clone(), dictionary: id, hash, bytes, provenance };
        let path = path(&engine.root, &fact);
        let directory = env::parent(&path);
        env::create_dirs(&*engine.env, directory).map_err(|error| Error::io("make a directory", directory, error))?;
        match env::publish_new(&*engine.env, &path, &sealed) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(None),
            published => published.map(|()| Some(fact)).map_err(|error| Error::io("write a dictionary", &path, error)),
        }
    }
}

/// Makes those facts durable and known that are chosen by what the state is by now, and returns them.
fn record(engine: &Engine, choose: impl FnOnce(&State) -> Vec<DictionaryFact>) -> Result<Vec<DictionaryFact>> {
    let mut ledger = engine.ledger();
    let chosen = choose(ledger.state());
    engine.record_in(&mut ledger, &chosen.iter().cloned().map(Fact::Dictionary).collect::<Vec<_>>())?;
    // Before anybody can record anything else.
    chosen.iter().for_each(|fact| engine.catalog.dictionaries.add(fact));
    Ok(chosen)
}

/// Gives partitions dictionaries: publishes the files, side by side where the store has threads of its own, and then the
/// facts, with one sync. Of each, whether it is there now: `false` where the partition has this one or expires, or `stale`
/// says so at the last moment. No lock is held but the ledger's, while it makes the facts durable.
///
/// # Errors
/// Of one, what the operating system answers; of all, what the keyring or the ledger answers.
pub fn publish(engine: &Engine, gifts: &[Gift<'_>], stale: &dyn Fn(&State) -> bool) -> Result<Vec<Result<bool>>> {
    let threads = if engine.writer()?.has_worker { SIDE_BY_SIDE } else { 1 };
    let mut written = tasks::each(threads, 1 + gifts.len(), &|number| match number.checked_sub(1) {
        // The partitions' keys must not be lost when what names the partitions is not.
        None => engine.keyring.sync().map(|_| None),
        Some(number) => gifts[number].write(engine),
    });
    written.remove(0)?;
    let closing = || engine.writer.as_ref().is_none_or(|writer| writer.closing.load(Ordering::Acquire));
    let facts = || written.iter().filter_map(|written| written.as_ref().ok()?.as_ref());
    let recorded = record(engine, |state| {
        let is_over = closing() || stale(state);
        facts().filter(|fact| !is_over && !state.acts.expired.contains(&fact.partition)).cloned().collect()
    })?;
    for fact in facts().filter(|fact| !recorded.contains(fact)) {
        let path = path(&engine.root, fact);
        let _ = engine.env.remove_file(&path); // Else the next sweep does.
        let _ = engine.env.remove_dir(env::parent(&path));
    }
    Ok(written.into_iter().map(|fact| fact.map(|fact| fact.is_some_and(|fact| recorded.contains(&fact)))).collect())
}

/// Gives each of `partitions` that lacks one a copy of its stream's newest dictionary. A copy that fails is done without:
/// the partition's records are stored longer, and nothing else. One caller at a time: the others then find it done.
///
/// # Errors
/// What the ledger or the keyring answers after a failed sync.
pub fn spread<'a>(engine: &Engine, partitions: &'a [Arc<Partition>]) -> Result<()> {
    let dictionaries = &engine.catalog.dictionaries;
    let _one_at_a_time = dictionaries.copying.lock().expect("no holder of this lock panics");
    let lacking: Vec<_> = partitions.iter().filter(|partition| dictionaries.lacks(partition)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let gift = |partition: &&'a Arc<Partition>| {
        let provenance = dictionaries.newest(&partition.id.stream)?.provenance;
        let dictionary = dictionaries.newest_prepared(engine, &partition.id.stream)?;
        Some(Gift { partition, dictionary, provenance })
    };
    let gifts: Vec<Gift<'a>> = lacking.iter().filter_map(gift).collect();
    let published = publish(engine, &gifts, &|_| false);
    dictionaries.prepared().tried.extend(lacking.iter().map(|partition| partition.number));
    match published.map_or_else(Some, |published| published.into_iter().find_map(Result::err)) {
        Some(error) if error.kind() == ErrorKind::Poisoned => Err(error),
        _ => Ok(()),
    }
}

/// Forgets the dictionaries of partitions whose key was destroyed, and unlinks their files. Returns the directories that
/// they stood in.
///
/// # Errors
/// What the operating system answers; what is left is swept.
pub fn unlink(engine: &Engine, dead: &HashSet<PartitionNumber>) -> Result<HashSet<PathBuf>> {
    let mut directories = HashSet::new();
    for fact in engine.catalog.dictionaries.remove(dead) {
        let path = path(&engine.root, &fact);
        match engine.env.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove a dictionary", &path, error));
            }
            _ => {}
        }
        directories.insert(env::parent(&path).to_path_buf());
    }
    Ok(directories)
}

/// The file of a dictionary made anew from the copy of another partition of its stream, if there is one that gives exactly
/// the bytes that the ledger names.
pub fn again(engine: &Engine, partition: &Partition, fact: &DictionaryFact) -> Option<Vec<u8>> {
    let copies = engine.catalog.dictionaries.of_stream(&fact.id.stream).into_iter();
    let others = copies.filter(|copy| copy.dictionary == fact.dictionary && copy.partition != fact.partition);
    let head = DictionaryHead {
        store: engine.store,
        partition: fact.partition,
        dictionary: fact.dictionary,
        provenance: fact.provenance,
    };
    others
        .filter_map(|copy| {
            let from = engine.partitions.numbered(copy.partition)?;
            let packed = open(&*engine.env, &engine.root, &copy, &key(&from, &copy).ok()?).ok()?;
            head.seal(&key(partition, fact).ok()?, &packed)
        })
        .find(|bytes| sha256(bytes) == fact.hash)
}

/// Every dictionary file below the store's directory that is whole and of a living partition, and that no fact of
/// `state` names, as facts. For a ledger that is older than the files.
///
/// # Errors
/// What the operating system answers.
pub fn unheard(env: &dyn Env, root: &Path, (state, partitions): (&State, &Partitions)) -> Result<Vec<DictionaryFact>> {
    let mut found = Vec::new();
    for at in super::sweep::files_named(env, root, id_of)? {
        let Ok((head, bytes)) = read(env, &at, None) else { continue };
        let Some(partition) = partitions.numbered(head.partition) else { continue };
        let fact = DictionaryFact {
            partition: head.partition,
            id: partition.id.clone(),
            dictionary: head.dictionary,
            hash: sha256(&bytes),
            bytes: bytes.len() as u64,
            provenance: head.provenance,
        };
        let known = state.dictionaries.get(&head.partition).into_iter().flatten();
        let is_known = known.map(|known| known.dictionary).any(|known| known == head.dictionary);
        let is_ours = head.store == state.store && path(root, &fact) == at;
        if is_ours && !is_known && key(&partition, &fact).is_ok_and(|key| open(env, root, &fact, &key).is_ok()) {
            found.push(fact);
        }
    }
    found.sort_by_key(|fact| (fact.provenance.trained, fact.partition));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::PartitionId;
    use crate::window::{Timestamp, WindowLength};

    #[test]
    fn what_died_while_it_was_read_is_not_kept() {
        let at = Timestamp::from_micros(0);
        let id = PartitionId::holding(Stream::new("chat", "EU").unwrap(), at, WindowLength::Month);
        let partition = PartitionNumber(7);
        let provenance = Provenance { trained: at, origin: partition, plain_bytes: 0, with_bytes: 0 };
        let fact = DictionaryFact { partition, id, dictionary: 5, hash: [1; 32], bytes: 100, provenance };
        let dictionaries = Dictionaries::default();
        let words = || Some(Arc::new(Dictionary::new(b"what everybody says".to_vec()).unwrap()));
        dictionaries.add(&fact);
        assert!(dictionaries.keep(&fact, [2; 32], None).is_none(), "nobody has it yet");
        assert!(dictionaries.keep(&fact, [2; 32], words()).is_some());
        assert!(
            dictionaries.keep(&fact, [2; 32], None).is_some() && dictionaries.prepared().find((partition, 5)).is_some()
        );
        assert_eq!(dictionaries.remove(&HashSet::from([partition])).len(), 1);
        // Whoever opened its file before the column died is done only now.
        assert!(dictionaries.keep(&fact, [2; 32], words()).is_none());
        let prepared = dictionaries.prepared();
        assert!(prepared.by_content.is_empty() && prepared.contents.is_empty());
    }
}
