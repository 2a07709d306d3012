//! The promise that a batch becomes durable.

use crate::sync::Arc;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::engine::Engine;
use crate::error::Result;

/// A batch on its way to the disk. Dropping it changes nothing: the batch is committed all the same.
///
/// It is a future too; but somebody has to lead the commit, and a future never does: `.await` needs a store opened
/// with [`crate::Options::worker`] (or another thread that waits).
#[derive(Clone)]
pub struct Commit {
    engine: Arc<Engine>,
    ticket: u64,
}

impl Commit {
    pub(super) fn new(engine: Arc<Engine>, ticket: u64) -> Self {
        Commit { engine, ticket }
    }

    /// Returns when the batch is durable and readable, leading the commit where nobody else does.
    ///
    /// # Errors
    /// What made the commit fail: the batch is not acknowledged, and the store accepts nothing more until it is opened
    /// again.
    pub fn wait(&self) -> Result<()> {
        let writer = self.engine.writer()?;
        match self.ticket {
            0 => Ok(()),
            ticket => writer.committer.wait(ticket, &self.engine.tools(writer)),
        }
    }

    /// Whether the batch is durable by now.
    pub fn is_durable(&self) -> bool {
        let poll = self.engine.writer().map(|writer| writer.committer.poll(self.ticket, None));
        matches!(poll, Ok(Poll::Ready(Ok(()))))
    }
}

impl Future for Commit {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.engine.writer() {
            Ok(writer) => writer.committer.poll(self.ticket, Some(context.waker())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl std::fmt::Debug for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Commit({})", self.ticket)
    }
}
