//! The ratios that budgets are about: always within one round, so that what else the machine does meets both sides.

use crate::codec::Form;
use crate::plan::{DISK, FDATASYNC, READS, TENFOLD, ingest_measure, latency_measure};
use crate::results::{Results, Series, Spread};
use crate::subjects::Name;

/// What a ratio should be.
#[derive(Clone, Copy)]
pub enum Budget {
    AtLeast(f64),
    AtMost(f64),
}

impl Budget {
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Budget::AtLeast(least) => value >= least,
            Budget::AtMost(most) => value <= most,
        }
    }

    pub fn figure(self) -> f64 {
        let (Budget::AtLeast(figure) | Budget::AtMost(figure)) = self;
        figure
    }
}

/// A ratio by name, with what it was taken against.
pub struct Ratio {
    pub name: &'static str,
    /// What it says, in words.
    pub says: &'static str,
    pub budget: Option<Budget>,
    pub spread: Option<Spread>,
    pub against: String,
}

fn by_rounds(above: &Series, above_figure: &str, below: &Series, below_figure: &str) -> Option<Spread> {
    Spread::of(above.values(above_figure).zip(below.values(below_figure)).map(|(above, below)| above / below))
}

/// The rival with the best median of a figure among those in one of these forms.
fn best<'a>(
    results: &'a Results,
    measure: &str,
    figure: &str,
    forms: &[Form],
    largest: bool,
) -> Option<(&'a Name, &'a Series)> {
    let rivals = results.all(measure).filter(|(name, _)| name.is_rival() && forms.contains(&name.form));
    let rated = rivals.filter_map(|(name, series)| Some((series.spread(figure)?.median, name, series)));
    let chosen = rated.max_by(|a, b| if largest { a.0.total_cmp(&b.0) } else { b.0.total_cmp(&a.0) });
    chosen.map(|(_, name, series)| (name, series))
}

fn against(name: &'static str, spread: Option<Spread>, whom: Option<&Name>) -> Ratio {
    named(name, spread, whom.map_or_else(|| "not measured".into(), Name::label))
}

fn named(name: &'static str, spread: Option<Spread>, against: String) -> Ratio {
    let (_, says, budget) = WORDS.iter().find(|(known, ..)| *known == name).expect("every ratio has its words");
    Ratio { name, says, budget: *budget, spread, against }
}

/// What the ratios say and what they should be, as the design has it.
const WORDS: [(&str, &str, Option<Budget>); 17] = {
    use Budget::{AtLeast, AtMost};
    [
        ("ingest_vs_best_usual", "ingest, sync per 1,000, against the best usual form", Some(AtLeast(1.8))),
        ("ingest_vs_best_expert", "against the best with an application-trained dictionary", Some(AtLeast(1.2))),
        ("ingest_vs_best_plain", "against the best without encryption", Some(AtLeast(1.6))),
        ("ingest_vs_kernel", "ingest against the bare kernel", Some(AtLeast(0.85))),
        (
            "disk_vs_best_usual",
            "bytes on disk against the best usual form; whole directory, keys included",
            Some(AtMost(0.66)),
        ),
        (
            "disk_vs_kernel",
            "bytes on disk against the kernel's (body, nonce, tag); whole directory",
            Some(AtMost(1.12)),
        ),
        ("write_amplification", "bytes written per byte of segment", Some(AtMost(2.2))),
        (
            "timeline_heavy_vs_kernel",
            "timeline, heavy customers, against decrypting and decompressing",
            Some(AtLeast(0.8)),
        ),
        ("timeline_typical_vs_best", "timeline, typical customers, against the best rival", Some(AtLeast(1.2))),
        ("timeline_typical_first_vs_best", "the same, of customers asked for the first time", None),
        ("scan_vs_kernel", "scan, all cores, one stream in one yearly window, against the kernel", Some(AtLeast(0.9))),
        ("sparse_scan_vs_kernel", "the same over monthly windows, a third of the cells there", None),
        (
            "append64_p99_vs_fdatasync",
            "64 threads of single appends, p99 against p50 of one fdatasync",
            Some(AtMost(3.0)),
        ),
        ("append64_new_p99_vs_fdatasync", "the same, every append of a new customer", Some(AtMost(4.0))),
        ("erase_10x", "erase one customer at 10x the records", Some(AtMost(1.2))),
        ("expire_10x", "expire one partition at 10x", Some(AtMost(1.2))),
        ("open_10x", "open after a clean close at 10x", Some(AtMost(1.2))),
    ]
};

