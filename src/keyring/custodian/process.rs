//! Runs the program of a command custodian: one process per call, the request on its standard input, the answer from its
//! standard output, bounded in size and time. It knows nothing of what is said.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

/// The longest answer in bytes.
pub(super) const ANSWER_LIMIT: usize = 64 << 10;
/// The most bytes of standard error that are kept; the rest is read and dropped.
const ERROR_LIMIT: u64 = 4 << 10;
/// How long a program that has answered may take to exit, and one that has exited to let go of standard error.
const EXIT_LIMIT: Duration = Duration::from_secs(5);
const LONGEST_NAP: Duration = Duration::from_millis(50);

/// How a program ended, and what it said.
pub(super) struct Ran {
    /// None where a signal ended it.
    pub code: Option<i32>,
    pub answer: Zeroizing<Vec<u8>>,
    pub error: Vec<u8>,
}

/// Why there is no answer.
pub(super) enum Failure {
    /// The program could not be started.
    Start(io::Error),
    /// Its pipes broke.
    Talk(io::Error),
    TooLong,
    TimedOut,
}

/// Whoever carries a request to the program: a process, or a closure in tests.
pub(super) trait Run: Send + Sync + fmt::Debug {
    fn run(&self, request: Zeroizing<Vec<u8>>, limit: Duration) -> Result<Ran, Failure>;
}

/// A program and its arguments.
#[derive(Debug)]
pub(super) struct Program {
    pub path: PathBuf,
    pub args: Vec<OsString>,
}

impl Run for Program {
    fn run(&self, request: Zeroizing<Vec<u8>>, limit: Duration) -> Result<Ran, Failure> {
        let mut command = Command::new(&self.path);
        command.args(&self.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // In a group of its own, so that a Ctrl-C meant for us does not end it halfway.
        let mut child = command.process_group(0).spawn().map_err(Failure::Start)?;
        let ran = talk(&mut child, request, limit);
        if ran.is_err() {
            // It may have exited already; then this reaps it.
            let _ = child.kill();
            let _ = child.wait();
        }
        ran
    }
}

fn talk(child: &mut Child, request: Zeroizing<Vec<u8>>, limit: Duration) -> Result<Ran, Failure> {
    let broken = || Failure::Talk(io::ErrorKind::BrokenPipe.into());
    let mut stdin = child.stdin.take().ok_or_else(broken)?;
    let stdout = child.stdout.take().ok_or_else(broken)?;
    let stderr = child.stderr.take().ok_or_else(broken)?;
    let (answer, answers) = mpsc::channel();
    let (error, errors) = mpsc::channel();
    let named = |name: &str| thread::Builder::new().name(name.into());
    named("custodian-answer")
        .spawn(move || {
            // A program that exits without having read everything says why by its exit code.
            let _ = stdin.write_all(&request);
            drop(stdin);
            let _ = answer.send(read_answer(stdout));
        })
        .map_err(Failure::Talk)?;
    named("custodian-error")
        .spawn(move || {
            let mut kept = Vec::new();
            let mut bounded = stderr.take(ERROR_LIMIT);
            let _ = bounded.read_to_end(&mut kept);
            let _ = io::copy(&mut bounded.into_inner(), &mut io::sink());
            let _ = error.send(kept);
        })
        .map_err(Failure::Talk)?;
    let answer = answers.recv_timeout(limit).map_err(|error| match error {
        RecvTimeoutError::Timeout => Failure::TimedOut,
        RecvTimeoutError::Disconnected => broken(),
    })??;
    let code = wait(child)?;
    let error = errors.recv_timeout(if code == Some(0) { Duration::ZERO } else { EXIT_LIMIT }).unwrap_or_default();
    Ok(Ran { code, answer, error })
}

fn read_answer(stdout: impl Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Room for everything from the start: growing would leave copies of a secret behind.
    let mut answer = Zeroizing::new(Vec::with_capacity(2 * ANSWER_LIMIT));
    let limit = ANSWER_LIMIT as u64 + 1;
    match stdout.take(limit).read_to_end(&mut answer) {
        Ok(_) if answer.len() > ANSWER_LIMIT => Err(Failure::TooLong),
        Ok(_) => Ok(answer),
        Err(error) => Err(Failure::Talk(error)),
    }
}

/// The exit code of a program that has closed its standard output, so is about to exit.
fn wait(child: &mut Child) -> Result<Option<i32>, Failure> {
    let (mut waited, mut nap) = (Duration::ZERO, Duration::from_micros(200));
    loop {
        if let Some(status) = child.try_wait().map_err(Failure::Talk)? {
            return Ok(status.code());
        }
        if waited >= EXIT_LIMIT {
            return Err(Failure::TimedOut);
        }
        thread::sleep(nap);
        waited += nap;
        nap = (nap * 2).min(LONGEST_NAP);
    }
}
