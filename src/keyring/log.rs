//! One file of the keyring's log in all its mirrors: frames are appended in memory, written out and synced on request,
//! and read back from whichever mirror holds them whole. It knows frames and checksums, no keys.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::io;
use std::path::{Path, PathBuf};

use crate::env::{self, Env, File, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::keyring::{LOG_HEAD_BYTES, LogFrame, LogHead, Place};
use crate::ident::StoreId;

/// Space is reserved in steps of this many bytes.
const STEP: u64 = 1 << 20;
/// No buffer that is larger is kept for the next write.
const SPARE_LIMIT: usize = 2 << 20;

/// The name of log file `number` in `dir`.
pub fn log_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.keys"))
}

/// Takes a lock whatever a panicking thread left: every critical section leaves its data whole.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One mirror of a log file.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// Its path.
    pub path: PathBuf,
    /// It, open.
    pub file: Arc<dyn File>,
}

/// One log file in all its mirrors.
#[derive(Debug)]
pub struct Log {
    number: u64,
    /// Where in the log of all files this one begins.
    base: u64,
    mirrors: Vec<Mirror>,
    writable: bool,
    pending: Mutex<Pending>,
    /// How much space is reserved; held while bytes are written or synced.
    allocated: Mutex<u64>,
    /// The failed write or sync after which nothing is written any more.
    failure: OnceLock<Error>,
    mended: AtomicU64,
}

#[derive(Debug, Default)]
struct Pending {
    start: u64,
    buffer: Vec<u8>,
    flying: Option<(u64, Arc<Vec<u8>>)>,
    /// What flew last, empty, for the buffer after this one: what is given back and asked for anew with every sync stays
    /// with the allocator, at each thread's largest.
    spare: Vec<u8>,
}

impl Log {
    /// A log over files that exist and are whole up to `end`. Where `writable`, mirrors are mended as they are read.
    pub fn over((number, base): (u64, u64), mirrors: Vec<Mirror>, end: u64, writable: bool) -> Self {
        Log {
            number,
            base,
            mirrors,
            writable,
            pending: Mutex::new(Pending { start: end, ..Pending::default() }),
            allocated: Mutex::new(end - base),
            failure: OnceLock::new(),
            mended: AtomicU64::new(0),
        }
    }

    /// A new log file in every directory, under temporary names until [`Log::publish`].
    pub fn create(env: &dyn Env, dirs: &[PathBuf], (number, base): (u64, u64), store: &StoreId) -> Result<Self> {
        let head = LogHead { store: *store, file: number, base }.encode();
        let mut mirrors = Vec::with_capacity(dirs.len());
        for dir in dirs {
            let path = log_path(dir, number);
            let created = env::temporary_name(env, &path).and_then(|path| {
                let file = env.open(&path, OpenMode::CreateNew)?;
                env::write_all_at(&*file, &head, 0)?;
                Ok(Mirror { path, file })
            });
            mirrors.push(created.map_err(|error| Error::io("create a keyring file", &path, error))?);
        }
        Ok(Log::over((number, base), mirrors, base + LOG_HEAD_BYTES as u64, true))
    }

