//! What was measured, by measurement and subject.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::subjects::Name;
use crate::work::Outcome;

/// A median and what lies around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub rounds: usize,
}

impl Spread {
    /// None where there is nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Some(Spread { median, min, max, rounds: values.len() })
    }
}

/// Every round of one subject in one measurement.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// With how many threads, where that was chosen as the best.
    pub threads: Option<usize>,
    pub rounds: Vec<Outcome>,
}

impl Series {
    /// A figure, round by round.
    pub fn values(&self, figure: &str) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(move |outcome| outcome.figures.get(figure).copied().unwrap_or(f64::NAN))
    }

    pub fn spread(&self, figure: &str) -> Option<Spread> {
        Spread::of(self.values(figure))
    }
}

/// Everything.
#[derive(Default)]
pub struct Results {
    pub head: Vec<(String, String)>,
    /// Measurements in the order in which they were made.
    pub order: Vec<String>,
    pub series: BTreeMap<String, BTreeMap<Name, Series>>,
}

impl Results {
    pub fn note(&mut self, measure: &str, name: &Name, threads: Option<usize>, outcome: Outcome) {
        if !self.order.iter().any(|known| known == measure) {
            self.order.push(measure.into());
        }
        let series = self.series.entry(measure.into()).or_default().entry(name.clone()).or_default();
        series.threads = threads;
        series.rounds.push(outcome);
    }

    pub fn get(&self, measure: &str, name: &Name) -> Option<&Series> {
        self.series.get(measure)?.get(name)
    }

    /// Every subject of one measurement.
    pub fn all(&self, measure: &str) -> impl Iterator<Item = (&Name, &Series)> {
        self.series.get(measure).into_iter().flatten()
    }
}
