//! The published durable position: how far read-only openers may read while a writer lives. A hint in one small file,
//! overwritten in place and never synced; recovery does not trust it, and a damaged one only means "nothing yet".

use crate::sync::Arc;
use std::path::Path;

use crate::env::{Env, File, OpenMode, read_file, write_all_at};
use crate::format::hint::{HINT_BYTES, Hint};
use crate::format::position::Position;

const NAME: &str = "durable";

/// The file to publish in, where it can be had.
pub fn open(env: &dyn Env, root: &Path) -> Option<Arc<dyn File>> {
    let path = root.join(NAME);
    env.open(&path, OpenMode::Write).or_else(|_| env.open(&path, OpenMode::CreateNew)).ok()
}

/// Publishes `position`. Best effort: without it readers lag behind, nothing else.
pub fn write(file: &dyn File, opening: u32, position: Position) {
    let _ = write_all_at(file, &Hint { opening, position }.encode(), 0);
}

/// Who reads while it is overwritten may find half of either: a few more looks tell that from damage.
const LOOKS: usize = 4;

/// The position published last, where one can be read.
pub fn read(env: &dyn Env, root: &Path) -> Option<Hint> {
    (0..LOOKS).find_map(|_| {
        let bytes = read_file(env, &root.join(NAME), HINT_BYTES as u64).ok()?;
        Hint::decode(&bytes).ok()
    })
}
