//! Aggregate: sums over all readable records, about groups of customers who are enough.
//!
//! It goes over everything, whatever is asked: the groups are the same for every question, so that answers to different
//! questions tell no more together than each by itself.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::ops::ControlFlow;

use crate::crowd::{self, Customers, Part};
use crate::engine::Engine;
use crate::engine::read::Hit;
use crate::engine::visible::Range;
use crate::error::Result;
use crate::ident::{PartitionNumber, Stream, SubjectNumber};
use crate::ops::scan::hits_parallel;
use crate::report::{Aggregate, AggregateRow, Facet, Tally};
use crate::sync::Mutex;
use crate::window::{Day, WindowLength};

/// What is counted of the records of one stream in one month.
#[derive(Default)]
struct Cell {
    customers: Customers,
    tally: Tally,
}

/// The cells of the partitions, by month.
#[derive(Default)]
struct Counts(HashMap<PartitionNumber, (Option<Stream>, BTreeMap<Day, Cell>)>);

impl Counts {
    fn add(&mut self, subject: &SubjectNumber, hit: &Hit, crowd: u64) {
        let window = &hit.partition.id.window;
        let month = match window.length() {
            WindowLength::Month => window.first_day(),
            _ => crowd::month(hit.at.day()),
        };
        let (stream, months) = self.0.entry(hit.partition.number).or_default();
        stream.get_or_insert_with(|| hit.partition.id.stream.clone());
        let cell = months.entry(month).or_default();
        cell.customers.add(u128::from_be_bytes(*subject.as_bytes()), crowd);
        cell.tally.records += 1;
        cell.tally.bytes += hit.length();
    }

    /// By stream and month, whatever the partitions are.
    fn cells(self) -> BTreeMap<(Stream, Day), Cell> {
        let mut cells: BTreeMap<(Stream, Day), Cell> = BTreeMap::new();
        for (stream, months) in self.0.into_values() {
            let Some(stream) = stream else { continue };
            for (month, cell) in months {
                let sum = cells.entry((stream.clone(), month)).or_default();
                sum.customers.join(&cell.customers);
                sum.tally = sum.tally.plus(&cell.tally);
            }
        }
        cells
    }
}

/// Sums over all readable records by some facets, of at least `crowd` customers each, on so many threads.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] where groups of fewer than 20 are asked for; as for a scan.
pub fn aggregate(engine: &Engine, by: &[Facet], crowd: u64, threads: usize) -> Result<Aggregate> {
    crowd::check(crowd)?;
    let counts = Mutex::new(Counts::default());
    let over: ControlFlow<Infallible> = hits_parallel(engine, None, Range::new(..), threads, &|(_, subject), hit| {
        counts.lock().expect("no holder of this lock panics").add(subject, &hit, crowd);
        Ok(ControlFlow::Continue(()))
    })?;
    debug_assert!(over.is_continue(), "nothing breaks it off");
    let cells = counts.into_inner().expect("no holder of this lock panics").cells();
    Ok(told(&cells.into_iter().collect::<Vec<_>>(), by, crowd))
}

fn told(cells: &[((Stream, Day), Cell)], by: &[Facet], crowd: u64) -> Aggregate {
    let part = |((stream, month), cell): &((Stream, Day), Cell)| Part {
        customers: cell.customers.clone(),
        weight: cell.tally.records,
        alike: crowd::alike(stream, *month),
    };
    let parts: Vec<_> = cells.iter().map(part).collect();
    let mut aggregate = Aggregate { by: by.to_vec(), crowd, rows: Vec::new(), total: None };
    let Some(groups) = crowd::crowds(&parts, crowd) else { return aggregate };
    let mut rows: BTreeMap<Vec<(bool, Option<String>)>, Tally> = BTreeMap::new();
    for group in &groups {
        let label = |facet: &Facet| crowd::common(group.iter().map(|index| value(&cells[*index].0, *facet)));
        // Where there are several it comes last.
        let labels = by.iter().map(label).map(|label| (label.is_none(), label)).collect();
        let row = rows.entry(labels).or_default();
        *row = group.iter().fold(*row, |sum, index| sum.plus(&cells[*index].1.tally));
    }
    aggregate.total = Some(rows.values().fold(Tally::default(), |sum, tally| sum.plus(tally)));
    let row = |(labels, tally): (Vec<(bool, Option<String>)>, Tally)| AggregateRow {
        labels: labels.into_iter().map(|(_, label)| label).collect(),
        tally,
    };
    aggregate.rows = rows.into_iter().map(row).collect();
    aggregate
}

fn value((stream, month): &(Stream, Day), facet: Facet) -> String {
    let day = month.to_string();
    match facet {
        Facet::Class => stream.class().to_owned(),
        Facet::Jurisdiction => stream.jurisdiction().to_owned(),
        Facet::Year => day[..4].to_owned(),
        Facet::Month => day[..7].to_owned(),
    }
}
