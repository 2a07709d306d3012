//! A custodian outside of this process: a program of the operator's, called once for every operation, which speaks a
//! small protocol of lines (docs/custodian.md). It keeps keys where no copy of the store reaches them; this room only
//! asks, and believes nothing that is not well formed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use zeroize::Zeroizing;

use super::process::{ANSWER_LIMIT, Failure, Program, Ran, Run};
use super::{Custodian, Evidence, OpeningToken, Registration};
use crate::crypto::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::ident::StoreId;

/// First line of every request and every answer.
const VERSION: &str = "tenure-custodian 1";
const VERSION_NAME: &str = "tenure-custodian ";
const LAST: &str = "end";
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The most bytes that `seal` is asked to seal, and that it may answer.
const PLAIN_LIMIT: usize = 4096;
const SEALED_LIMIT: usize = 900;
/// The most bytes of a program's own words.
const WORDS_LIMIT: usize = 500;

/// A custodian that is an external program. It is started once for every call, as PROGRAM ARGS, without a shell; requests
/// and answers go through its standard input and output, never through arguments or the environment. The protocol, and
/// what such a program has to guarantee, are in `docs/custodian.md`. Only such a custodian can make an erasure `final`.
#[derive(Debug)]
pub struct CommandCustodian {
    program: PathBuf,
    run: Box<dyn Run>,
    time_limit: Duration,
    registered: Mutex<Option<OpeningToken>>,
}

impl CommandCustodian {
    /// The custodian that `program`, called with `args`, is.
    pub fn new<A: Into<OsString>>(program: impl Into<PathBuf>, args: impl IntoIterator<Item = A>) -> Self {
        let program = program.into();
        let args = args.into_iter().map(Into::into).collect();
        let run = Program { path: program.clone(), args };
        CommandCustodian::over(program, Box::new(run))
    }

    /// Gives each call this long, by default 30 seconds; then the program is killed and the call fails.
    pub fn time_limit(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }

    fn over(program: PathBuf, run: Box<dyn Run>) -> Self {
        CommandCustodian { program, run, time_limit: TIME_LIMIT, registered: Mutex::default() }
    }

    fn registered(&self) -> MutexGuard<'_, Option<OpeningToken>> {
        self.registered.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The opening in whose name a call is made, which the program checks: none while the store is being made.
    fn opening(&self) -> String {
        self.registered().map_or("none".into(), |opening| token(&opening))
    }

