//! Group commit: whoever waits first leads, writes every waiting group, syncs once and answers for all.
//!
//! A group becomes durable when the journal is synced up to it and the keyring up to what it needs; only then it is
//! indexed, published and acknowledged. Groups form while the last ones sync: the queue's lock is never held across a
//! write or a sync. The first failed write or sync poisons the committer for good: a retried fsync lies.
//!
//! Where the store has a thread for it, the attendant, that one goes on leading for as long as groups wait: nobody has to be
//! woken between two commits. Whoever waits while it sleeps leads all the same, so that a lone appender waits for no other
//! thread.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::thread::Thread;
use crate::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use super::catalog::{Catalog, Indexed, JournalFile};
use super::hint;
use super::spare::Spare;
use crate::env::{Env, File};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::FrameContext;
use crate::format::group::Group;
use crate::format::journal::JournalHead;
use crate::format::position::{Known, Position};
use crate::ident::{PartitionNumber, Salt, StoreId};
use crate::journal::{self, JournalWriter};
use crate::keyring::Keyring;

/// Bytes of groups that may wait before appenders must commit themselves.
pub const WAITING_LIMIT: usize = 16 << 20;

/// Turns of the scheduler that a leader gives others to join its commit.
const GATHER_TURNS: usize = 32;

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
    failure: Option<Error>,
    /// Threads that wait, each with its ticket. Only those whose group is durable are woken, and one to lead next:
    /// waking all of them for every commit would cost more than the commit.
    parked: Vec<(u64, Thread)>,
    wakers: Vec<Waker>,
    /// The attendant, while it sleeps.
    attendant: Option<Thread>,
    /// How many groups the last commit had: about as many may be expected to come again.
    last_count: usize,
}

/// Those to wake once the queue's lock is let go: waking under it would make them run into it.
#[must_use]
struct Answered(Vec<Thread>, Vec<Waker>);

impl Answered {
    fn wake(self) {
        self.0.iter().for_each(Thread::unpark);
        self.1.into_iter().for_each(Waker::wake);
    }
}

impl Queue {
    /// Everybody who has an answer now, and the thread that is to lead next where none leads (in front, since others wait
    /// for it).
    fn answered(&mut self, done: u64) -> Answered {
        let failed = self.failure.is_some();
        let (answered, parked) = self.parked.drain(..).partition(|(ticket, _)| failed || *ticket <= done);
        self.parked = parked;
        let answered: Vec<(u64, Thread)> = answered;
        let next = self.next();
        Answered(
            next.into_iter().chain(answered.into_iter().map(|(_, thread)| thread)).collect(),
            self.wakers.drain(..).collect(),
        )
    }

    /// Who is to lead next where something waits and nobody leads: the attendant, else who has waited longest.
    fn next(&mut self) -> Option<Thread> {
        match self.leading || self.waiting.is_empty() {
            true => None,
            false => self.attendant.take().or_else(|| self.parked.first().map(|(_, thread)| thread.clone())),
        }
    }
}

struct Writing {
    hint: Option<Arc<dyn File>>,
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

impl Opening {
    /// What its frames of a partition are bound to.
    pub fn context(&self, partition: PartitionNumber) -> FrameContext<'_> {
        FrameContext { store: &self.store, partition, salt: &self.salt }
    }
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
    /// Groups up to this ticket are durable.
    done: AtomicU64,
    /// The journal file that is being written to, zero for none. Beside `writing`, whose lock is held across a sync:
    /// appenders ask for this number.
    growing: AtomicU64,
    writing: Mutex<Writing>,
    /// Buffers of groups that were committed.
    pub spare: Spare,
}

impl Committer {
    /// A committer whose first journal file will have number `next_file`.
    pub fn new(opening: Opening, next_file: u64, known: Known) -> Self {
        let writing = Writing { hint: None, current: None, next_file, needs: known.entry, durable: known.journal };
        Committer {
            opening,
            queue: Mutex::default(),
            done: AtomicU64::new(0),
            growing: AtomicU64::new(0),
            writing: Mutex::new(writing),
            spare: Spare::default(),
        }
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
        let ticket = queue.issued;
        let attendant = if queue.leading { None } else { queue.attendant.take() };
        drop(queue);
        attendant.iter().for_each(Thread::unpark);
        Ok(ticket)
    }

    /// Leads whatever waits while `stays` says so: for a thread that does nothing else. It is asked again whenever
    /// something was queued, and after [`Committer::nudge`].
    pub fn attend(&self, tools: &Tools<'_>, stays: &dyn Fn() -> bool) {
        let mut queue = self.queue();
        while stays() {
            if queue.leading || queue.waiting.is_empty() || queue.failure.is_some() {
                queue.attendant = Some(crate::sync::thread::current());
                drop(queue);
                crate::sync::thread::park();
            } else {
                self.lead(queue, tools);
            }
            queue = self.queue();
            queue.attendant = None;
        }
        let next = queue.next();
        drop(queue);
        next.iter().for_each(Thread::unpark);
    }

    /// Has the attendant ask whether it is to stay.
    pub fn nudge(&self) {
        let attendant = self.queue().attendant.take();
        attendant.iter().for_each(Thread::unpark);
    }

    /// Whether appenders must wait before they queue more.
    pub fn is_crowded(&self) -> bool {
        self.waiting_bytes() > WAITING_LIMIT
    }

