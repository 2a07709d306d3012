//! Amendments: a record that stands in the place of an earlier one, in the same cell and at the same time, so that the
//! frames of one cell tell what is superseded. Nothing is taken away: who may see the history still sees every version.

use std::collections::HashSet;

use super::committer::Pending;
use super::encode::{Encoder, finish};
use super::read::Hit;
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::{FrameKind, Origin};
use crate::format::group::GroupBuilder;
use crate::format::plain::Prefix;
use crate::ident::{CustomerId, RecordId, Stream};
use crate::window::Timestamp;

type Name = (Stream, Timestamp, RecordId);

/// What a record amends, by name: always one of the same stream and time.
fn amended(hit: &Hit) -> Option<Name> {
    hit.amends.map(|id| (hit.partition.id.stream.clone(), hit.event(), id))
}

/// Leaves out what has been amended: of each chain the last version stays. Hits of one customer, those of a cell all together.
pub fn supersede(hits: &mut Vec<Hit>) {
    if hits.iter().any(|hit| hit.amends.is_some()) {
        let amended: HashSet<Name> = hits.iter().filter_map(amended).collect();
        hits.retain(|hit| !amended.contains(&hit.name()));
    }
}

/// Adds to `names` what is linked to them, until there is no more.
fn spread(hits: &[Hit], names: &mut HashSet<Name>, back: bool) {
    let links: Vec<(Name, Name)> = hits.iter().filter_map(|hit| Some((amended(hit)?, hit.name()))).collect();
    let mut before = usize::MAX;
    while before != names.len() {
        before = names.len();
        for (earlier, later) in &links {
            if names.contains(earlier) {
                names.insert(later.clone());
            } else if back && names.contains(later) {
                names.insert(earlier.clone());
            }
        }
    }
}

/// Leaves the records with `id`, and those which amend them.
pub fn keep_versions_since(hits: &mut Vec<Hit>, id: RecordId) {
    if hits.iter().all(|hit| hit.amends.is_none()) {
        return hits.retain(|hit| hit.id == id);
    }
    let mut names = hits.iter().filter(|hit| hit.id == id).map(Hit::name).collect();
    spread(hits, &mut names, false);
    hits.retain(|hit| names.contains(&hit.name()));
}

/// All versions of the record `origin`: whoever redacts one of them means what they are about.
pub fn versions(hits: &[Hit], origin: Origin) -> HashSet<Origin> {
    let mut names = hits.iter().filter(|hit| hit.origin == origin && !hit.gone).map(Hit::name).collect();
    spread(hits, &mut names, true);
    let mut versions: HashSet<Origin> =
        hits.iter().filter(|hit| !hit.gone && names.contains(&hit.name())).map(|hit| hit.origin).collect();
    versions.insert(origin);
    versions
}

impl Encoder<'_> {
    /// The group of an amendment of `hit`, and its id.
    ///
    /// # Errors
    /// What the keyring answers.
    pub fn amendment(&self, customer: &CustomerId, hit: &Hit, body: &[u8]) -> Result<(Pending, RecordId)> {
        let (partition, column) = self.partitions.use_partition(self.keyring, &hit.partition.id)?;
        if partition.number != hit.partition.number {
            return Err(Error::new(ErrorKind::Erased, "the record that was to be amended has expired meanwhile"));
        }
        let id = &partition.id;
        let (tag, lapsed) = (self.keyring.tag_of(customer), self.fences.lapsed());
        let row = self.keyring.use_customer((customer, tag), &id.stream, &id.window, self.now, lapsed)?;
        let cell = self.cells.get(&row.entry, &partition);
        let named = self.dictionary(&partition);
        let (random, sequence) = (self.random()?, self.sequence.take(1)?);
        let prefix = Prefix {
            at: hit.at,
            raw_length: body.len() as u32,
            kind: hit.kind,
            id: None,
            original: None,
            compressed: false,
            large: false,
            amends: Some(hit.id),
            since: hit.since,
        };
        let mut group = GroupBuilder::new(1, 0, body.len() + 256);
        let place = (&cell, &*partition, named.as_ref());
        let place = self.frame(&mut group, place, (FrameKind::Amendment, sequence, random), &prefix, body)?;
        let pending = finish(group, std::iter::once((cell.handle, place)), row.number.max(column), Vec::new())?;
        Ok((pending, RecordId::given(self.opening.number, sequence)))
    }
}
