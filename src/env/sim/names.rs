//! The simulated names: what readers see, what the medium has, and the changes between the two.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use super::chance::Chance;
use super::faults::Survivors;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Dir,
    File(u64),
}

/// One change of one name that the medium may not have yet.
struct Change {
    number: u64,
    path: String,
    entry: Option<Entry>,
    /// The old name of a rename goes only if the new one, which is this change, came.
    after: Option<u64>,
}

#[derive(Default)]
pub(super) struct Names {
    pub(super) live: BTreeMap<String, Entry>,
    pub(super) durable: BTreeMap<String, Entry>,
    pending: Vec<Change>,
    next: u64,
    /// Changes reach the medium in order (as an ext4 journal has it), or in any order and each by itself.
    ordered: bool,
    /// A failed sync of a directory has forgotten changes: readers see names that the medium will never have.
    astray: bool,
}

/// A path as this file system knows it: components joined by `/`, resolved without looking.
pub(super) fn name_of(path: &Path) -> io::Result<Cow<'_, str>> {
    let text = path.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    let plain = !text.ends_with('/') && !text.contains("//") && text.split('/').all(|part| part != "." && part != "..");
    if plain {
        return Ok(Cow::Borrowed(text));
    }
    let mut name = String::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => name.truncate(name.rfind('/').unwrap_or(0)),
            Component::Normal(part) => {
                if !name.is_empty() || path.has_root() {
                    name.push('/');
                }
                name.push_str(part.to_str().ok_or(io::ErrorKind::InvalidInput)?);
            }
        }
    }
    Ok(Cow::Owned(name))
}

/// The directory a name is in; the root and the working directory are both the empty name.
fn dir_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn has_dir(names: &BTreeMap<String, Entry>, dir: &str) -> bool {
    dir.is_empty() || names.get(dir) == Some(&Entry::Dir)
}

impl Names {
    pub(super) fn new(ordered: bool) -> Self {
        Names { ordered, ..Names::default() }
    }

    pub(super) fn get(&self, name: &str) -> io::Result<Entry> {
        match self.live.get(name) {
            Some(entry) => Ok(*entry),
            None if name.is_empty() => Ok(Entry::Dir),
            None => Err(self.missing(name)),
        }
    }

    /// Why there is nothing of that name.
    fn missing(&self, name: &str) -> io::Error {
        let mut ancestors = std::iter::successors(Some(dir_of(name)), |dir| (!dir.is_empty()).then(|| dir_of(dir)));
        match ancestors.find_map(|dir| self.live.get(dir)) {
            Some(Entry::File(_)) => io::ErrorKind::NotADirectory.into(),
            _ => io::ErrorKind::NotFound.into(),
        }
    }

    pub(super) fn file(&self, name: &str) -> io::Result<u64> {
        match self.get(name)? {
            Entry::File(node) => Ok(node),
            Entry::Dir => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Whether `name` could be created.
    pub(super) fn is_free(&self, name: &str) -> io::Result<()> {
        if self.get(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match has_dir(&self.live, dir_of(name)) {
            true => Ok(()),
            false => Err(self.missing(name)),
        }
    }

    /// The names below `dir` and whether they are directories; all the way down, or its own only.
    pub(super) fn below<'a>(&'a self, dir: &'a str) -> impl Iterator<Item = (&'a str, Entry)> {
        let inside =
            move |name: &str| name.strip_prefix(dir).is_some_and(|rest| dir.is_empty() || rest.starts_with('/'));
        let from = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        self.live.range(from..).take_while(move |(name, _)| inside(name)).map(|(name, entry)| (name.as_str(), *entry))
    }

    pub(super) fn children<'a>(&'a self, dir: &'a str) -> impl Iterator<Item = (&'a str, Entry)> {
        self.below(dir).filter_map(move |(name, entry)| {
            let own = name[dir.len()..].trim_start_matches('/');
            (!own.contains('/')).then_some((own, entry))
        })
    }

    /// Changes a name for readers; the medium may or may not get it, until its directory is synced.
    pub(super) fn change(&mut self, name: &str, entry: Option<Entry>, after: Option<u64>) -> u64 {
        match entry {
            Some(entry) => self.live.insert(name.to_owned(), entry),
            None => self.live.remove(name),
        };
        let number = self.next;
        self.next += 1;
        self.pending.push(Change { number, path: name.to_owned(), entry, after });
        number
    }

    fn apply(&mut self, change: Change) {
        match change.entry {
            Some(entry) => self.durable.insert(change.path, entry),
            None => self.durable.remove(&change.path),
        };
    }

    /// All changes in `dir` reach the medium; where changes are ordered, with all that came before them. True where a
    /// name went, so that a file may have lost its last one.
    pub(super) fn sync(&mut self, dir: &str) -> bool {
        let last = self.pending.iter().rposition(|change| dir_of(&change.path) == dir);
        let Some(last) = last else { return false };
        let mut removed = false;
        let mut later = Vec::new();
        for (index, change) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            let here = dir_of(&change.path) == dir;
            if here && let Some(number) = change.after {
                // A rename between two directories is one change in the journal of both.
                if let Some(at) = later.iter().position(|change: &Change| change.number == number) {
                    let new_name = later.remove(at);
                    self.apply(new_name);
                }
            }
            if here || (self.ordered && index <= last) {
                removed |= change.entry.is_none();
                self.apply(change);
            } else {
                later.push(change);
            }
        }
        self.pending = later;
        removed
    }