    /// Gives the files of [`Log::create`], already synced, their names.
    pub fn publish(&mut self, env: &dyn Env) -> Result<()> {
        for mirror in &mut self.mirrors {
            let dir = env::parent(&mirror.path).to_path_buf();
            let path = log_path(&dir, self.number);
            env.rename_new(&mirror.path, &path)
                .and_then(|()| env.sync_dir(&dir))
                .map_err(|error| Error::io("name a keyring file", &path, error))?;
            mirror.path = path;
        }
        Ok(())
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where it begins: what stands before is in another file.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Its mirrors.
    pub fn mirrors(&self) -> &[Mirror] {
        &self.mirrors
    }

    /// Where the next frame will stand.
    pub fn end(&self) -> u64 {
        let pending = locked(&self.pending);
        pending.start + pending.buffer.len() as u64
    }

    /// Up to where everything has been written out, to every mirror.
    pub fn written(&self) -> u64 {
        let pending = locked(&self.pending);
        pending.flying.as_ref().map_or(pending.start, |(start, _)| *start)
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        locked(&self.pending).buffer.len()
    }

    /// Frames that were mended in one mirror from another.
    pub fn mended(&self) -> u64 {
        self.mended.load(Ordering::Relaxed)
    }

    /// Appends one frame, made in place, to what waits to be written.
    pub fn append(&self, make: impl FnOnce(&mut Vec<u8>)) -> Place {
        let mut pending = locked(&self.pending);
        let before = pending.buffer.len();
        make(&mut pending.buffer);
        let length = (pending.buffer.len() - before) as u32; // Frames are bounded to 4 MiB.
        Place { offset: pending.start + before as u64, length }
    }

    /// Nothing is written any more: what is on disk is unknown.
    pub fn poison(&self, error: &Error) {
        let _ = self.failure.set(error.clone()); // The first failure is the one to tell.
    }

    /// Refuses to go on after a failed write or sync.
    pub fn check(&self) -> Result<()> {
        match self.failure.get() {
            None => Ok(()),
            Some(first) => Err(Error::new(ErrorKind::Poisoned, "an earlier write to the keyring failed")
                .caused_by(first.clone())
                .hint(first.next_step().unwrap_or("open the store again; nothing acknowledged is lost"))),
        }
    }

    /// Writes out what waits, without making it durable.
    pub fn write_out(&self) -> Result<()> {
        let mut allocated = locked(&self.allocated);
        self.write_out_with(&mut allocated)
    }

    fn write_out_with(&self, allocated: &mut u64) -> Result<()> {
        self.check()?;
        let (start, bytes) = {
            let mut pending = locked(&self.pending);
            if pending.buffer.is_empty() {
                return Ok(());
            }
            let spare = std::mem::take(&mut pending.spare);
            let bytes = Arc::new(std::mem::replace(&mut pending.buffer, spare));
            let start = pending.start;
            pending.start += bytes.len() as u64;
            pending.flying = Some((start, bytes.clone()));
            (start, bytes)
        };
        let start = start - self.base;
        let end = start + bytes.len() as u64;
        for mirror in &self.mirrors {
            let reserved = match end > *allocated {
                true => mirror.file.allocate(*allocated, (end - *allocated).next_multiple_of(STEP)),
                false => Ok(()),
            };
            if let Err(error) = reserved.and_then(|()| env::write_all_at(&*mirror.file, &bytes, start)) {
                let error = Error::io("write the keyring", &mirror.path, error);
                self.poison(&error);
                return Err(error);
            }
        }
        if end > *allocated {
            *allocated += (end - *allocated).next_multiple_of(STEP);
        }
        let mut pending = locked(&self.pending);
        pending.flying = None;
        if let Some(mut spare) = Arc::into_inner(bytes).filter(|spare| spare.capacity() <= SPARE_LIMIT) {
            spare.clear();
            pending.spare = spare;
        }
        Ok(())
    }

    /// Writes out what waits and makes everything durable in every mirror.
    pub fn sync(&self) -> Result<()> {
        let mut allocated = locked(&self.allocated);
        self.write_out_with(&mut allocated)?;
        for mirror in &self.mirrors {
            if let Err(error) = mirror.file.sync_data() {
                let error = Error::io("sync the keyring", &mirror.path, error);
                self.poison(&error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Gives back the space that was reserved and not used, so that every byte of a closed log means something.
    pub fn trim(&self) -> Result<()> {
        let mut allocated = locked(&self.allocated);
        self.write_out_with(&mut allocated)?;
        let end = self.end() - self.base;
        if *allocated == end {
            return Ok(());
        }
        for mirror in &self.mirrors {
            mirror
                .file
                .set_len(end)
                .and_then(|()| mirror.file.sync_data())
                .map_err(|error| Error::io("trim the keyring", &mirror.path, error))?;
        }
        *allocated = end;
        Ok(())
    }

    fn in_memory(&self, place: Place) -> Option<Vec<u8>> {
        let pending = locked(&self.pending);
        let cut = |start: u64, bytes: &[u8]| {
            let from = usize::try_from(place.offset.checked_sub(start)?).ok()?;
            bytes.get(from..from + place.length as usize).map(<[u8]>::to_vec)
        };
        let flying = pending.flying.as_ref().and_then(|(start, bytes)| cut(*start, bytes));
        flying.or_else(|| cut(pending.start, &pending.buffer))
    }

    /// The bytes of the frame at `place`, whose checksum fits: from the first mirror that has them, which mends the
    /// others.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where no mirror has them; what the operating system said where it refused.
    pub fn read(&self, place: Place) -> Result<Vec<u8>> {
        if let Some(bytes) = self.in_memory(place) {
            return Ok(bytes);
        }
        let Some(offset) = place.offset.checked_sub(self.base) else {
            let path = self.mirrors.first().map(|mirror| mirror.path.clone()).unwrap_or_default();
            return Err(Error::corrupt(&path, 0, "a frame of the keyring stands before all of its files")
                .hint("bring the keyring back from a mirror; everything else keeps serving"));
        };
        let mut failed = Vec::new();
        let mut why = None;
        for mirror in &self.mirrors {
            let mut bytes = vec![0; place.length as usize];
            let error = match env::read_exact_at(&*mirror.file, &mut bytes, offset) {
                Ok(()) => match LogFrame::parse(&bytes) {
                    Ok((_, length)) if length == bytes.len() => {
                        self.mend(&failed, &bytes, offset);
                        return Ok(bytes);
                    }
                    Ok(_) => Error::corrupt(&mirror.path, offset, "a frame of the keyring is cut short"),
                    Err(what) => Error::corrupt(&mirror.path, offset, format!("a frame of the keyring: {what}")),
                },
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Error::corrupt(&mirror.path, offset, "the keyring ends before a frame that it needs")
                }
                Err(error) => Error::io("read the keyring", &mirror.path, error),
            };
            failed.push(mirror);
            why = why.or(Some(error));
        }
        let error = why.unwrap_or_else(|| Error::new(ErrorKind::Invalid, "a keyring lies in no directory at all"));
        Err(error.hint("bring this file back from a mirror of the keyring; everything else keeps serving"))
    }

    /// Best effort: a mirror that cannot be mended now is tried again at its next reading.
    fn mend(&self, failed: &[&Mirror], bytes: &[u8], offset: u64) {
        if self.writable && self.check().is_ok() {
            for mirror in failed {
                if env::write_all_at(&*mirror.file, bytes, offset).is_ok() {
                    self.mended.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}
