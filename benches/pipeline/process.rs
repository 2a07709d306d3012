//! What this process has used so far, as the kernel of the system counts it.

use std::fs::read_to_string;

/// Processor time in seconds, of all threads, in user and system mode.
pub fn cpu_seconds() -> f64 {
    let stat = read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks = |field: usize| fields[field].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

fn field(file: &str, name: &str) -> f64 {
    let text = read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The most memory it ever had resident, in MiB.
pub fn peak_mib() -> f64 {
    field("/proc/self/status", "VmHWM:") / 1024.0
}

/// What it has resident now, in MiB.
pub fn resident_mib() -> f64 {
    field("/proc/self/status", "VmRSS:") / 1024.0
}

/// Bytes it handed to the system to write: not those that the file system adds, nor preallocated ones.
pub fn written_bytes() -> f64 {
    field("/proc/self/io", "wchar:")
}
