//! The simulated machine answers as the real one does, so that what passes on it means something.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use tenure::env::disk::Disk;
use tenure::env::sim::{Faults, Sim};
use tenure::env::{Env, File, OpenMode, create_dirs, publish_new, read_file, write_all_at};

#[derive(Clone, Debug)]
enum Step {
    Open(usize, OpenMode),
    Write(u64, Vec<u8>),
    Read(u64, usize),
    SetLen(u64),
    Allocate(u64, u64),
    Sync,
    DropCache,
    Publish(usize, Vec<u8>),
    Rename(usize, usize),
    RemoveFile(usize),
    CreateDir(usize),
    CreateDirs(usize),
    RemoveDir(usize),
    List(usize),
    Metadata(usize),
    SyncDir(usize),
    Lock(usize),
    Whole(usize),
    Map(usize),
}

const NAMES: [&str; 8] = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "f/a"];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    let offset = prop_oneof![0..40u64, 500..530u64, 4000..4200u64];
    let bytes = prop::collection::vec(any::<u8>(), 0..700);
    let mode = prop_oneof![Just(OpenMode::Read), Just(OpenMode::Write), Just(OpenMode::CreateNew)];
    prop_oneof![
        5 => (name.clone(), mode).prop_map(|(name, mode)| Step::Open(name, mode)),
        6 => (offset.clone(), bytes.clone()).prop_map(|(offset, bytes)| Step::Write(offset, bytes)),
        3 => (offset.clone(), 0..900usize).prop_map(|(offset, len)| Step::Read(offset, len)),
        1 => offset.clone().prop_map(Step::SetLen),
        1 => (offset.clone(), 1..5000u64).prop_map(|(offset, len)| Step::Allocate(offset, len)),
        1 => Just(Step::Sync),
        1 => Just(Step::DropCache),
        2 => (name.clone(), bytes).prop_map(|(name, bytes)| Step::Publish(name, bytes)),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => name.clone().prop_map(Step::RemoveFile),
        2 => name.clone().prop_map(Step::CreateDir),
        1 => name.clone().prop_map(Step::CreateDirs),
        1 => name.clone().prop_map(Step::RemoveDir),
        1 => name.clone().prop_map(Step::List),
        1 => name.clone().prop_map(Step::Metadata),
        1 => name.clone().prop_map(Step::SyncDir),
        1 => name.clone().prop_map(Step::Lock),
        1 => name.clone().prop_map(Step::Whole),
        1 => name.prop_map(Step::Map),
    ]
}

/// A machine, the directory played in, and the file opened last.
struct Player<'a> {
    env: &'a dyn Env,
    root: PathBuf,
    file: Option<Arc<dyn File>>,
}

impl Player<'_> {
    fn at(&self, name: usize) -> PathBuf {
        self.root.join(NAMES[name])
    }

    /// What a step answers, in words that must be the same on both machines.
    fn play(&mut self, step: &Step) -> String {
        let answer = self.answer(step);
        answer.unwrap_or_else(|error| format!("{:?}", error.kind()))
    }

    fn answer(&mut self, step: &Step) -> io::Result<String> {
        let (env, file) = (self.env, self.file.clone());
        let file = || file.clone().ok_or(io::Error::from(io::ErrorKind::NotConnected));
        let done = |()| "done".to_owned();
        if let Step::Open(name, _) | Step::Whole(name) | Step::Map(name) | Step::Lock(name) = step
            && env.metadata(&self.at(*name)).is_ok_and(|metadata| metadata.is_dir)
        {
            return Ok("directories are not opened".to_owned());
        }
        match step {
            Step::Open(name, mode) => {
                self.file = Some(env.open(&self.at(*name), *mode)?);
                Ok("open".to_owned())
            }
            Step::Write(offset, bytes) => write_all_at(&*file()?, bytes, *offset).map(done),
            Step::Read(offset, len) => {
                let mut buffer = vec![0xAA; *len];
                let (file, mut count) = (file()?, 0);
                while count < *len {
                    match file.read_at(&mut buffer[count..], offset + count as u64) {
                        Ok(0) => break,
                        Ok(more) => count += more,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(format!("{count} {buffer:?} of {}", file.len()?))
            }
            Step::SetLen(len) => file()?.set_len(*len).map(done),
            Step::Allocate(offset, len) => file()?.allocate(*offset, *len).map(done),
            Step::Sync => file()?.sync_data().map(done),
            Step::DropCache => {
                file()?.drop_cache();
                Ok("done".to_owned())
            }
            Step::Publish(name, bytes) => publish_new(env, &self.at(*name), bytes).map(done),
            Step::Rename(from, to) if from == to => Ok("to itself".to_owned()),
            Step::Rename(from, to) => match env.metadata(&self.at(*from))?.is_dir {
                true => Ok("only files are renamed".to_owned()),
                false => env.rename_new(&self.at(*from), &self.at(*to)).map(done),
            },
            Step::RemoveFile(name) => env.remove_file(&self.at(*name)).map(done),
            Step::CreateDir(name) => env.create_dir(&self.at(*name)).map(done),
            Step::CreateDirs(name) => create_dirs(env, &self.at(*name)).map(done),
            Step::RemoveDir(name) => env.remove_dir(&self.at(*name)).map(done),
            Step::List(name) => env.list(&self.at(*name)).map(|entries| format!("{entries:?}")),
            Step::Metadata(name) => {
                let metadata = env.metadata(&self.at(*name))?;
                Ok(if metadata.is_dir { "directory".to_owned() } else { format!("{} bytes", metadata.len) })
            }
            Step::SyncDir(name) => match env.metadata(&self.at(*name))?.is_dir {
                true => env.sync_dir(&self.at(*name)).map(done),
                false => Ok("only directories".to_owned()),
            },
            Step::Lock(name) => {
                let _held = env.try_lock(&self.at(*name))?;
                Ok(format!("{:?}", env.try_lock(&self.at(*name)).map(drop).map_err(|error| error.kind())))
            }
            Step::Whole(name) => read_file(env, &self.at(*name), 3000).map(|bytes| format!("{bytes:?}")),
            Step::Map(name) => Ok(format!("{:?}", &**env.map(&self.at(*name))?)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_simulation_answers_as_the_disk_does(steps in prop::collection::vec(step(), 1..60), seed: u64) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        let sim = Sim::new(seed);
        sim.set_faults(Faults::harmless(seed));
        create_dirs(&sim, Path::new("/root")).unwrap();
        let mut real = Player { env: &disk, root: dir.path().to_owned(), file: None };
        let mut simulated = Player { env: &sim, root: PathBuf::from("/root"), file: None };
        for (number, step) in steps.iter().enumerate() {
            prop_assert_eq!(real.play(step), simulated.play(step), "step {}: {:?}", number, step);
        }
    }
}
