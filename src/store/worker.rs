//! The store's own thread, for hosts that want one: leads commits that nobody waits for and keeps house.

use crate::sync::atomic::Ordering;
use crate::sync::thread::JoinHandle;
use crate::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Duration;

use crate::engine::{Engine, housekeeping, request, train};
use crate::ops;
use crate::report::Budget;

/// How often it looks for what other processes ask.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Signal {
    state: Mutex<(bool, bool)>, // Something to do; time to stop.
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
        self.signal.state.lock().expect("no holder of this lock panics").0 = true;
        self.signal.changed.notify_one();
    }

    /// Stops it and waits until it has.
    pub fn stop(&self) {
        if let Some(writer) = self.engine.upgrade().as_ref().and_then(|engine| engine.writer.as_ref()) {
            writer.closing.store(true, Ordering::Relaxed);
        }
        self.signal.state.lock().expect("no holder of this lock panics").1 = true;
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
    loop {
        let mut state = signal.state.lock().expect("no holder of this lock panics");
        if !state.0 && !state.1 {
            // Other processes cannot wake it.
            state = signal.changed.wait_timeout(state, LOOK).expect("no holder of this lock panics").0;
        }
        if state.1 {
            return;
        }
        let woken = std::mem::take(&mut state.0);
        drop(state);
        let Some(engine) = engine.upgrade() else { return };
        let Ok(writer) = engine.writer() else { return };
        request::serve_in_passing(&engine, writer);
        let untrained = train::due(&engine, false);
        if !woken && untrained.is_none() {
            continue;
        }
        // Whatever is queued by now, also behind a commit that somebody else leads: a future leads none. A failure is
        // told to whoever waits for it.
        let _ = writer.committer.flush(&engine.tools(writer));
        let due = !housekeeping::waiting(&engine).is_empty() || housekeeping::fold_is_due(&engine, writer);
        let kept = if due { ops::maintain::maintain(&engine, Budget::ALL).map(drop) } else { Ok(()) };
        let stop = || writer.closing.load(Ordering::Relaxed);
        let trained = untrained.map_or(Ok(None), |due| train::train(&engine, &due, &stop));
        if let Err(error) = kept.and(trained.map(drop)) {
            // Nobody waits for this thread, so the next appender is told instead.
            writer.committer.poison(&error);
        }
    }
}