fn ingest(results: &Results, name: &'static str, form: Form) -> Ratio {
    let measure = ingest_measure(1_000);
    let rival = best(results, &measure, "MB/s", &[form], true);
    let spread = rival.and_then(|(_, rival)| by_rounds(results.get(&measure, &Name::tenure())?, "MB/s", rival, "MB/s"));
    against(name, spread, rival.map(|(name, _)| name))
}

fn with_kernel(results: &Results, name: &'static str, measure: &str, figure: &str) -> Ratio {
    let pair = results.get(measure, &Name::tenure()).zip(results.get(measure, &Name::kernel()));
    let spread = pair.and_then(|(tenure, kernel)| by_rounds(tenure, figure, kernel, figure));
    against(name, spread, Some(&Name::kernel()))
}

fn disk(results: &Results) -> Ratio {
    let rival = best(results, DISK, "disk bytes", &[Form::Usual], false);
    let spread =
        rival.and_then(|(_, rival)| by_rounds(results.get(DISK, &Name::tenure())?, "disk bytes", rival, "disk bytes"));
    against("disk_vs_best_usual", spread, rival.map(|(name, _)| name))
}

/// How many times as fast as the best rival that encrypts, in the median timeline.
fn typical(results: &Results, name: &'static str, figure: &str) -> Ratio {
    let rival = best(results, READS, figure, &[Form::Usual, Form::Expert], false);
    let spread = rival.and_then(|(_, rival)| by_rounds(rival, figure, results.get(READS, &Name::tenure())?, figure));
    against(name, spread, rival.map(|(name, _)| name))
}

/// The share of the bare work's speed, in the median timeline: all heavy customers have the same number of records.
fn heavy(results: &Results) -> Ratio {
    let figure = "timeline heavy p50";
    let pair = results.get(READS, &Name::kernel()).zip(results.get(READS, &Name::tenure()));
    let spread = pair.and_then(|(kernel, tenure)| by_rounds(kernel, figure, tenure, figure));
    against("timeline_heavy_vs_kernel", spread, Some(&Name::kernel()))
}

fn append64(results: &Results, name: &'static str, figure: &str) -> Ratio {
    let bare = results.get(FDATASYNC, &Name::new("file", Form::Plain));
    let tenure = results.get(&latency_measure(64), &Name::tenure());
    let spread = tenure.zip(bare).and_then(|(tenure, bare)| by_rounds(tenure, figure, bare, "p50"));
    named(name, spread, "p50 of a bare fdatasync".into())
}

fn own(results: &Results, name: &'static str, measure: &str, figure: &str, what: &str) -> Ratio {
    let spread = results.get(measure, &Name::tenure()).and_then(|series| series.spread(figure));
    named(name, spread, what.into())
}

/// All of them, in the order of the budgets.
pub fn ratios(results: &Results) -> Vec<Ratio> {
    let thousand = ingest_measure(1_000);
    vec![
        ingest(results, "ingest_vs_best_usual", Form::Usual),
        ingest(results, "ingest_vs_best_expert", Form::Expert),
        ingest(results, "ingest_vs_best_plain", Form::Plain),
        with_kernel(results, "ingest_vs_kernel", &thousand, "MB/s"),
        disk(results),
        with_kernel(results, "disk_vs_kernel", DISK, "disk bytes"),
        own(results, "write_amplification", &thousand, "write amplification", "bytes of segments"),
        heavy(results),
        typical(results, "timeline_typical_vs_best", "timeline typical p50"),
        typical(results, "timeline_typical_first_vs_best", "timeline typical first p50"),
        with_kernel(results, "scan_vs_kernel", READS, "scan MB/s"),
        with_kernel(results, "sparse_scan_vs_kernel", READS, "sparse scan MB/s"),
        append64(results, "append64_p99_vs_fdatasync", "p99"),
        append64(results, "append64_new_p99_vs_fdatasync", "new p99"),
        own(results, "erase_10x", TENFOLD, "erase 10x", "a tenth of the records"),
        own(results, "expire_10x", TENFOLD, "expire 10x", "a tenth of the records"),
        own(results, "open_10x", TENFOLD, "open 10x", "a tenth of the records"),
    ]
}
