//! Many threads, one writer: whoever finds nobody writing writes for all who wait, in one commit with one sync.
//!
//! The engines with a single writer have no such thing; their knowing user builds it.

use std::sync::{Condvar, Mutex};

use crate::Result;
use crate::codec::Pair;

#[derive(Default)]
struct State {
    waiting: Vec<Pair>,
    /// The round that entries which come now will be written in, and the rounds that are done.
    round: u64,
    done: u64,
    writing: bool,
    failed: bool,
}

#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    turn: Condvar,
}

impl Queue {
    /// Returns when `pairs` are written, by this thread or by another.
    pub fn commit(&self, pairs: Vec<Pair>, write: impl Fn(Vec<Pair>) -> Result<()>) -> Result<()> {
        let mut state = self.state.lock().expect("no holder panics");
        let mine = state.round;
        state.waiting.extend(pairs);
        loop {
            if state.failed {
                return Err("an earlier commit failed".into());
            }
            if state.done > mine {
                return Ok(());
            }
            if state.writing {
                state = self.turn.wait(state).expect("no holder panics");
                continue;
            }
            state.writing = true;
            state.round += 1;
            let mut pairs = std::mem::take(&mut state.waiting);
            drop(state);
            // B-trees like their keys in order.
            pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            let result = write(pairs);
            state = self.state.lock().expect("no holder panics");
            state.writing = false;
            state.done = state.round;
            state.failed |= result.is_err();
            self.turn.notify_all();
            result?;
        }
    }
}
