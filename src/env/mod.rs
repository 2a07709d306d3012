//! The world outside: files, maps, directories, locks, clock and entropy behind one small trait.
//!
//! Everything above this room reaches the operating system only through [`Env`]: [`disk::Disk`] in production,
//! [`sim::Sim`] (feature `simulation`) in tests, which tears, loses and forgets. Reads and writes may be short, as
//! the kernel's are; [`read_exact_at`] and [`write_all_at`] finish them. Errors are plain `io::Error`: the rooms
//! above know which file and which step, and say so.

mod ahead;
mod blocks;
pub mod disk;
#[cfg(feature = "simulation")]
pub mod sim;

use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::window::Timestamp;

pub use ahead::ReadAhead;
pub use blocks::{BLOCK, Blocks};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; it must not exist.
    CreateNew,
    /// The same, and what is written in whole blocks (offset, length and memory a multiple of [`BLOCK`]) need not stay in
    /// the page cache. Whoever writes anything else, or reads, has a file like any other from then on.
    CreateDirect,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name within the directory.
    pub name: String,
    /// Whether it is a directory itself.
    pub is_dir: bool,
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Length in bytes (of a file).
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// An open file. It may be shared between threads; positions are always explicit.
#[allow(clippy::len_without_is_empty)] // A length is a question to the system that can fail, not a collection's.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads at most `buffer.len()` bytes at `offset`; fewer is allowed, zero is the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at most `data.len()` bytes at `offset`; fewer is allowed.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize>;
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves space for and extends the file to `offset + len` with zeros, so that writing there needs no new block.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Makes the data durable, and what is needed to find it (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Asks that cached pages be dropped, so that the next read sees the medium. Best effort, never fails.
    fn drop_cache(&self);
}

/// A whole file mapped (or, in simulation, copied) for reading. The file must be immutable while it lives.
pub trait Map: Deref<Target = [u8]> + Send + Sync {}

/// A lock on a file, held until dropped.
pub trait Lock: Send + Sync + fmt::Debug {}

/// What kind of file system a path is on, as far as erasure cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// Overwrites reach the same blocks, as far as the file system is concerned.
    InPlace,
    /// Copy-on-write: an overwrite leaves the old block behind.
    CopyOnWrite,
    /// Served by another machine.
    Network,
    /// Memory; gone at power-off.
    Memory,
}

/// Files, maps, directories, locks, clock and entropy.
pub trait Env: Send + Sync + fmt::Debug {
    /// Opens or creates a file. A created name is durable only after [`Env::sync_dir`].
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Maps a whole immutable file for reading.
    fn map(&self, path: &Path) -> io::Result<Box<dyn Map<Target = [u8]>>>;
    /// Gives a file another name in the same file system; `AlreadyExists` where the name is taken.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Creates one directory; its parent must exist.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// What a path is; `NotFound` where nothing is.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Makes the names in a directory durable (fsync of the directory).
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Locks an existing file against other openers; `WouldBlock` where somebody holds it.
    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
    /// Free bytes where `path` lies.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
    /// What kind of file system `path` is on.
    fn medium(&self, path: &Path) -> io::Result<Medium>;
    /// How many files this process may have open, about.
    fn open_files(&self) -> usize {
        1024
    }
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// Time since some fixed point, never running back.
    fn monotonic(&self) -> Duration;
    /// Fills `buffer` with random bytes fit for keys.
    fn fill_random(&self, buffer: &mut [u8]) -> io::Result<()>;
}

/// `N` random bytes fit for keys.
pub fn random<const N: usize>(env: &dyn Env) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    env.fill_random(&mut bytes)?;
    Ok(bytes)
}

/// Fills `buffer` from `offset`; `UnexpectedEof` where the file ends first.
pub fn read_exact_at(file: &dyn File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = &mut buffer[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `data` at `offset`; `WriteZero` where the file takes no more.
pub fn write_all_at(file: &dyn File, mut data: &[u8], mut offset: u64) -> io::Result<()> {
    while !data.is_empty() {
        match file.write_at(data, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                data = &data[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The whole of a file, refused with `FileTooLarge` where it is longer than `limit` bytes.
pub fn read_file(env: &dyn Env, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = env.open(path, OpenMode::Read)?;
    let len = file.len()?;
    if len > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; len as usize];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}

/// The suffix of files that are not yet what they will be; swept when a store is opened.
pub const TEMPORARY: &str = ".tmp";

/// A temporary name beside `path` that nobody else uses.
pub fn temporary_name(env: &dyn Env, path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{:016x}{TEMPORARY}", u64::from_le_bytes(random(env)?)));
    Ok(path.with_file_name(name))
}

/// The directory a path lies in (`.` for a bare name: the parent of which is the empty path).
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// A new file, visible whole or not at all: written under a temporary name, synced, renamed without replacing, and its
/// directory synced.
pub fn publish_new(env: &dyn Env, path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(env, path)?;
    let file = env.open(&temporary, OpenMode::CreateNew)?;
    let written = write_all_at(&*file, contents, 0)
        .and_then(|()| file.sync_data())
        .and_then(|()| env.rename_new(&temporary, path));
    if let Err(error) = written {
        let _ = env.remove_file(&temporary); // What remains is swept at the next opening.
        return Err(error);
    }
    env.sync_dir(parent(path))
}

/// Creates a directory and its missing parents, each name made durable. Existing ones are left alone.
pub fn create_dirs(env: &dyn Env, path: &Path) -> io::Result<()> {
    match env.metadata(path) {
        Ok(metadata) if metadata.is_dir => return Ok(()),
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if path.parent().is_some_and(|dir| !dir.as_os_str().is_empty()) {
        create_dirs(env, parent(path))?;
    }
    match env.create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    env.sync_dir(parent(path))
}
