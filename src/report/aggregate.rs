//! What an aggregate tells: sums over groups of customers who are enough.

/// What records can be told apart by in an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Facet {
    /// What kind of data.
    Class,
    /// Whose law.
    Jurisdiction,
    /// The calendar year of the event, in UTC.
    Year,
    /// The calendar month of the event, in UTC.
    Month,
}

impl Facet {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Facet::Class => "class",
            Facet::Jurisdiction => "jurisdiction",
            Facet::Year => "year",
            Facet::Month => "month",
        }
    }
}

/// Sums over readable records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records.
    pub records: u64,
    /// Bytes of their bodies as they came in.
    pub bytes: u64,
}

impl Tally {
    /// The sum of both.
    pub fn plus(&self, other: &Tally) -> Tally {
        Tally { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }
}

/// What some records have in common, and what they amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateRow {
    /// For each facet asked for, the value of all these records; none where there are several, which are too small to be told
    /// by themselves.
    pub labels: Vec<Option<String>>,
    /// The sums.
    pub tally: Tally,
}

/// Sums over all readable records. Every one of them, and every sum and difference of them and of those of any other aggregate
/// of the same records, is about at least so many customers as were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// What records are told apart by.
    pub by: Vec<Facet>,
    /// The fewest customers of a group.
    pub crowd: u64,
    /// The groups, in the order of their labels.
    pub rows: Vec<AggregateRow>,
    /// The sum of all; none where all customers together are too few, and there are no rows either.
    pub total: Option<Tally>,
}
