//! The ratios that budgets are about: always within one round, so that what else the machine does meets both sides.

use crate::codec::Form;
use crate::plan::{DISK, FDATASYNC, READS, TENFOLD, ingest_measure, latency_measure};
use crate::results::{Results, Series, Spread};
use crate::subjects::Name;

/// A ratio by name, with what it was taken against.
pub struct Ratio {
    pub name: &'static str,
    pub spread: Option<Spread>,
    pub against: String,
}

fn tenure() -> Name {
    Name::new("tenure", Form::Usual)
}

fn kernel() -> Name {
    Name::new("kernel", Form::Usual)
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
    Ratio { name, spread, against: whom.map_or_else(|| "not measured".into(), Name::label) }
}

fn ingest(results: &Results, name: &'static str, form: Form) -> Ratio {
    let measure = ingest_measure(1_000);
    let rival = best(results, &measure, "MB/s", &[form], true);
    let spread = rival.and_then(|(_, rival)| by_rounds(results.get(&measure, &tenure())?, "MB/s", rival, "MB/s"));
    against(name, spread, rival.map(|(name, _)| name))
}

fn with_kernel(results: &Results, name: &'static str, measure: &str, figure: &str) -> Ratio {
    let pair = results.get(measure, &tenure()).zip(results.get(measure, &kernel()));
    let spread = pair.and_then(|(tenure, kernel)| by_rounds(tenure, figure, kernel, figure));
    against(name, spread, Some(&kernel()))
}

fn disk(results: &Results) -> Ratio {
    let rival = best(results, DISK, "disk bytes", &[Form::Usual], false);
    let spread =
        rival.and_then(|(_, rival)| by_rounds(results.get(DISK, &tenure())?, "disk bytes", rival, "disk bytes"));
    against("disk_vs_best_usual", spread, rival.map(|(name, _)| name))
}

/// How many times as fast as the best rival that encrypts, in the median timeline.
fn typical(results: &Results) -> Ratio {
    let figure = "timeline typical p50";
    let rival = best(results, READS, figure, &[Form::Usual, Form::Expert], false);
    let spread = rival.and_then(|(_, rival)| by_rounds(rival, figure, results.get(READS, &tenure())?, figure));
    against("timeline_typical_vs_best", spread, rival.map(|(name, _)| name))
}

/// The share of the bare work's speed, in the median timeline: all heavy customers have the same number of records.
fn heavy(results: &Results) -> Ratio {
    let figure = "timeline heavy p50";
    let pair = results.get(READS, &kernel()).zip(results.get(READS, &tenure()));
    let spread = pair.and_then(|(kernel, tenure)| by_rounds(kernel, figure, tenure, figure));
    against("timeline_heavy_vs_kernel", spread, Some(&kernel()))
}

fn append64(results: &Results) -> Ratio {
    let bare = results.get(FDATASYNC, &Name::new("file", Form::Plain));
    let tenure = results.get(&latency_measure(64), &tenure());
    let spread = tenure.zip(bare).and_then(|(tenure, bare)| by_rounds(tenure, "p99", bare, "p50"));
    Ratio { name: "append64_p99_vs_fdatasync", spread, against: "p50 of a bare fdatasync".into() }
}

fn own(results: &Results, name: &'static str, measure: &str, figure: &str, what: &str) -> Ratio {
    let spread = results.get(measure, &tenure()).and_then(|series| series.spread(figure));
    Ratio { name, spread, against: what.into() }
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
        typical(results),
        with_kernel(results, "scan_vs_kernel", READS, "scan MB/s"),
        with_kernel(results, "sparse_scan_vs_kernel", READS, "sparse scan MB/s"),
        append64(results),
        own(results, "erase_10x", TENFOLD, "erase 10x", "a tenth of the records"),
        own(results, "expire_10x", TENFOLD, "expire 10x", "a tenth of the records"),
        own(results, "open_10x", TENFOLD, "open 10x", "a tenth of the records"),
    ]
}
