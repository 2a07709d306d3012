//! Group commit: whoever waits first leads, writes every waiting group, syncs once and answers for all.
//!
//! A group becomes durable when the journal is synced up to it and the keyring up to what it needs; only then it is
//! indexed, published and acknowledged. Groups form while the last ones sync: the queue's lock is never held across a
//! write or a sync. The first failed write or sync poisons the committer for good: a retried fsync lies.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use super::catalog::{Catalog, Indexed, JournalFile};
use super::hint;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::group::Group;
use crate::format::journal::JournalHead;
use crate::format::position::{Known, Position};
use crate::ident::{Salt, StoreId};
use crate::journal::{self, JournalWriter};
use crate::keyring::Keyring;

/// Bytes of groups that may wait before appenders must commit themselves.
pub const WAITING_LIMIT: usize = 64 << 20;

/// A group made ready by its caller.
pub struct Pending {
    /// The encoded group, but for what the leader fills in.
    pub group: Group,
    /// The highest keyring entry it depends on.
    pub needs: u64,
    /// Its frames as the index takes them in.
    pub indexed: Indexed,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Pending>,
    waiting_bytes: usize,
    leading: bool,
    issued: u64,
    done: u64,
    failure: Option<Error>,
    wakers: Vec<Waker>,
}

struct Writing {
    current: Option<(JournalWriter, Arc<JournalFile>)>,
    next_file: u64,
    needs: u64,
    durable: Position,
}

/// Who this opening is, as journal files name it.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The store.
    pub store: StoreId,
    /// The opening's number.
    pub number: u32,
    /// The opening's salt.
    pub salt: Salt,
}

/// What a leader writes with.
pub struct Tools<'a> {
    /// The world.
    pub env: &'a Arc<dyn Env>,
    /// The store's directory.
    pub root: &'a std::path::Path,
    /// What exists.
    pub catalog: &'a Catalog,
    /// The keys that groups depend on.
    pub keyring: &'a Keyring,
    /// Whether the two files may be synced on two threads.
    pub side_by_side: bool,
    /// Planted by the crash suite: acknowledge without waiting for the keyring.
    #[cfg(feature = "simulation")]
    pub forget_keyring: bool,
}

/// The committer of one opening.
pub struct Committer {
    opening: Opening,
    queue: Mutex<Queue>,
    changed: Condvar,
    writing: Mutex<Writing>,
}

impl Committer {
    /// A committer whose first journal file will have number `next_file`.
    pub fn new(opening: Opening, next_file: u64, known: Known) -> Self {
        let writing = Writing { current: None, next_file, needs: known.entry, durable: known.journal };
        Committer { opening, queue: Mutex::default(), changed: Condvar::new(), writing: Mutex::new(writing) }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no holder of this lock panics")
    }

