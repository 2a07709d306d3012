//! The tables of a page of documentation, written anew between their marks; whoever reads it finds the words around them.

use crate::Result;
use crate::plan::{DISK, FDATASYNC, READS, SCALE, TENFOLD, ingest_measure, latency_measure};
use crate::ratios::{Budget, Ratio};
use crate::report::shown;
use crate::results::{Results, Spread};
use crate::subjects::Name;

/// A figure of a measurement, and what stands above it.
struct Column {
    measure: String,
    figure: &'static str,
    heading: String,
}

fn column(measure: impl Into<String>, figure: &'static str, heading: impl Into<String>) -> Column {
    Column { measure: measure.into(), figure, heading: heading.into() }
}

/// Median, and least and most where they differ.
fn cell(figure: &str, spread: Spread) -> String {
    let [median, min, max] = [spread.median, spread.min, spread.max].map(|value| shown(figure, value));
    if min == max { median } else { format!("{median} ({min}-{max})") }
}

fn lines(rows: &[Vec<String>]) -> String {
    let mut rows = rows.iter().map(|row| format!("| {} |", row.join(" | ")));
    let head = rows.next().unwrap_or_default();
    let rule = "|---".repeat(head.matches(" | ").count() + 1) + "|";
    [head, rule].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

/// A row for every subject: Tenure, the others, and last what is no store.
fn table(results: &Results, columns: &[Column]) -> Option<String> {
    let mut subjects: Vec<&Name> = Vec::new();
    for (name, _) in columns.iter().flat_map(|column| results.all(&column.measure)) {
        if !subjects.contains(&name) {
            subjects.push(name);
        }
    }
    subjects.sort_by_key(|name| (name.engine != "tenure", !name.is_rival(), *name));
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(columns.iter().map(|column| column.heading.clone()));
    for name in subjects {
        let mut row = vec![name.label()];
        row.extend(columns.iter().map(|column| {
            let series = results.get(&column.measure, name);
            let found = series.and_then(|series| Some((series.spread(column.figure)?, series.threads)));
            match found {
                Some((spread, Some(threads))) if column.figure == "MB/s" => {
                    let plural = if threads == 1 { "" } else { "s" };
                    format!("{}, {threads} thread{plural}", cell(column.figure, spread))
                }
                Some((spread, _)) => cell(column.figure, spread),
                None => String::new(),
            }
        }));
        rows.push(row);
    }
    (rows.len() > 1).then(|| lines(&rows))
}

fn ingest(results: &Results) -> Option<String> {
    let mut columns: Vec<Column> = [1, 100, 1_000, 10_000]
        .iter()
        .filter(|batch| results.all(&ingest_measure(**batch)).next().is_some())
        .map(|batch| column(ingest_measure(*batch), "MB/s", format!("MB/s, sync per {batch}")))
        .collect();
    columns.push(column(ingest_measure(1_000), "peak memory", "peak memory, MB"));
    columns.push(column(ingest_measure(1_000), "bytes written", "written, MB"));
    columns.push(column(ingest_measure(1_000), "raw bytes", "of text, MB"));
    columns.push(column(DISK, "ratio", "bytes of text in one on disk"));
    table(results, &columns)
}

fn latency(results: &Results) -> Option<String> {
    let mut columns = vec![column(FDATASYNC, "p50", "one fdatasync, p50")];
    for threads in [1, 8, 64] {
        let measure = latency_measure(threads);
        for (figure, whose) in [("p50", "p50"), ("p99", "p99"), ("new p50", "new, p50"), ("new p99", "new, p99")] {
            if results.all(&measure).next().is_some() {
                columns.push(column(&*measure, figure, format!("by {threads}, {whose}")));
            }
        }
    }
    table(results, &columns)
}

fn reads(results: &Results) -> Option<String> {
    table(
        results,
        &[
            column(READS, "timeline typical p50", "timeline, typical, us"),
            column(READS, "timeline typical first p50", "asked for the first time, us"),
            column(READS, "timeline heavy p50", "timeline, heavy, us"),
            column(READS, "get us", "get, us"),
            column(READS, "scan MB/s", "scan, MB/s"),
            column(READS, "open ms", "open, ms"),
        ],
    )
}

fn letting_go(results: &Results) -> Option<String> {
    let columns = ["open", "erase", "expire"].into_iter().zip([
        ["open ms", "open ms at 10x"],
        ["erase ms", "erase ms at 10x"],
        ["expire ms", "expire ms at 10x"],
    ]);
    let columns = columns.flat_map(|(what, [once, tenfold])| {
        [column(TENFOLD, once, format!("{what}, ms")), column(TENFOLD, tenfold, "at 10x")]
    });
    table(results, &columns.collect::<Vec<_>>())
}

fn scale(results: &Results) -> Option<String> {
    const FIGURES: [(&str, &str); 12] = [
        ("records", "records"),
        ("customers", "customers"),
        ("records/s", "records/s"),
        ("longest append ms", "longest append, ms"),
        ("longest until durable ms", "longest until durable, ms"),
        ("peak memory", "peak memory, MB"),
        ("journal bytes", "journal, MB"),
        ("open ms", "open + close, ms"),
        ("timeline us", "timeline, us"),
        ("erase ms", "erase, ms"),
        ("expire ms", "expire, ms"),
        ("keyring bytes", "keyring, MB"),
    ];
    let mut rows = vec![FIGURES.map(|(_, heading)| heading.to_string()).to_vec()];
    for measure in results.order.iter().filter(|measure| measure.starts_with(SCALE)) {
        let series = results.get(measure, &Name::tenure())?;
        let cells = FIGURES.map(|(figure, _)| series.spread(figure).map_or_else(String::new, |one| cell(figure, one)));
        rows.push(cells.to_vec());
    }
    (rows.len() > 1).then(|| lines(&rows))
}

fn ratios(results: &Results, ratios: &[Ratio]) -> Option<String> {
    let memory = results.get(&ingest_measure(1_000), &Name::tenure())?.spread("peak memory")?;
    let mut rows = vec![["ratio", "Tenure", "budget", ""].map(String::from).to_vec()];
    let mut row = |says: String, cell: String, median: f64, budget: Option<Budget>| {
        let verdict = budget.map_or("", |budget| if budget.is_met(median) { "met" } else { "missed" });
        rows.push(vec![says, cell, budget.map_or("-".into(), |one| one.figure().to_string()), verdict.into()]);
    };
    for ratio in ratios {
        let Some(spread) = ratio.spread else { continue };
        let whom = if ratio.says.contains("the best") { format!(" ({})", ratio.against) } else { String::new() };
        row(format!("{}{whom}", ratio.says), cell("", spread), spread.median, ratio.budget);
    }
    let most = Budget::AtMost(256.0);
    row("peak memory at full ingest, MB".into(), cell("peak memory", memory), memory.median / 1e6, Some(most));
    Some(lines(&rows))
}

/// The settings of everybody who is in the tables.
fn settings(results: &Results) -> Option<String> {
    let settings = crate::report::settings(results);
    let lines: Vec<String> = settings.iter().map(|(name, settings)| format!("- **{name}**: {settings}")).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Where the figures above a mark come from.
fn run(results: &Results) -> String {
    let lines = results.head.iter().map(|(name, value)| format!("{name:<8} {value}"));
    format!("```text\n{}\n```", lines.collect::<Vec<_>>().join("\n"))
}

/// The page with every table for which there are figures. The others stay, and what stands between the marks says of which
/// run it is.
pub fn written_anew(page: &str, results: &Results, all: &[Ratio]) -> Result<String> {
    let scale = scale(results);
    let mut parts = vec![("scale-run", scale.as_ref().map(|_| run(results))), ("scale", scale)];
    let compared = ratios(results, all);
    parts.push(("run", compared.as_ref().map(|_| run(results))));
    parts.push(("ratios", compared));
    parts.extend([
        ("ingest", ingest(results)),
        ("latency", latency(results)),
        ("reads", reads(results)),
        ("letting-go", letting_go(results)),
        ("settings", settings(results)),
    ]);
    let mut page = page.to_string();
    for (name, text) in parts {
        let Some(text) = text else { continue };
        let [open, close] = [format!("<!-- {name} -->\n"), format!("<!-- /{name} -->")];
        let start = page.find(&open).ok_or_else(|| format!("the page has no mark {open}"))? + open.len();
        let length = page[start..].find(&close).ok_or_else(|| format!("the page has no mark {close}"))?;
        page.replace_range(start..start + length, &format!("{text}\n"));
    }
    Ok(page)
}
