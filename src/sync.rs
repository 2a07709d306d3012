//! Locks, counters and threads, from the one place that lets a test put a scheduler of its own beneath them.
//!
//! Ordinarily this is the standard library's. Built with `--cfg shuttle` it is shuttle's, which runs the threads of a
//! test one at a time and chooses at every lock and counter who goes on: `just schedules` (tests/schedules).

pub use std::sync::{Arc, OnceLock, PoisonError, Weak};

#[cfg(not(shuttle))]
pub use std::{
    sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
    thread,
};

#[cfg(shuttle)]
pub use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
    thread,
};

/// Runs `work` on this thread and so many beside it that they are `count`; returns when all are done. Where the system has
/// no further thread there are fewer: `work` takes what is left to do. Under a scheduler one runs after the other.
pub fn side_by_side(count: usize, work: &(dyn Fn() + Sync)) {
    #[cfg(not(shuttle))]
    thread::scope(|scope| {
        (1..count).for_each(|_| drop(thread::Builder::new().spawn_scoped(scope, work)));
        work();
    });
    #[cfg(shuttle)]
    (0..count).for_each(|_| work());
}

/// Where a thread waits for the machine, and another may go on meanwhile: says so to the scheduler of a test.
#[cfg(feature = "simulation")]
pub fn pause() {
    #[cfg(shuttle)]
    shuttle::thread::sleep(std::time::Duration::ZERO);
}