    /// Queues a group; the ticket that comes back is what [`Committer::wait`] takes.
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`] after a failed write or sync.
    pub fn submit(&self, pending: Pending) -> Result<u64> {
        let mut queue = self.queue();
        check(&queue)?;
        queue.waiting_bytes += pending.group.length();
        queue.waiting.push(pending);
        queue.issued += 1;
        Ok(queue.issued)
    }

    /// Whether appenders must wait before they queue more.
    pub fn is_crowded(&self) -> bool {
        self.queue().waiting_bytes > WAITING_LIMIT
    }

    /// Whether the group with `ticket` is durable; its failure if it never will be.
    pub fn poll(&self, ticket: u64, waker: Option<&Waker>) -> Poll<Result<()>> {
        let mut queue = self.queue();
        if queue.done >= ticket {
            return Poll::Ready(Ok(()));
        }
        if let Some(failure) = &queue.failure {
            return Poll::Ready(Err(failure.clone()));
        }
        waker.into_iter().for_each(|waker| queue.wakers.push(waker.clone()));
        Poll::Pending
    }

    /// Returns when the group with `ticket` is durable, leading a commit itself where nobody does.
    ///
    /// # Errors
    /// What made the commit fail; nothing of the group will ever be read.
    pub fn wait(&self, ticket: u64, tools: &Tools<'_>) -> Result<()> {
        let mut queue = self.queue();
        loop {
            if queue.done >= ticket {
                return Ok(());
            }
            if let Some(failure) = &queue.failure {
                return Err(failure.clone());
            }
            if queue.leading {
                queue = self.changed.wait(queue).expect("no holder of this lock panics");
            } else {
                drop(self.lead(queue, tools));
                queue = self.queue();
            }
        }
    }

    /// Commits what waits, if anything does and nobody leads.
    pub fn commit_waiting(&self, tools: &Tools<'_>) {
        let queue = self.queue();
        if !queue.leading && !queue.waiting.is_empty() && queue.failure.is_none() {
            drop(self.lead(queue, tools));
        }
    }

    fn lead<'a>(&'a self, mut queue: MutexGuard<'a, Queue>, tools: &Tools<'_>) -> MutexGuard<'a, Queue> {
        queue.leading = true;
        let groups = std::mem::take(&mut queue.waiting);
        queue.waiting_bytes = 0;
        drop(queue);
        let count = groups.len() as u64;
        let outcome = self.commit(groups, tools);
        let mut queue = self.queue();
        match outcome {
            Ok(()) => queue.done += count,
            Err(error) => queue.failure = Some(error),
        }
        queue.leading = false;
        queue.wakers.drain(..).for_each(Waker::wake);
        self.changed.notify_all();
        queue
    }

    /// Writes the groups, makes them durable, then visible.
    fn commit(&self, mut groups: Vec<Pending>, tools: &Tools<'_>) -> Result<()> {
        let mut writing = self.writing.lock().expect("no holder of this lock panics");
        let known = Known { journal: writing.durable, entry: tools.keyring.durable() };
        self.ensure_file(&mut writing, tools)?;
        for pending in &groups {
            writing.needs = writing.needs.max(pending.needs);
        }
        let needs = writing.needs;
        let (writer, file) = writing.current.as_mut().expect("a file was just made sure of");
        let mut start = writer.position().offset;
        let mut offset = start;
        for pending in &mut groups {
            offset += pending.group.finish(needs, known, offset).len() as u64;
        }
        let parts: Vec<&[u8]> = groups.iter().map(|pending| pending.group.bytes()).collect();
        writer.append(&parts)?;
        sync(writer, needs, tools)?;
        for pending in &groups {
            let end = start + pending.group.length() as u64;
            file.index(start, end, &pending.indexed);
            start = end;
        }
        let durable = writer.position();
        writing.durable = durable;
        tools.catalog.publish(durable);
        hint::write(&**tools.env, tools.root, self.opening.number, durable);
        Ok(())
    }

    /// Makes sure that there is a journal file with room.
    fn ensure_file(&self, writing: &mut Writing, tools: &Tools<'_>) -> Result<()> {
        if writing.current.as_ref().is_some_and(|(writer, _)| !writer.is_full()) {
            return Ok(());
        }
        let number = writing.next_file;
        let directory = tools.root.join("journal");
        let Opening { store, number: opening, salt } = self.opening;
        let writer =
            JournalWriter::create(&**tools.env, &directory, JournalHead { store, file: number, opening, salt })?;
        let path = journal::path(&directory, number);
        let file = JournalFile::new(number, path, writer.handle(), self.opening.number, self.opening.salt);
        let file = Arc::new(file);
        tools.catalog.change(|view| view.journals.push(file.clone()));
        writing.next_file += 1;
        writing.current = Some((writer, file));
        Ok(())
    }

    /// Lets go of the growing file, so that it can be settled; the next commit begins another.
    pub fn retire(&self) {
        self.writing.lock().expect("no holder of this lock panics").current = None;
    }

    /// The number of the file that is growing, if one is.
    pub fn growing(&self) -> Option<u64> {
        let writing = self.writing.lock().expect("no holder of this lock panics");
        writing.current.as_ref().filter(|(writer, _)| !writer.is_full()).map(|(_, file)| file.number)
    }

    /// What is durable.
    pub fn durable(&self) -> Position {
        self.writing.lock().expect("no holder of this lock panics").durable
    }

    /// Refuses every commit from now on.
    pub fn poison(&self, error: &Error) {
        let mut queue = self.queue();
        queue.failure.get_or_insert_with(|| error.clone());
        queue.wakers.drain(..).for_each(Waker::wake);
        self.changed.notify_all();
    }

    /// The failure that poisoned it, as later callers see it.
    pub fn check(&self) -> Result<()> {
        check(&self.queue())
    }
}

fn check(queue: &Queue) -> Result<()> {
    match &queue.failure {
        None => Ok(()),
        Some(first) => Err(Error::new(ErrorKind::Poisoned, "an earlier write failed, so nothing more is accepted")
            .caused_by(first.clone())
            .hint(first.next_step().unwrap_or("open the store again; reads go on meanwhile"))),
    }
}

/// Makes the journal durable, and the keyring up to entry `needs`.
fn sync(writer: &JournalWriter, needs: u64, tools: &Tools<'_>) -> Result<()> {
    #[cfg(feature = "simulation")]
    if tools.forget_keyring {
        return writer.sync();
    }
    if needs <= tools.keyring.durable() {
        return writer.sync();
    }
    let keyring = match tools.side_by_side {
        true => std::thread::scope(|scope| {
            let keyring = scope.spawn(|| tools.keyring.sync());
            writer.sync().and(keyring.join().expect("a sync does not panic"))
        }),
        false => tools.keyring.sync().and_then(|durable| writer.sync().map(|()| durable)),
    }?;
    match keyring >= needs {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Io, "the keyring did not become durable as far as the journal needs it")),
    }
}
