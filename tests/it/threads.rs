//! Many threads on the real disk: nothing is lost, everybody is answered, futures included.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tenure::report::Budget;
use tenure::{Batch, Record, Result, Store};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match Pin::new(&mut future).poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn record(thread: usize, serial: usize) -> Record {
    let at = format!("2025-{:02}-01T00:00:00.{:06}Z", 1 + serial % 12, thread * 1000 + serial).parse().unwrap();
    Record::new(&format!("customer-{}", serial % 17), "chat", "EU", at, format!("thread {thread}, note {serial}"))
        .unwrap()
}

fn count(store: &Store) -> usize {
    (0..17).map(|customer| store.timeline(&format!("customer-{customer}"), ..).unwrap().count()).sum()
}

fn soak(worker: bool) {
    const THREADS: usize = 8;
    const APPENDS: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let options = || match worker {
        true => Store::options(dir.path().join("calls")).worker(),
        false => Store::options(dir.path().join("calls")),
    };
    let store = options().create().unwrap();
    let live = |thread: usize| -> Result<()> {
        for serial in 0..APPENDS {
            let commit = store.append(Batch::from(vec![record(thread, serial), record(thread, serial + APPENDS)]))?;
            match worker && serial % 2 == 0 {
                true => block_on(commit)?,
                false => commit.wait()?,
            }
            if serial % 20 == thread {
                store.settle()?;
                store.maintain(Budget::ALL)?;
            }
            if serial % 5 == 0 {
                let customer = format!("customer-{}", serial % 17);
                let timeline: Result<Vec<_>> = store.timeline(&customer, ..)?.collect();
                assert!(!timeline?.is_empty(), "what was acknowledged is readable at once");
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || live(thread))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    });
    assert_eq!(count(&store), 2 * THREADS * APPENDS);
    store.close().unwrap();
    let store = options().open().unwrap();
    assert!(store.recovery().clean);
    assert_eq!(count(&store), 2 * THREADS * APPENDS);
}

#[test]
fn threads_that_lead_their_own_commits_lose_nothing() {
    soak(false);
}

#[test]
fn threads_and_futures_beside_a_worker_lose_nothing() {
    soak(true);
}

#[test]
fn a_commit_that_nobody_waits_for_is_made_by_the_worker() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::options(dir.path().join("calls")).worker().create().unwrap();
    let commit = store.append(vec![record(1, 1)]).unwrap();
    while !commit.is_durable() {
        std::thread::yield_now();
    }
    assert_eq!(count(&store), 1);
}

/// Futures lead no commit: whatever is queued behind somebody else's is the worker's, or they would wait for ever.
#[test]
fn futures_alone_beside_one_that_leads_are_all_answered() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::options(dir.path().join("calls")).worker().create().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let store = &store;
            scope.spawn(move || {
                for serial in 0..80 {
                    let commit = store.append(vec![record(thread, serial)]).unwrap();
                    match thread {
                        0 => commit.wait().unwrap(),
                        _ => block_on(commit).unwrap(),
                    }
                }
            });
        }
    });
    assert_eq!(count(&store), 6 * 80);
}
