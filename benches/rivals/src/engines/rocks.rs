//! RocksDB with blob files.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, CompactOptions, DB, DBCompressionType, FlushOptions, Options, ReadOptions,
    WaitForCompactOptions, WriteBatch, WriteOptions,
};

use super::{Engine, Visit};
use crate::Result;
use crate::codec::{Form, Pair};

const SETTINGS: &str = "RocksDB 11.8 BlobDB: blobs from 256 B in files of 256 MB, write buffers 4 x 64 MB, 4 background jobs, \
     WAL recycled, synced WriteBatch (RocksDB joins writers), cache 512 MB, bloom 10 bits";

pub struct Rocks(DB);

impl Rocks {
    pub fn open(dir: &Path, form: Form) -> Result<Self> {
        let compression = match form {
            Form::Plain => DBCompressionType::Zstd,
            // What the application has encrypted does not compress any more.
            Form::Usual | Form::Expert => DBCompressionType::None,
        };
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(512 << 20));
        table.set_bloom_filter(10.0, false);
        table.set_format_version(6);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.increase_parallelism(4);
        options.set_max_subcompactions(2);
        options.set_write_buffer_size(64 << 20);
        options.set_max_write_buffer_number(4);
        options.set_recycle_log_file_num(4);
        options.set_bytes_per_sync(1 << 20);
        options.set_enable_blob_files(true);
        options.set_min_blob_size(256);
        options.set_blob_file_size(256 << 20);
        options.set_blob_compression_type(compression);
        options.set_enable_blob_gc(true);
        options.set_compression_type(compression);
        Ok(Rocks(DB::open(&options, dir)?))
    }

    fn number(&self, property: &str) -> u64 {
        self.0.property_int_value(property).ok().flatten().unwrap_or(0)
    }

    fn synced() -> WriteOptions {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        options
    }
}

impl Engine for Rocks {
    fn commit(&self, pairs: Vec<Pair>) -> Result<()> {
        let mut batch = WriteBatch::default();
        pairs.iter().for_each(|(key, value)| batch.put(key, value));
        Ok(self.0.write_opt(batch, &Self::synced())?)
    }

    fn get(&self, key: &[u8], visit: Visit<'_>) -> Result<()> {
        match self.0.get_pinned(key)? {
            Some(value) => visit(key, &value),
            None => Ok(()),
        }
    }

    fn range(&self, from: &[u8], until: &[u8], visit: Visit<'_>) -> Result<()> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(until);
        let mut entries = self.0.raw_iterator_opt(options);
        entries.seek(from);
        while let Some((key, value)) = entries.item() {
            visit(key, value)?;
            entries.next();
        }
        Ok(entries.status()?)
    }

    fn remove(&self, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let mut batch = WriteBatch::default();
        ranges.iter().for_each(|(from, until)| batch.delete_range(from, until));
        Ok(self.0.write_opt(batch, &Self::synced())?)
    }

    fn flush(&self) -> Result<()> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        Ok(self.0.flush_opt(&options)?)
    }

    fn compact(&self) -> Result<()> {
        self.flush()?;
        self.0.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &CompactOptions::default());
        Ok(self.0.wait_for_compact(&WaitForCompactOptions::default())?)
    }

    fn record_bytes(&self) -> Option<u64> {
        Some(self.number("rocksdb.live-sst-files-size") + self.number("rocksdb.live-blob-file-size"))
    }

    fn settings(&self) -> &'static str {
        SETTINGS
    }

    fn state(&self) -> String {
        let pending = self.number("rocksdb.estimate-pending-compaction-bytes") >> 20;
        let running = self.number("rocksdb.num-running-compactions");
        format!("memtables flushed; {pending} MB of compaction pending, {running} running")
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.0.cancel_all_background_work(true);
        Ok(())
    }
}