    /// Bytes of groups that wait to be written.
    pub fn waiting_bytes(&self) -> usize {
        self.queue().waiting_bytes
    }

    /// Whether the group with `ticket` is durable; its failure if it never will be.
    pub fn poll(&self, ticket: u64, waker: Option<&Waker>) -> Poll<Result<()>> {
        if self.is_done(ticket) {
            return Poll::Ready(Ok(()));
        }
        let mut queue = self.queue();
        if self.is_done(ticket) {
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
            if self.is_done(ticket) {
                return Ok(());
            }
            if let Some(failure) = &queue.failure {
                return Err(failure.clone());
            }
            if queue.leading {
                queue.parked.push((ticket, crate::sync::thread::current()));
                drop(queue);
                crate::sync::thread::park();
                if self.is_done(ticket) {
                    return Ok(());
                }
                queue = self.queue();
                let me = crate::sync::thread::current().id();
                queue.parked.retain(|(_, thread)| thread.id() != me);
            } else {
                self.lead(queue, tools);
                queue = self.queue();
            }
        }
    }

    /// Returns when everything queued so far is durable.
    ///
    /// # Errors
    /// What made a commit fail.
    pub fn flush(&self, tools: &Tools<'_>) -> Result<()> {
        let issued = self.queue().issued;
        if issued == 0 { Ok(()) } else { self.wait(issued, tools) }
    }

    /// Commits what waits, if anything does and nobody leads already.
    pub fn commit_waiting(&self, tools: &Tools<'_>) {
        let queue = self.queue();
        if !queue.leading && !queue.waiting.is_empty() && queue.failure.is_none() {
            self.lead(queue, tools);
        }
    }

    /// Lets the threads that were just answered come back with their next groups, as they probably will: as many as
    /// last time, but no longer than a few turns of the scheduler. One thread alone never waits.
    fn gather<'a>(&'a self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        for _ in 0..GATHER_TURNS {
            if queue.waiting.len() >= queue.last_count {
                break;
            }
            drop(queue);
            crate::sync::thread::yield_now();
            queue = self.queue();
        }
        queue
    }

    fn lead<'a>(&'a self, mut queue: MutexGuard<'a, Queue>, tools: &Tools<'_>) {
        queue.leading = true;
        queue = self.gather(queue);
        let groups = std::mem::take(&mut queue.waiting);
        queue.waiting_bytes = 0;
        queue.last_count = groups.len();
        drop(queue);
        let count = groups.len() as u64;
        let outcome = self.commit(groups, tools);
        let mut queue = self.queue();
        match outcome {
            Ok(()) => {
                self.done.fetch_add(count, Ordering::Release);
            }
            Err(error) => queue.failure = Some(error),
        }
        queue.leading = false;
        let answered = queue.answered(self.done.load(Ordering::Acquire));
        drop(queue);
        answered.wake();
    }

    fn is_done(&self, ticket: u64) -> bool {
        self.done.load(Ordering::Acquire) >= ticket
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
        if file.is_full() {
            self.growing.store(0, Ordering::Release);
        }
        writing.durable = durable;
        tools.catalog.publish(durable);
        if writing.hint.is_none() {
            writing.hint = hint::open(&**tools.env, tools.root);
        }
        if let Some(file) = &writing.hint {
            hint::write(&**file, self.opening.number, durable);
        }
        groups.into_iter().for_each(|pending| self.spare.give(pending.group.into_buffer()));
        Ok(())
    }

    /// Makes sure that there is a journal file with room.
    fn ensure_file(&self, writing: &mut Writing, tools: &Tools<'_>) -> Result<()> {
        if writing.current.as_ref().is_some_and(|(_, file)| !file.is_full()) {
            return Ok(());
        }
        let number = writing.next_file;
        let directory = tools.root.join("journal");
        let Opening { store, number: opening, salt } = self.opening;
        let writer =
            JournalWriter::create(&**tools.env, &directory, JournalHead { store, file: number, opening, salt })?;
        let path = journal::path(&directory, number);
        let mut file = JournalFile::new(number, path, writer.handle(), self.opening.number, self.opening.salt);
        file.begun = Some(tools.env.monotonic());
        let file = Arc::new(file);
        // Marked before anybody can see it: a file that is not growing may be settled.
        self.growing.store(number, Ordering::Release);
        tools.catalog.change(|view| view.journals.push(file.clone()));
        writing.next_file += 1;
        writing.current = Some((writer, file));
        Ok(())
    }

    /// Lets go of the growing file, so that it can be settled; the next commit begins another.
    pub fn retire(&self) {
        let mut writing = self.writing.lock().expect("no holder of this lock panics");
        writing.current = None;
        self.growing.store(0, Ordering::Release);
    }

    /// The number of the file that is growing, if one is.
    pub fn growing(&self) -> Option<u64> {
        Some(self.growing.load(Ordering::Acquire)).filter(|number| *number != 0)
    }

    /// What is durable.
    pub fn durable(&self) -> Position {
        self.writing.lock().expect("no holder of this lock panics").durable
    }

    /// Refuses every commit from now on.
    pub fn poison(&self, error: &Error) {
        let mut queue = self.queue();
        queue.failure.get_or_insert_with(|| error.clone());
        let answered = queue.answered(self.done.load(Ordering::Acquire));
        drop(queue);
        answered.wake();
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
        true => crate::sync::thread::scope(|scope| {
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
