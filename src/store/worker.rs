//! The store's own thread, for hosts that want one: leads commits that nobody waits for and keeps house.

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::JoinHandle;
use crate::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Duration;

use crate::engine::{Engine, Writer, housekeeping, train};
use crate::ops;
use crate::report::{Budget, Maintenance};

/// How often it looks for what other processes ask.
const LOOK: Duration = Duration::from_millis(200);
/// Merging is put off until nothing had to be settled for so long: a trickle of records does not put it off.
const QUIET: Duration = Duration::from_secs(1);
/// Entries of the access log wait no longer than this: well within a second.
const LOG_PATIENCE: Duration = Duration::from_millis(400);
/// How often it looks, while nothing wakes it, whether time or a verb has made anything due.
const ROUND: Duration = Duration::from_secs(30);
/// How long it tidies up before it looks again whether anything comes in.
const TURN: Budget = Budget { time: Duration::from_millis(50) };
/// While records come in, a partition may have so many times as many small segments before they are merged.
const PATIENCE: usize = 8;

#[derive(Default)]
struct Signal {
    /// Something to do. Set by every append, so that only the first of many takes the lock.
    woken: AtomicBool,
    /// Time to stop.
    stop: Mutex<bool>,
    changed: Condvar,
}

/// A running worker.
pub struct Worker {
    signal: Arc<Signal>,
    engine: Weak<Engine>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts a thread that works for `engine` as long as it is told to.
    pub fn start(engine: &Arc<Engine>) -> Self {
        let signal = Arc::new(Signal::default());
        let (theirs, engine) = (signal.clone(), Arc::downgrade(engine));
        let ours = engine.clone();
        let builder = crate::sync::thread::Builder::new().name("tenure".to_owned());
        let thread = builder.spawn(move || work(&theirs, &engine)).ok();
        Worker { signal, engine: ours, thread: Mutex::new(thread) }
    }

    /// Tells it that there is something to do.
    pub fn wake(&self) {
        if !self.signal.woken.swap(true, Ordering::AcqRel) {
            // With the lock in between, the worker either sees the mark before it waits, or waits already.
            drop(self.signal.stop.lock().expect("no holder of this lock panics"));
            self.signal.changed.notify_one();
        }
    }

    /// Stops it and waits until it has.
    pub fn stop(&self) {
        if let Some(writer) = self.engine.upgrade().as_ref().and_then(|engine| engine.writer.as_ref()) {
            writer.closing.store(true, Ordering::Relaxed);
        }
        *self.signal.stop.lock().expect("no holder of this lock panics") = true;
        self.signal.changed.notify_one();
        if let Some(thread) = self.thread.lock().expect("no holder of this lock panics").take() {
            let _ = thread.join(); // It does not panic; if it did, there is nothing left to stop.
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn work(signal: &Signal, engine: &Weak<Engine>) {
    let mut apprentice = Apprentice::default();
    // Until when it puts off what can wait.
    let mut rest = None;
    loop {
        let mut stop = signal.stop.lock().expect("no holder of this lock panics");
        if !signal.woken.load(Ordering::Acquire) && !*stop {
            // Other processes cannot wake it.
            stop = signal.changed.wait_timeout(stop, LOOK).expect("no holder of this lock panics").0;
        }
        if *stop {
            return;
        }
        drop(stop);
        // Before it looks for what there is to do: what comes later wakes it again.
        let woken = signal.woken.swap(false, Ordering::AcqRel);
        let Some(engine) = engine.upgrade() else { return };
        let Ok(writer) = engine.writer() else { return };
        ops::serve::serve_in_passing(&engine, writer);
        // A failure is told to whoever comes next.
        let _ = engine.access.log.sync_older_than(LOG_PATIENCE);
        apprentice.look(&engine);
        if woken {
            // Whatever is queued by now, also behind a commit that somebody else leads: a future leads none. A failure
            // is told to whoever waits for it.
            let _ = writer.committer.flush(&engine.tools(writer));
        }
        let merge_at_least = writer.tuning.merge_at_least;
        let urgent = !housekeeping::waiting(&engine).is_empty() || housekeeping::fold_is_due(&engine, writer);
        let now = engine.env.monotonic();
        let until = *rest.get_or_insert(now + QUIET);
        if woken && urgent {
            keep_house(&engine, writer, Budget::ALL, merge_at_least * PATIENCE);
            rest = Some(engine.env.monotonic() + QUIET);
        } else if now >= until {
            let more = keep_order(&engine, writer, merge_at_least);
            rest = Some(if more { now } else { engine.env.monotonic() + ROUND });
        }
    }
}

/// One turn at what time or a verb has made due. Whether there is more of it.
fn keep_order(engine: &Engine, writer: &Writer, merge_at_least: usize) -> bool {
    let is_well = writer.committer.check().is_ok();
    is_well && ops::maintain::is_due(engine, writer, merge_at_least) && keep_house(engine, writer, TURN, merge_at_least)
}

/// Whether something is left to do.
fn keep_house(engine: &Engine, writer: &Writer, budget: Budget, merge_at_least: usize) -> bool {
    let mut done = Maintenance::default();
    let outcome = ops::maintain::keep_house(engine, writer, budget, merge_at_least, &mut done);
    writer.trouble.failed(outcome.as_ref().err().map(|failed| &failed.error), &engine.root);
    match outcome {
        Ok(()) => done.more,
        Err(failed) => {
            if failed.is_vital {
                // Nobody waits for this thread, so the next appender is told instead.
                writer.committer.poison(&failed.error);
            }
            false
        }
    }
}

/// A second thread, there only while a dictionary is trained: that takes seconds, and the worker has commits to lead.
#[derive(Default)]
struct Apprentice {
    busy: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Apprentice {
    /// Begins to train what is due, unless it is at it already.
    fn look(&mut self, engine: &Arc<Engine>) {
        if self.busy.load(Ordering::Acquire) {
            return;
        }
        let Some(due) = train::due(engine, false) else { return };
        self.end();
        self.busy.store(true, Ordering::Release);
        let (busy, engine) = (self.busy.clone(), engine.clone());
        let builder = crate::sync::thread::Builder::new().name("tenure-train".to_owned());
        let spawned = builder.spawn(move || {
            if let Ok(writer) = engine.writer() {
                let stop = || writer.closing.load(Ordering::Relaxed);
                // Records come in without a dictionary as well; a keyring or ledger that failed says so itself.
                if let Err(error) = train::train(&engine, &due, &stop) {
                    writer.trouble.failed(Some(&error), &engine.root);
                }
            }
            // Before anybody is told that it is done: the last handle of an engine closes its files.
            drop(engine);
            busy.store(false, Ordering::Release);
        });
        match spawned {
            Ok(thread) => self.thread = Some(thread),
            Err(_) => self.busy.store(false, Ordering::Release),
        }
    }

    fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // It does not panic; if it did, there is no dictionary, and nothing else.
        }
    }
}

impl Drop for Apprentice {
    fn drop(&mut self) {
        self.end();
    }
}