    fn unavailable(&self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::KeyUnavailable, message).in_file(&self.program)
    }

    fn malformed(&self, what: &str) -> Error {
        self.unavailable(format!("the custodian program gave an answer that cannot be read: {what}"))
            .hint("look into the program; docs/custodian.md has the protocol")
    }

    /// Makes a call and returns the values of the fields that its answer must have, in this order.
    fn call<const N: usize>(
        &self,
        call: &str,
        fields: &[(&str, &str)],
        expected: [&str; N],
    ) -> Result<[Zeroizing<String>; N]> {
        let request = request(call, fields);
        let ran = self.run.run(request, self.time_limit).map_err(|failure| self.failed(failure))?;
        match ran.code {
            Some(0) => self.read(&ran.answer, expected),
            _ => Err(self.refused(&ran)),
        }
    }

    fn failed(&self, failure: Failure) -> Error {
        match failure {
            Failure::Start(error) => self
                .unavailable("cannot start the custodian program")
                .caused_by(error)
                .hint("check its path and its permissions; it is started without a shell"),
            Failure::Talk(error) => self.unavailable("cannot talk to the custodian program").caused_by(error),
            Failure::TooLong => self.malformed(&format!("more than {ANSWER_LIMIT} bytes")),
            Failure::TimedOut => self
                .unavailable(format!("the custodian program did not answer within {:?}", self.time_limit))
                .hint("see whether what it depends on can be reached, then try again"),
        }
    }

    /// What an exit code other than zero means, with what the program wrote to standard error.
    fn refused(&self, ran: &Ran) -> Error {
        let words = printable(&ran.error);
        let how = match ran.code {
            None => "was ended by a signal".to_string(),
            Some(code) => format!("failed with exit code {code}"),
        };
        let message = match words.is_empty() {
            true => format!("the custodian program {how}"),
            false => format!("the custodian program says: {words}"),
        };
        match ran.code {
            Some(2) => Error::new(ErrorKind::Invalid, message).in_file(&self.program),
            Some(3) => Error::new(ErrorKind::Corrupt, message).in_file(&self.program),
            Some(4) => Error::new(ErrorKind::Refused, message).in_file(&self.program),
            Some(11) => Error::new(ErrorKind::Locked, message)
                .in_file(&self.program)
                .hint("close the other opening of this store first"),
            Some(12) => self.unavailable(message).hint("name the custodian that was made with this store"),
            _ => self.unavailable(message),
        }
    }

    fn read<const N: usize>(&self, answer: &[u8], expected: [&str; N]) -> Result<[Zeroizing<String>; N]> {
        let text = str::from_utf8(answer).map_err(|_| self.malformed("it is not text"))?;
        let Some(text) = text.strip_suffix('\n') else {
            return Err(self.malformed(if text.is_empty() { "it is empty" } else { "its last line has no end" }));
        };
        let mut lines = text.split('\n');
        match lines.next() {
            Some(VERSION) => {}
            Some(line) if line.starts_with(VERSION_NAME) => {
                return Err(Error::new(ErrorKind::Unsupported, "the custodian program speaks another version")
                    .in_file(&self.program)
                    .hint("this build speaks version 1"));
            }
            _ => return Err(self.malformed("its first line is not `tenure-custodian 1`")),
        }
        let mut values = [const { None }; N];
        for (name, value) in expected.iter().zip(&mut values) {
            let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            *value = Some(line.ok_or_else(|| self.malformed(&format!("the field {name} is missing")))?);
        }
        match (lines.next(), lines.next()) {
            (Some(LAST), None) => Ok(values.map(|value| Zeroizing::new(value.unwrap_or_default().to_string()))),
            _ => Err(self.malformed("it does not end with `end` behind its fields")),
        }
    }

    fn number(&self, text: &str) -> Result<u64> {
        let canonical = text.parse().ok().filter(|number: &u64| number.to_string() == text);
        canonical.ok_or_else(|| self.malformed("a number is not one"))
    }

    fn bytes(&self, text: &str, limit: usize) -> Result<Zeroizing<Vec<u8>>> {
        if text.len() > 2 * limit {
            return Err(self.malformed(&format!("a field of more than {limit} bytes")));
        }
        unhex(text).filter(|bytes| !bytes.is_empty()).ok_or_else(|| self.malformed("a field is not lowercase hex"))
    }

    fn array<const N: usize>(&self, text: &str) -> Result<[u8; N]> {
        let bytes = self.bytes(text, N)?;
        bytes.as_slice().try_into().map_err(|_| self.malformed(&format!("a field has not {N} bytes")))
    }

    /// A number and what stands behind it.
    fn pair<const N: usize>(&self, text: &str) -> Result<(u64, [u8; N])> {
        let (number, bytes) = text.split_once(' ').ok_or_else(|| self.malformed("a field has one part of two"))?;
        Ok((self.number(number)?, self.array(bytes)?))
    }
}

fn request(call: &str, fields: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    let length: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let mut request = Zeroizing::new(Vec::with_capacity(64 + call.len() + length));
    let mut line = |parts: &[&str]| {
        parts.iter().for_each(|part| request.extend_from_slice(part.as_bytes()));
        request.push(b'\n');
    };
    line(&[VERSION]);
    line(&["call ", call]);
    fields.iter().for_each(|(name, value)| line(&[name, " ", value]));
    line(&[LAST]);
    request
}