    /// A sync of a directory that fails: some changes reach the medium, the others never will.
    pub(super) fn fail_sync(&mut self, dir: &str, chance: &mut Chance) {
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        for change in std::mem::take(&mut self.pending) {
            // An old name whose new one waits in another directory waits with it.
            let waits = elsewhere.iter().any(|other: &Change| Some(other.number) == change.after);
            match dir_of(&change.path) == dir && !waits {
                true => here.push(change),
                false => elsewhere.push(change),
            }
        }
        self.pending = elsewhere;
        let eighths = Survivors::Some.eighths(chance);
        self.survive(here, eighths, chance);
        self.astray = true;
    }

    /// The system writes some changes by itself, as it may at any time.
    pub(super) fn write_back(&mut self, chance: &mut Chance) {
        let count = self.pending.len() as u64;
        let first = chance.below(count + 1) as usize;
        let later = self.pending.split_off(first);
        for change in std::mem::replace(&mut self.pending, later) {
            self.apply(change);
        }
    }

    fn survive(&mut self, changes: Vec<Change>, eighths: u64, chance: &mut Chance) {
        let mut dropped = Vec::new();
        for change in changes {
            let kept = !change.after.is_some_and(|number| dropped.contains(&number)) && chance.odds(eighths);
            if kept {
                self.apply(change);
            } else if self.ordered {
                return;
            } else {
                dropped.push(change.number);
            }
        }
    }

    /// Power is cut: any of the pending changes survive (where they are ordered: the first so many). Names in
    /// directories that did not survive are gone. Draws the order of the time to come.
    pub(super) fn crash(&mut self, chance: &mut Chance, survivors: Survivors) {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() || self.astray {
            let eighths = survivors.eighths(chance);
            self.survive(pending, eighths, chance);
            self.astray = false;
            // Sorted, so a directory is judged before what is in it.
            let mut standing = BTreeMap::new();
            for (name, entry) in std::mem::take(&mut self.durable) {
                if has_dir(&standing, dir_of(&name)) {
                    standing.insert(name, entry);
                }
            }
            self.live.clone_from(&standing);
            self.durable = standing;
        }
        self.ordered = chance.coin();
    }

    /// Sets a name for readers and on the medium, as an operator would between two runs.
    pub(super) fn set(&mut self, name: &str, entry: Option<Entry>) {
        self.pending.retain(|change| change.path != name);
        for names in [&mut self.live, &mut self.durable] {
            match entry {
                Some(entry) => names.insert(name.to_owned(), entry),
                None => names.remove(name),
            };
        }
    }

    /// Every file that some name still stands for, or may again after a crash.
    pub(super) fn files(&self) -> impl Iterator<Item = u64> {
        let pending = self.pending.iter().filter_map(|change| change.entry);
        self.live.values().chain(self.durable.values()).copied().chain(pending).filter_map(|entry| match entry {
            Entry::File(node) => Some(node),
            Entry::Dir => None,
        })
    }
}
