//! Bytes on the disk: originals of customers held out of training, each once, one stream in one yearly window.

use super::{Material, Outcome, Task, fresh};
use crate::Result;
use crate::meters;
use crate::records::{Feed, Until};
use crate::subjects::{self, Making};

pub fn disk(task: &Task) -> Result<Outcome> {
    let material = Material::load(task)?;
    let (pool, training) = (material.corpus.held_out(), material.training());
    let dir = fresh(&task.dir)?;
    let making = Making { yearly: true, ..material.making(&training) };
    let subject = subjects::open(&task.name, dir, making)?;
    subject.ingest(&Feed::new(&pool, 1_000, Until::Once), 1)?;
    subject.settle()?;
    subject.tidy()?;
    let mut outcome = Outcome { settings: subject.settings(), state: subject.state(), ..Outcome::default() };
    let record_bytes = subject.record_bytes()?;
    subject.close()?;
    let whole = meters::disk_bytes(dir)?;
    // Of Tenure everything counts, keys and ledger as well; of the others no logs, and of the kernel there is no file.
    let bytes = match (record_bytes, task.name.engine.as_str()) {
        (Some(record_bytes), engine) if engine != "tenure" => record_bytes,
        _ => whole,
    };
    outcome.set("whole directory bytes", whole as f64);
    outcome.set("disk bytes", bytes as f64);
    outcome.set("raw bytes", pool.bytes() as f64);
    outcome.set("ratio", pool.bytes() as f64 / bytes as f64);
    if let Some(record_bytes) = record_bytes {
        outcome.set("record bytes", record_bytes as f64);
    }
    std::fs::remove_dir_all(dir)?;
    Ok(outcome)
}
