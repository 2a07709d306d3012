//! Tables for people, JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Result;
use crate::ratios::Ratio;
use crate::results::{Results, Series, Spread};

/// Figures whose size tells more in megabytes.
fn in_megabytes(figure: &str) -> bool {
    figure.contains("bytes") || figure == "peak memory"
}

pub fn shown(figure: &str, value: f64) -> String {
    match value.abs() {
        _ if in_megabytes(figure) => format!("{:.1}", value / 1e6),
        1_000.0.. => grouped(value),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// `12,345,678`.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn unit(figure: &str) -> String {
    if in_megabytes(figure) { format!("{figure} (MB)") } else { figure.to_string() }
}

fn cell(figure: &str, spread: Spread) -> String {
    match spread.rounds {
        1 => shown(figure, spread.median),
        _ => {
            format!("{} [{} - {}]", shown(figure, spread.median), shown(figure, spread.min), shown(figure, spread.max))
        }
    }
}

/// The figures of a measurement, in the order in which they are printed.
fn figures(results: &Results, measure: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, series) in results.all(measure) {
        for name in series.rounds.iter().flat_map(|outcome| outcome.figures.keys()) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    // What the measurement is about comes first.
    names.sort_by_key(|name| (!matches!(name.as_str(), "MB/s" | "p50" | "p99" | "ratio"), name.clone()));
    names
}

fn table(results: &Results, measure: &str, out: &mut String) {
    let figures = figures(results, measure);
    let mut rows = vec![vec!["subject".to_string(), "threads".to_string()]];
    rows[0].extend(figures.iter().map(|figure| unit(figure)));
    for (name, series) in results.all(measure) {
        let threads = series.threads.map_or_else(String::new, |threads| threads.to_string());
        let mut row = vec![name.label(), threads];
        row.extend(
            figures.iter().map(|figure| series.spread(figure).map_or_else(String::new, |one| cell(figure, one))),
        );
        rows.push(row);
    }
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let _ = writeln!(out, "\n{measure}");
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(out, "  {}", cells.join("  ").trim_end());
    }
    for (name, series) in results.all(measure) {
        if let Some(state) = series.rounds.last().map(|outcome| &outcome.state).filter(|state| !state.is_empty()) {
            let _ = writeln!(out, "    {} was left: {state}", name.label());
        }
    }
}

pub fn settings(results: &Results) -> BTreeMap<String, String> {
    let all = results.series.values().flatten();
    let all = all.filter_map(|(name, series)| Some((name.label(), series.rounds.first()?.settings.clone())));
    all.filter(|(_, settings)| !settings.is_empty()).collect()
}

/// Everything, for a terminal.
pub fn text(results: &Results, ratios: &[Ratio]) -> String {
    let mut out = String::new();
    for (name, value) in &results.head {
        let _ = writeln!(out, "{name}: {value}");
    }
    results.order.iter().for_each(|measure| table(results, measure, &mut out));
    let _ = writeln!(out, "\nsettings");
    for (name, settings) in settings(results) {
        let _ = writeln!(out, "  {name:<15} {settings}");
    }
    let _ = writeln!(out, "\nratios (median [min - max], round by round)");
    for ratio in ratios {
        let value = ratio.spread.map_or_else(|| "-".to_string(), |spread| cell("", spread));
        let _ = writeln!(out, "  {:<27} {value:<22} against {}", ratio.name, ratio.against);
    }
    out
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    head: BTreeMap<&'a str, &'a str>,
    settings: BTreeMap<String, String>,
    measures: Vec<Value>,
    ratios: Map<String, Value>,
}

fn measured(measure: &str, label: String, series: &Series) -> Value {
    let mut figures = Map::new();
    for figure in series.rounds.iter().flat_map(|outcome| outcome.figures.keys()) {
        if let Some(spread) = series.spread(figure) {
            figures.insert(
                figure.clone(),
                json!({
                    "median": spread.median, "min": spread.min, "max": spread.max,
                    "rounds": series.values(figure).collect::<Vec<f64>>(),
                }),
            );
        }
    }
    let state = series.rounds.last().map(|outcome| outcome.state.as_str());
    json!({"measure": measure, "subject": label, "threads": series.threads, "state": state, "figures": figures})
}

/// Everything, for programs; the ratios last.
pub fn json(results: &Results, ratios: &[Ratio]) -> Result<String> {
    let measures = results
        .order
        .iter()
        .flat_map(|measure| results.all(measure).map(move |(name, series)| measured(measure, name.label(), series)));
    let mut all = Map::new();
    for ratio in ratios {
        let spread = ratio.spread.map(|spread| [spread.min, spread.max]);
        all.insert(ratio.name.into(), json!(ratio.spread.map(|spread| spread.median)));
        all.insert(format!("{}_spread", ratio.name), json!(spread));
        all.insert(format!("{}_against", ratio.name), json!(ratio.against));
    }
    let document = Document {
        schema_version: 1,
        head: results.head.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        settings: settings(results),
        measures: measures.collect(),
        ratios: all,
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}
