//! What the system knows of this process and of directories.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Result;

fn field(file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("no {name} in {file}"))?;
    Ok(line.split_whitespace().next().unwrap_or("0").parse()?)
}

/// Bytes that this process has caused to be written to the disk so far.
pub fn bytes_written() -> Result<u64> {
    let cancelled = field("/proc/self/io", "cancelled_write_bytes:")?;
    Ok(field("/proc/self/io", "write_bytes:")?.saturating_sub(cancelled))
}

/// Seconds that processors have worked for this process so far, in its own code and in the system's. On a machine that
/// does something else as well, they tell more than the clock.
pub fn processor_seconds() -> Result<(f64, f64)> {
    /// The kernel tells them in hundredths of a second, whatever its clock is.
    const TICKS: f64 = 100.0;
    let text = fs::read_to_string("/proc/self/stat")?;
    let after_name = text.rsplit_once(')').ok_or("no name in /proc/self/stat")?.1;
    let mut times = after_name.split_whitespace().skip(11).map(str::parse::<f64>);
    match (times.next(), times.next()) {
        (Some(own), Some(system)) => Ok((own? / TICKS, system? / TICKS)),
        _ => Err("no times in /proc/self/stat".into()),
    }
}

/// Memory by which this process has grown at most since it began to be watched.
pub struct Memory {
    before: u64,
}

impl Memory {
    /// Forgets the peak so far: the records themselves are in memory by now.
    pub fn watch() -> Result<Self> {
        // Where the kernel does not let us, the peak is from the start of the process, which says more than there is.
        let _ = fs::write("/proc/self/clear_refs", "5");
        Ok(Memory { before: field("/proc/self/status", "VmRSS:")? * 1024 })
    }

    pub fn peak(&self) -> Result<u64> {
        Ok((field("/proc/self/status", "VmHWM:")? * 1024).saturating_sub(self.before))
    }
}

/// What Tenure reserves for the day the disk is full: 4 MB in a store of any size, which is no part of any ratio.
const BALLAST: &str = "ballast";

/// Bytes that a directory and all in it take up on the disk, without the ballast.
pub fn disk_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() == BALLAST {
            continue;
        }
        let metadata = entry.metadata()?;
        bytes += match metadata.is_dir() {
            true => disk_bytes(&entry.path())?,
            false => metadata.blocks() * 512,
        };
    }
    Ok(bytes)
}

/// Reads every file of a directory once, so that all of them are in the page cache, whoever wrote them however.
pub fn warm(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.metadata()?.is_dir() {
            true => warm(&entry.path())?,
            false => drop(std::io::copy(&mut fs::File::open(entry.path())?, &mut std::io::sink())?),
        }
    }
    Ok(())
}

/// The day, in UTC.
pub fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut today = tenure::Timestamp::from_micros(since.as_micros() as i64).to_string();
    today.truncate("2025-01-01".len());
    today
}

/// Machine and toolchain, for the head of every report.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?").to_string();
    format!(
        "{} cores of {}, Linux {}, load {load} before",
        crate::cores(),
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim()
    )
}
