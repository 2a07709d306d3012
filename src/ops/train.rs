//! Train: dictionaries from records that are about to be appended.

use crate::engine::{Engine, train as training};
use crate::error::Result;
use crate::record::Record;
use crate::report::Training;
use crate::sync::atomic::Ordering;

/// Trains every stream of `records` that has no dictionary.
///
/// # Errors
/// What publishing a dictionary answers; those before it stand.
pub fn train(engine: &Engine, records: &[Record]) -> Result<Vec<Training>> {
    let writer = engine.writer()?;
    writer.committer.check()?;
    training::train_from(engine, records, &|| writer.closing.load(Ordering::Relaxed))
}

/// The words of every dictionary of a living partition.
///
/// # Errors
/// Damage in one of them.
#[cfg(feature = "simulation")]
pub fn words(engine: &Engine) -> Result<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    for partition in engine.partitions.all() {
        for fact in engine.catalog.dictionaries.of(partition.number) {
            let dictionary = engine.catalog.dictionary(&partition, fact.dictionary)?;
            words.push(dictionary.bytes().to_vec());
        }
    }
    Ok(words)
}