fn token(opening: &OpeningToken) -> String {
    format!("{} {}", opening.number, *hex(&opening.token))
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn unhex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    Some(bytes)
}

/// A program's words as they may be shown: bounded, on one line, without anything that moves a cursor.
fn printable(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let clean = |word: &str| word.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect::<String>();
    let mut shown = text.split_whitespace().map(clean).collect::<Vec<_>>().join(" ");
    shown.truncate(WORDS_LIMIT);
    shown
}

impl Custodian for CommandCustodian {
    fn create(&self, store: &StoreId) -> Result<()> {
        self.call("create", &[("store", &hex(store.as_bytes()))], []).map(|[]| ())
    }

    fn registration(&self) -> Result<Registration> {
        let names = ["store", "opening", "ledger", "destroyed-before"];
        let [store, opening, ledger, destroyed] = self.call("registration", &[], names)?;
        let (number, token) = self.pair(&opening)?;
        let (ledger_length, ledger_head) = self.pair(&ledger)?;
        Ok(Registration {
            store: StoreId::from_bytes(self.array(&store)?),
            opening: OpeningToken { number, token },
            ledger_length,
            ledger_head,
            destroyed_before: self.number(&destroyed)?,
        })
    }

    fn register(&self, expected: &OpeningToken, new: &OpeningToken) -> Result<()> {
        let mut registered = self.registered();
        if registered.is_some() {
            return Err(Error::new(ErrorKind::Locked, "this custodian is already registered for an opening")
                .in_file(&self.program)
                .hint("close the other opening of this store first"));
        }
        self.call("register", &[("expected", &token(expected)), ("new", &token(new))], []).map(|[]| ())?;
        *registered = Some(*new);
        Ok(())
    }

    fn release(&self) {
        let registered = self.registered().take();
        if let Some(opening) = registered {
            // Nobody can be told, and nothing is lost: at worst the program thinks for a while that we are still here.
            let _ = self.call("release", &[("opening", &token(&opening))], []).map(|[]| ());
        }
    }

    fn next_epoch(&self) -> Result<u64> {
        let [epoch] = self.call("next-epoch", &[("opening", &self.opening())], ["epoch"])?;
        match self.number(&epoch)? {
            0 => Err(self.malformed("epoch 0, which there is not")),
            epoch => Ok(epoch),
        }
    }

    fn seal(&self, epoch: u64, plain: &[u8]) -> Result<Vec<u8>> {
        if plain.len() > PLAIN_LIMIT {
            return Err(Error::new(ErrorKind::Invalid, "more than 4096 bytes to seal"));
        }
        let fields = [("opening", &*self.opening()), ("epoch", &*epoch.to_string()), ("plain", &*hex(plain))];
        let [sealed] = self.call("seal", &fields, ["sealed"])?;
        Ok(self.bytes(&sealed, SEALED_LIMIT)?.to_vec())
    }

    fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let [plain] = self.call("open", &[("sealed", &hex(sealed))], ["plain"])?;
        self.bytes(&plain, PLAIN_LIMIT)
    }

    fn destroy_before(&self, epoch: u64) -> Result<Evidence> {
        let fields = [("opening", &*self.opening()), ("epoch", &*epoch.to_string())];
        let [is_final, words] = self.call("destroy-before", &fields, ["final", "words"])?;
        let final_ = match is_final.as_str() {
            "yes" => true,
            "no" => false,
            _ => return Err(self.malformed("final is neither yes nor no")),
        };
        if words.is_empty() || words.len() > WORDS_LIMIT || printable(words.as_bytes()) != *words {
            return Err(self.malformed("its words are not one line of printable ASCII"));
        }
        Ok(Evidence { final_, words: words.to_string() })
    }

    fn advance(&self, length: u64, head: &Digest) -> Result<()> {
        let ledger = format!("{length} {}", *hex(head));
        self.call("advance", &[("opening", &self.opening()), ("ledger", &ledger)], []).map(|[]| ())
    }
}

impl Drop for CommandCustodian {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests;
