//! Work in numbered parts that know nothing of each other, on many threads.

use std::convert::Infallible;

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, side_by_side};

/// Does so many tasks on this thread and so many beside it that they are `threads`, each with a tool of its own: their
/// results in order, or the first failure, after which no further task is begun.
///
/// # Errors
/// What a task answers.
pub fn shared<T, R: Send, E: Send>(
    threads: usize,
    tasks: usize,
    tool: &(dyn Fn() -> T + Sync),
    task: &(dyn Fn(&mut T, usize) -> Result<R, E> + Sync),
) -> Result<Vec<R>, E> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new((Vec::with_capacity(tasks), None)));
    let locked = || results.lock().expect("no holder of this lock panics");
    side_by_side(threads.min(tasks), &|| {
        let mut tool = tool();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= tasks {
                break;
            }
            match task(&mut tool, number) {
                Ok(result) => locked().0.push((number, result)),
                Err(error) => {
                    next.store(tasks, Ordering::Relaxed);
                    locked().1.get_or_insert(error);
                }
            }
        }
    });
    let (mut results, failed) = results.into_inner().expect("no holder of this lock panics");
    results.sort_unstable_by_key(|(number, _)| *number);
    failed.map_or(Ok(()), Err)?;
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// The same where no task fails and none needs a tool.
pub fn each<R: Send>(threads: usize, tasks: usize, task: &(dyn Fn(usize) -> R + Sync)) -> Vec<R> {
    let results = shared(threads, tasks, &|| (), &|(), number| Ok::<R, Infallible>(task(number)));
    results.unwrap_or_else(|never| match never {})
}
