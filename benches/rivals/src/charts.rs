//! Bars with their spread, one picture for each figure that is worth one, and the curves of what grows.

use std::path::Path;

use plotters::prelude::*;

use crate::Result;
use crate::plan::{DISK, READS, SCALE, TENFOLD};
use crate::results::{Results, Spread};
use crate::work::Outcome;

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Measurement, figure, title, and whether more is better.
fn pictures(results: &Results) -> Vec<(String, &'static str, String, bool)> {
    let mut pictures = Vec::new();
    for measure in &results.order {
        if measure.starts_with("ingest") {
            pictures.push((measure.clone(), "MB/s", format!("{measure}: MB/s of raw text until settled"), true));
            pictures.push((measure.clone(), "peak memory", format!("{measure}: peak memory in bytes"), false));
        }
        if measure.starts_with("append") {
            pictures.push((measure.clone(), "p99", format!("{measure}: 99th percentile in us"), false));
        }
    }
    for (figure, title, more) in [
        ("timeline typical us", "timeline of a typical customer in us", false),
        ("timeline heavy MB/s", "timelines of heavy customers in MB/s", true),
        ("get us", "one record in us", false),
        ("open ms", "opening in ms", false),
        ("scan MB/s", "scan on all cores in MB/s", true),
    ] {
        pictures.push((READS.into(), figure, title.into(), more));
    }
    pictures.push((DISK.into(), "ratio", "raw bytes per byte on the disk, customers held out".into(), true));
    for figure in ["erase 10x", "expire 10x", "open 10x"] {
        pictures.push((TENFOLD.into(), figure, format!("{figure}: time against a tenth of the records"), false));
    }
    pictures
}

/// Draws all pictures for which there is something.
pub fn draw(results: &Results, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    for (measure, figure, title, more) in pictures(results) {
        let bars = results.all(&measure).filter_map(|(name, series)| Some((name.label(), series.spread(figure)?)));
        let mut bars: Vec<(String, Spread)> = bars.collect();
        bars.sort_by(|a, b| if more { a.1.median.total_cmp(&b.1.median) } else { b.1.median.total_cmp(&a.1.median) });
        if bars.is_empty() {
            continue;
        }
        let name: String =
            format!("{measure} {figure}").chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        chart(&dir.join(format!("{name}.svg")), &title, &bars)?;
    }
    curves(results, dir)
}

/// The sizes that were measured, by one figure.
fn sizes(results: &Results) -> Vec<&Outcome> {
    let measures = results.order.iter().filter(|measure| measure.starts_with(SCALE));
    measures.filter_map(|measure| results.all(measure).next()?.1.rounds.last()).collect()
}

/// Two pictures: against records, with a tenth as many customers; and against customers, with the most records.
fn curves(results: &Results, dir: &Path) -> Result<()> {
    let sizes = sizes(results);
    let size = |one: &Outcome| (one.figures["records"], one.figures["customers"]);
    let most = sizes.iter().map(|one| size(one).0).fold(0.0, f64::max);
    for (file, axis, among) in [
        ("scale-records", "records", sizes.iter().filter(|one| size(one).0 == size(one).1 * 10.0).collect::<Vec<_>>()),
        ("scale-customers", "customers", sizes.iter().filter(|one| size(one).0 == most).collect()),
    ] {
        if among.len() < 2 {
            continue;
        }
        let path = dir.join(format!("{file}.svg"));
        let area = SVGBackend::new(&path, (900, 520)).into_drawing_area();
        area.fill(&WHITE)?;
        for (panel, figure) in area.split_evenly((2, 3)).iter().zip(CURVES) {
            let points = among.iter().map(|one| (one.figures[axis], one.figures[figure]));
            let mut points: Vec<(f64, f64)> = points.collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let unit = if figure == "peak memory" { ", bytes" } else { "" };
            curve(panel, &format!("{figure}{unit} by {axis}"), &points)?;
        }
        area.present()?;
    }
    Ok(())
}

const CURVES: [&str; 6] = ["records/s", "timeline us", "peak memory", "open ms", "erase ms", "expire ms"];

/// Whole powers of ten around the values, so that what is flat looks flat.
fn decades(values: impl Iterator<Item = f64> + Clone) -> std::ops::Range<f64> {
    let least = values.clone().fold(f64::MAX, f64::min).log10().floor();
    let most = values.fold(f64::MIN_POSITIVE, f64::max).log10().ceil();
    10_f64.powf(least)..10_f64.powf(most.max(least + 1.0))
}

fn curve(panel: &Panel<'_>, title: &str, points: &[(f64, f64)]) -> Result<()> {
    let (across, up) = (decades(points.iter().map(|point| point.0)), decades(points.iter().map(|point| point.1)));
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(52)
        .build_cartesian_2d(across.log_scale(), up.log_scale())?;
    let power = |value: &f64| format!("1e{:.0}", value.log10());
    chart
        .configure_mesh()
        .x_labels(4)
        .y_labels(4)
        .max_light_lines(0)
        .x_label_formatter(&power)
        .y_label_formatter(&power)
        .draw()?;
    let color = RGBColor(0x1b, 0x6e, 0x53);
    chart.draw_series(LineSeries::new(points.iter().copied(), &color))?;
    chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
    Ok(())
}

/// One picture: the best at the top.
fn chart(file: &Path, title: &str, bars: &[(String, Spread)]) -> Result<()> {
    const LABELS: i32 = 150;
    const ROW: i32 = 30;
    const WIDTH: i32 = 760;
    let height = 50 + ROW * bars.len() as i32;
    let largest = bars.iter().map(|(_, spread)| spread.max).fold(f64::MIN_POSITIVE, f64::max);
    let at = |value: f64| LABELS + (value / largest * f64::from(WIDTH - LABELS - 110)) as i32;
    let area = SVGBackend::new(file, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let text = ("sans-serif", 14).into_font();
    area.draw(&Text::new(title.to_string(), (10, 12), ("sans-serif", 17).into_font()))?;
    for (row, (label, spread)) in bars.iter().rev().enumerate() {
        let top = 42 + ROW * row as i32;
        let color = match label.as_str() {
            "tenure" => RGBColor(0x1b, 0x6e, 0x53),
            "kernel" => RGBColor(0x88, 0x88, 0x88),
            _ => RGBColor(0x8f, 0xb3, 0xd9),
        };
        area.draw(&Text::new(label.clone(), (10, top + 3), text.clone()))?;
        area.draw(&Rectangle::new([(LABELS, top), (at(spread.median), top + 20)], color.filled()))?;
        let middle = top + 10;
        area.draw(&PathElement::new(vec![(at(spread.min), middle), (at(spread.max), middle)], BLACK))?;
        let value = match spread.median {
            large if large >= 1e6 => format!("{:.1} M", large / 1e6),
            large if large >= 100.0 => format!("{large:.0}"),
            small => format!("{small:.2}"),
        };
        area.draw(&Text::new(value, (at(spread.max) + 8, top + 3), text.clone()))?;
    }
    area.present()?;
    Ok(())
}
