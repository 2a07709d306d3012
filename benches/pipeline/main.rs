//! The append pipeline against its kernel: what compressing, deriving, encrypting and checksumming alone would take.
//!
//! `cargo bench --bench pipeline` (see `--help` behind `--`). Every figure comes from a process of its own, bound to as many
//! cores as it has threads (settling shares them), kernel and store in turns, so that what else the machine does meets
//! both; medians are printed. `TENURE_CORPUS=FILE.jsonl.zst` takes real transcripts, `TENURE_DIR` says where stores go.

#![allow(clippy::disallowed_methods)] // It measures by the clock.

mod kernel;
mod latency;
mod load;
mod process;
mod store;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// What one process measured, by name.
type Figures = BTreeMap<String, f64>;

/// What to measure, as it stands in the arguments.
#[derive(Clone)]
struct Plan {
    threads: Vec<usize>,
    customers: Vec<usize>,
    megabytes: usize,
    rounds: usize,
    latency: bool,
}

const HELP: &str = "pipeline [--threads 1,2,4] [--customers 0,100000] [--megabytes 1000] [--rounds 3] [--no-latency]
customers: 0 takes those of the corpus as they are";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("child") => child(&arguments[1..]),
        Some("--help") => println!("{HELP}"),
        _ => parent(&plan(&arguments)),
    }
}

fn plan(arguments: &[String]) -> Plan {
    let mut plan =
        Plan { threads: vec![1, 2, 4], customers: vec![0, 100_000], megabytes: 1_000, rounds: 3, latency: true };
    let mut arguments = arguments.iter();
    let list = |text: &String| text.split(',').map(|number| number.parse().unwrap()).collect();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--threads" => plan.threads = list(arguments.next().unwrap()),
            "--customers" => plan.customers = list(arguments.next().unwrap()),
            "--megabytes" => plan.megabytes = arguments.next().unwrap().parse().unwrap(),
            "--rounds" => plan.rounds = arguments.next().unwrap().parse().unwrap(),
            "--no-latency" => plan.latency = false,
            // `cargo bench` of everything, shortened for criterion: a sign of life.
            "--warm-up-time" => {
                return Plan { threads: vec![1], customers: vec![0], megabytes: 20, rounds: 1, latency: false };
            }
            other => panic!("unknown argument {other}\n{HELP}"),
        }
    }
    plan
}

/// One measurement, in this process: `kernel|store THREADS CUSTOMERS MEGABYTES`, or `latency`.
fn child(arguments: &[String]) {
    let number = |index: usize| arguments[index].parse().unwrap();
    let figures = match arguments[0].as_str() {
        "kernel" => kernel::run(number(1), number(2), number(3)),
        "store" => store::run(number(1), number(2), number(3)),
        _ => latency::run(),
    };
    for (name, value) in figures {
        println!("{name} {value}");
    }
}

fn measure(threads: usize, arguments: &[String]) -> Figures {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("taskset");
    command.arg("-c").arg(format!("0-{}", threads - 1)).arg(program).arg("child").args(arguments);
    let output = command.stderr(Stdio::inherit()).output().expect("taskset (util-linux) binds processes to cores");
    assert!(output.status.success(), "the measurement {arguments:?} failed");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

fn median(runs: &[Figures], of: impl Fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn parent(plan: &Plan) {
    for customers in &plan.customers {
        for threads in &plan.threads {
            let (mut kernels, mut stores) = (Vec::new(), Vec::new());
            for _ in 0..plan.rounds {
                for (what, runs) in [("kernel", &mut kernels), ("store", &mut stores)] {
                    let arguments =
                        [what.to_owned(), threads.to_string(), customers.to_string(), plan.megabytes.to_string()];
                    runs.push(measure(*threads, &arguments));
                }
            }
            report(*threads, &kernels, &stores);
        }
    }
    if plan.latency {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runs: Vec<Figures> = (0..plan.rounds).map(|_| measure(cores, &["latency".to_owned()])).collect();
        println!("64 threads of single durable appends (medians of {} runs)", plan.rounds);
        for name in runs[0].keys() {
            println!("  {name:34} {:10.3}", median(&runs, |run| run[name]));
        }
    }
}

fn report(threads: usize, kernels: &[Figures], stores: &[Figures]) {
    let rate = |run: &Figures| run["megabytes"] / run["seconds"];
    let cost = |run: &Figures| run["cpu_seconds"] / run["megabytes"] * 1e3;
    let ratio = |of: &dyn Fn(&Figures, &Figures) -> f64| {
        let mut values: Vec<f64> = kernels.iter().zip(stores).map(|(kernel, store)| of(kernel, store)).collect();
        values.sort_unstable_by(f64::total_cmp);
        (values[values.len() / 2], values[0], values[values.len() - 1])
    };
    let (wall, low, high) = ratio(&|kernel, store| rate(store) / rate(kernel));
    let (settled, ..) = ratio(&|kernel, store| store["megabytes"] / store["settled_seconds"] / rate(kernel));
    let (work, work_low, work_high) = ratio(&|kernel, store| cost(kernel) / cost(store));
    println!(
        "{threads} threads on {threads} cores, {:.0} customers, {:.0} cells",
        median(stores, |run| run["customers"]),
        median(stores, |run| run["cells"])
    );
    println!("  kernel {:.0} MB/s, store {:.0} MB/s of raw text", median(kernels, rate), median(stores, rate));
    println!("  store to kernel {wall:.3} ({low:.3} to {high:.3}); until all is settled {settled:.3}");
    println!(
        "  processor ms per MB: kernel {:.3}, store {:.3}, settling included: kernel to store {work:.3} ({work_low:.3} to {work_high:.3})",
        median(kernels, cost),
        median(stores, cost)
    );
    for name in [
        "longest_append_ms",
        "longest_wait_ms",
        "p99_append_ms",
        "peak_mib",
        "loaded_mib",
        "written_to_segment",
        "kept_of_raw",
    ] {
        println!("  {name:34} {:10.3}", median(stores, |run| run[name]));
    }
    for name in stores[0].keys().filter(|name| name.starts_with("phase")) {
        println!("  {name:34} {:10.3}", median(stores, |run| run[name]));
    }
}
