//! What is handed to the rooms above: the machine as an [`Env`], its open files, maps and locks.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::Sim;
use super::faults::Failure;
use super::world::World;
use crate::env::{DirEntry, Env, File, Lock, Map, Medium, Metadata, OpenMode};
use crate::sync::pause;
use crate::window::Timestamp;

/// An open file of one life of the machine.
struct SimFile {
    sim: Sim,
    node: u64,
    life: u64,
    writable: bool,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("node", &self.node).finish_non_exhaustive()
    }
}

impl SimFile {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        pause();
        self.still()
    }

    /// The machine, if it has not been started again since the file was opened.
    fn still(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.sim.world();
        match world.life == self.life {
            true => Ok(world),
            false => Err(Failure::Crash.error()),
        }
    }

    fn world_to_write(&self) -> io::Result<MutexGuard<'_, World>> {
        match self.writable {
            true => self.world(),
            false => Err(io::Error::from_raw_os_error(9)), // EBADF
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Ok(mut world) = self.still() {
            world.close(self.node);
        }
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.world()?.read(self.node, buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.world_to_write()?.write(self.node, data, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.world()?.len(self.node)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::InvalidInput.into()); // Here the kernel says EINVAL.
        }
        self.world()?.set_len(self.node, len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.world_to_write()?.allocate(self.node, offset, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.world()?.sync(self.node)
    }

    fn drop_cache(&self) {
        if let Ok(mut world) = self.world() {
            world.drop_cache(self.node);
        }
    }
}

struct SimMap(Vec<u8>);

impl Deref for SimMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Map for SimMap {}

#[derive(Debug)]
struct SimLock {
    sim: Sim,
    node: u64,
    life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = self.sim.world();
        if world.life == self.life {
            world.locks.remove(&self.node);
        }
    }
}

impl Lock for SimLock {}

impl Sim {
    /// The machine, for a call that the kernel may let others overtake.
    fn called(&self) -> MutexGuard<'_, World> {
        pause();
        self.world()
    }
}

impl Env for Sim {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut world = self.called();
        let node = world.open(path, mode)?;
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(SimFile { sim: self.clone(), node, life: world.life, writable }))
    }

    fn map(&self, path: &Path) -> io::Result<Box<dyn Map<Target = [u8]>>> {
        Ok(Box::new(SimMap(self.called().map(path)?)))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.called().rename_new(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.called().remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.called().create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.called().remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.called().list(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.called().metadata(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.called().sync_dir(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut world = self.called();
        let node = world.lock(path)?;
        Ok(Box::new(SimLock { sim: self.clone(), node, life: world.life }))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.called().free_space(path)
    }

    fn medium(&self, path: &Path) -> io::Result<Medium> {
        self.called().medium(path)
    }

    fn now(&self) -> Timestamp {
        let mut world = self.world();
        world.pass(1);
        Timestamp::from_micros(world.wall_micros)
    }

    fn monotonic(&self) -> Duration {
        let mut world = self.world();
        world.pass(1);
        Duration::from_micros(world.monotonic_micros)
    }

    fn fill_random(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.world().fill_random(buffer)
    }
}
