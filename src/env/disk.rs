//! The production environment: the operating system's files, maps, locks, clock and randomness.
//!
//! It owns every call to `std::fs`, the clock and the kernel's randomness, and the one `unsafe` line outside of `compress::processor`.
//! It never retries, buffers or interprets: what the kernel says is what the rooms above hear.

use std::fs;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{Advice, CWD, FallocateFlags, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{BLOCK, DirEntry, Env, File, Lock, Map, Medium, Metadata, OpenMode};
use crate::window::Timestamp;

/// The machine this process runs on.
#[derive(Clone, Debug)]
pub struct Disk {
    started: Instant,
}

impl Disk {
    /// The machine this process runs on.
    #[allow(clippy::disallowed_methods)]
    pub fn new() -> Self {
        Disk { started: Instant::now() }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Disk::new()
    }
}

#[derive(Debug)]
struct DiskFile {
    file: fs::File,
    /// Whether it passes the page cache by, as yet.
    direct: AtomicBool,
}

impl DiskFile {
    fn new(file: fs::File) -> Self {
        DiskFile { file, direct: AtomicBool::new(false) }
    }

    /// Has it pass the page cache by, where its file system can do that.
    fn bypass(&self) {
        let flags = rustix::fs::fcntl_getfl(&self.file);
        let set = flags.and_then(|flags| rustix::fs::fcntl_setfl(&self.file, flags | OFlags::DIRECT));
        self.direct.store(set.is_ok(), Ordering::Release);
    }

    /// Makes it a file like any other, for good: a call that overtakes this one is right either way.
    fn stay(&self) -> io::Result<()> {
        if self.direct.load(Ordering::Acquire) {
            let flags = rustix::fs::fcntl_getfl(&self.file)?;
            rustix::fs::fcntl_setfl(&self.file, flags.difference(OFlags::DIRECT))?;
            self.direct.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Writes the whole blocks at the front of `data`; `None` where there is none, or the disk wants larger ones.
    fn write_blocks(&self, data: &[u8], offset: u64) -> Option<io::Result<usize>> {
        let count = data.len() / BLOCK * BLOCK;
        let aligned = offset.is_multiple_of(BLOCK as u64) && data.as_ptr().align_offset(BLOCK) == 0;
        if !aligned || count == 0 || !self.direct.load(Ordering::Acquire) {
            return None;
        }
        let written = self.file.write_at(&data[..count], offset);
        Some(written).filter(|written| !matches!(written, Err(error) if error.kind() == io::ErrorKind::InvalidInput))
    }
}

impl File for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.stay()?;
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        if let Some(written) = self.write_blocks(data, offset) {
            return written;
        }
        self.stay()?;
        self.file.write_at(data, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, len) {
            // File systems that cannot reserve still grow the file; commits there pay for new blocks.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if self.len()? < end => self.set_len(end),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn drop_cache(&self) {
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
    }
}

struct DiskMap(memmap2::Mmap);

impl Deref for DiskMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Map for DiskMap {}

/// The file whose lock this is: the kernel lets go of the lock when it is closed, also when the process dies.
#[derive(Debug)]
struct DiskLock {
    _file: fs::File,
}

impl Lock for DiskLock {}

#[allow(clippy::disallowed_methods)]
impl Env for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(mode != OpenMode::Read)
            .create_new(matches!(mode, OpenMode::CreateNew | OpenMode::CreateDirect))
            .open(path)?;
        let file = DiskFile::new(file);
        if mode == OpenMode::CreateDirect {
            file.bypass();
        }
        Ok(Arc::new(file))
    }

    fn map(&self, path: &Path) -> io::Result<Box<dyn Map<Target = [u8]>>> {
        let file = fs::File::open(path)?;
        // SAFETY: the bytes behind a map must not change while it lives. `Env::map` is asked only for files that are
        // immutable: they are published by rename after their last write, nothing in this crate opens them for
        // writing again, and removing one unlinks its name but leaves the mapped blocks. A foreign process that
        // truncates or rewrites them breaks the rule that one store has one owner (the LOCK file, and the directory's
        // permissions).
        #[allow(unsafe_code)]
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Box::new(DiskMap(map)))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // File systems without the flag: a hard link refuses a taken name just as well. A crash between the two
            // steps leaves both names, of which the temporary one is swept.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::hard_link(from, to)?;
                fs::remove_file(from)
            }
            other => Ok(other?),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // A name that is not UTF-8 is none of ours: it is shown, and what asks for it finds nothing.
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let metadata = fs::metadata(path)?;
        Ok(Metadata { len: metadata.len(), is_dir: metadata.is_dir() })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(DiskLock { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn medium(&self, path: &Path) -> io::Result<Medium> {
        let stat = rustix::fs::statfs(path)?;
        Ok(medium_of(stat.f_type as u32))
    }

    fn now(&self) -> Timestamp {
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        };
        Timestamp::from_micros(micros)
    }

    fn open_files(&self) -> usize {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn fill_random(&self, buffer: &mut [u8]) -> io::Result<()> {
        getrandom::fill(buffer).map_err(io::Error::other)
    }
}

/// By the magic number that statfs(2) gives. What is not known is taken for an ordinary local disk.
fn medium_of(magic: u32) -> Medium {
    match magic {
        // btrfs, zfs, bcachefs; f2fs and nilfs write logs, which is the same to an overwrite.
        0x9123_683E | 0x2FC1_2FC1 | 0xCA45_1A4E | 0xF2F5_2010 | 0x3434 => Medium::CopyOnWrite,
        // nfs, smb, cifs, smb2, ceph, afs (two), 9p, fuse, lustre, gfs2, ocfs2, coda.
        0x6969 | 0x517B | 0xFF53_4D42 | 0xFE53_4D42 | 0x00C3_6400 | 0x5346_414F | 0x6B41_4653 | 0x0102_1997
        | 0x6573_5546 | 0x0BD0_0BD0 | 0x0116_1970 | 0x7461_636F | 0x7375_7245 => Medium::Network,
        // tmpfs, ramfs.
        0x0102_1994 | 0x8584_58F6 => Medium::Memory,
        _ => Medium::InPlace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Blocks, create_dirs, publish_new, read_exact_at, read_file, write_all_at};

    #[test]
    fn files_grow_shrink_and_keep_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        let path = dir.path().join("a");
        assert_eq!(disk.open(&path, OpenMode::Read).unwrap_err().kind(), io::ErrorKind::NotFound);
        let file = disk.open(&path, OpenMode::CreateNew).unwrap();
        assert_eq!(disk.open(&path, OpenMode::CreateNew).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        file.allocate(0, 10_000).unwrap();
        assert_eq!(file.len().unwrap(), 10_000);
        write_all_at(&*file, b"hello", 9_998).unwrap();
        file.sync_data().unwrap();
        file.drop_cache();
        let mut bytes = [0; 6];
        read_exact_at(&*file, &mut bytes, 9_997).unwrap();
        assert_eq!(&bytes, b"\0hello");
        let past = read_exact_at(&*file, &mut bytes, 9_998).unwrap_err();
        assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
        file.set_len(9_999).unwrap();
        assert_eq!(read_file(&disk, &path, 10_000).unwrap()[9_998..], *b"h");
        assert_eq!(read_file(&disk, &path, 9_998).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let reader = disk.open(&path, OpenMode::Read).unwrap();
        assert!(reader.write_at(b"x", 0).is_err());
        assert_eq!(disk.map(&path).unwrap().len(), 9_999);
    }

    #[test]
    fn a_file_past_the_page_cache_holds_what_was_written_however_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        let path = dir.path().join("a");
        let file = disk.open(&path, OpenMode::CreateDirect).unwrap();
        assert_eq!(disk.open(&path, OpenMode::CreateDirect).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let mut blocks = Blocks::with_room(9 * BLOCK);
        let mut expected = Vec::new();
        for (step, length) in [3 * BLOCK, BLOCK, 2 * BLOCK + 5, 7, BLOCK - 12, 5 * BLOCK].into_iter().enumerate() {
            blocks.take_front(usize::MAX);
            blocks.extend_from_slice(&vec![step as u8 + 1; length]);
            write_all_at(&*file, &blocks, expected.len() as u64).unwrap();
            expected.extend_from_slice(&blocks);
        }
        file.sync_data().unwrap();
        assert_eq!(file.len().unwrap(), expected.len() as u64);
        let mut read = vec![0; expected.len() - 3];
        read_exact_at(&*file, &mut read, 3).unwrap();
        assert_eq!(read, expected[3..]);
        assert_eq!(read_file(&disk, &path, 1 << 20).unwrap(), expected);
    }

    #[test]
    fn whole_blocks_pass_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let made = fs::File::create_new(dir.path().join("a")).unwrap();
        let file = DiskFile::new(made);
        file.bypass();
        if !file.direct.load(Ordering::Acquire) {
            return; // The file system here cannot do it, which is what the store has to live with as well.
        }
        let mut blocks = Blocks::with_room(3 * BLOCK);
        blocks.extend_from_slice(&[7; 2 * BLOCK + 9]);
        assert!(file.write_blocks(&blocks, 1).is_none(), "of another offset");
        assert!(file.write_blocks(&blocks[8..], 0).is_none(), "of other memory");
        assert!(file.write_blocks(&blocks[..BLOCK - 1], 0).is_none(), "not whole");
        assert_eq!(file.write_blocks(&blocks, 0).unwrap().unwrap(), 2 * BLOCK);
        assert_eq!(file.write_at(&blocks[2 * BLOCK..], 2 * BLOCK as u64).unwrap(), 9);
        assert!(file.write_blocks(&blocks, 0).is_none(), "it is a file like any other now");
        assert_eq!(file.len().unwrap(), 2 * BLOCK as u64 + 9);
    }

    #[test]
    fn an_empty_file_maps_to_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        disk.open(&dir.path().join("a"), OpenMode::CreateNew).unwrap();
        assert!(disk.map(&dir.path().join("a")).unwrap().is_empty());
    }

    #[test]
    fn renaming_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        let nested = dir.path().join("x/y");
        create_dirs(&disk, &nested).unwrap();
        create_dirs(&disk, &nested).unwrap();
        publish_new(&disk, &nested.join("one"), b"1").unwrap();
        let taken = publish_new(&disk, &nested.join("one"), b"2").unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        let names = disk.list(&nested).unwrap();
        assert_eq!(names, [DirEntry { name: "one".into(), is_dir: false }]);
        assert_eq!(read_file(&disk, &nested.join("one"), 9).unwrap(), b"1");
        assert!(disk.remove_dir(&nested).is_err());
        disk.remove_file(&nested.join("one")).unwrap();
        disk.remove_dir(&nested).unwrap();
        assert_eq!(disk.metadata(&nested).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_lock_is_exclusive_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        let path = dir.path().join("LOCK");
        disk.open(&path, OpenMode::CreateNew).unwrap();
        let held = disk.try_lock(&path).unwrap();
        assert_eq!(disk.try_lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        disk.try_lock(&path).unwrap();
    }

    #[test]
    fn the_rest_of_the_machine_answers() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        assert!(disk.free_space(dir.path()).unwrap() > 0);
        disk.medium(dir.path()).unwrap();
        assert_eq!(medium_of(0x9123_683E), Medium::CopyOnWrite);
        assert_eq!(medium_of(0x6969), Medium::Network);
        assert_eq!(medium_of(0xEF53), Medium::InPlace);
        assert!(disk.now() > "2025-01-01T00:00:00Z".parse().unwrap());
        assert!(disk.monotonic() <= disk.monotonic());
        let (mut a, mut b) = ([0; 32], [0; 32]);
        disk.fill_random(&mut a).unwrap();
        disk.fill_random(&mut b).unwrap();
        assert_ne!(a, b);
    }
}
