//! What an export contains, why that is kept and until when, who received it, and what is not in it and why.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tenure::report::{CustomerLaw, Provision, StreamLaw, Unshown, WhyUnshown};
use tenure::{Actor, Export, Period, Stored, Stream, Timestamp};

use super::{ExportArgs, Written};
use crate::output::SCHEMA_VERSION;
use crate::policy::runs_from;

/// What came out of an export, stream by stream.
pub struct Tally {
    streams: BTreeMap<Stream, Counted>,
    bodies: Vec<Value>,
    month: String,
}

/// What came out of one stream.
#[derive(Default)]
pub struct Counted {
    /// Records.
    pub records: u64,
    /// Bytes of their bodies.
    pub raw_bytes: u64,
    /// Of these records, those that stand in the place of others.
    pub amendments: u64,
    /// The first event and the last.
    pub span: Option<(Timestamp, Timestamp)>,
}

impl Tally {
    pub fn new(law: &CustomerLaw) -> Self {
        let streams = law.streams.iter().map(|stream| (stream.stream.clone(), Counted::default())).collect();
        Tally { streams, bodies: Vec::new(), month: String::new() }
    }

    /// The month of an event, where it is another than that of the one before.
    pub fn month(&mut self, at: Timestamp) -> Option<String> {
        let month: String = at.to_string().chars().take(7).collect();
        (self.month != month).then(|| {
            self.month.clone_from(&month);
            month
        })
    }

    pub fn add(&mut self, stored: &Stored, beside: Option<Written>) {
        let counted = self.streams.entry(stored.stream.clone()).or_default();
        counted.records += 1;
        counted.raw_bytes += stored.length();
        counted.amendments += u64::from(stored.amends.is_some());
        let (first, last) = counted.span.unwrap_or((stored.at, stored.at));
        counted.span = Some((first.min(stored.at), last.max(stored.at)));
        if let Some(file) = beside {
            self.bodies.push(json!({
                "file": file.name, "id": stored.id.to_string(), "class": stored.stream.class(),
                "jurisdiction": stored.stream.jurisdiction(), "at": stored.at.to_string(),
                "bytes": file.bytes, "sha256": file.sha256,
            }));
        }
    }

    pub fn records(&self) -> u64 {
        self.streams.values().map(|counted| counted.records).sum()
    }

    pub fn raw_bytes(&self) -> u64 {
        self.streams.values().map(|counted| counted.raw_bytes).sum()
    }

    pub fn of(&self, stream: &Stream) -> Option<&Counted> {
        self.streams.get(stream)
    }

    /// The first event and the last of all.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let spans = self.streams.values().filter_map(|counted| counted.span);
        spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }
}

/// Everything that is known when the records are written.
pub struct About<'a> {
    pub export: &'a Export,
    pub args: &'a ExportArgs,
    pub actor: &'a Actor,
    pub tally: &'a Tally,
}

/// Why a window is not shown, in words.
pub fn why(unshown: &Unshown) -> &'static str {
    match unshown.why {
        WhyUnshown::Restricted => {
            "its erasure was asked for; a duty or a hold keeps it, restricted, until that is over"
        }
        WhyUnshown::Held => "its time is over; a legal hold alone keeps it",
        WhyUnshown::Over => "its time is over; it goes with the expiry of its window",
        WhyUnshown::Superseded => "it was put right; the version that stands in its place is shown",
        WhyUnshown::Older => "only the newest record of its kind counts, and that one is shown",
    }
}

/// How long a rule keeps what it covers, for people who do not read ISO 8601.
pub fn kept(provision: &Provision) -> String {
    let from = runs_from(provision);
    let least = (!provision.keep_at_least.is_zero()).then(|| format!("at least {}", period(provision.keep_at_least)));
    let most = provision.keep_at_most.map(|most| format!("at most {}", period(most)));
    let said: Vec<String> = [least, most].into_iter().flatten().collect();
    match said.is_empty() {
        true => "without an end".into(),
        false => format!("{}, from {from}", said.join(" and ")),
    }
}

/// `5 years`, `1 year 6 months`.
fn period(period: Period) -> String {
    let (text, mut words, mut digits) = (period.to_string(), Vec::new(), String::new());
    for letter in text.chars().skip(1) {
        let unit = match letter {
            'Y' => "year",
            'M' => "month",
            'D' => "day",
            digit => {
                digits.push(digit);
                continue;
            }
        };
        let plural = if digits == "1" { "" } else { "s" };
        words.push(format!("{} {unit}{plural}", std::mem::take(&mut digits)));
    }
    words.join(" ")
}

/// Until when the last of a stream is kept: the latest date there is, in words.
pub fn until(law: &StreamLaw) -> String {
    let limits: Vec<_> = law.places.iter().map(|place| place.limit).collect();
    let latest = limits.iter().flatten().map(|limit| limit.at).max();
    match latest {
        Some(latest) if limits.iter().all(Option::is_some) => latest.day().to_string(),
        _ if law.ends_by_row => "not known yet: it runs from a fact that has not been reported".into(),
        _ => "no end is set; it can be erased on request where no duty keeps it".into(),
    }
}

impl About<'_> {
    /// The manifest.
    pub fn to_json(&self, files: &[Written]) -> Value {
        let law = self.export.law();
        let span = self.tally.span();
        let files = files
            .iter()
            .map(|file| json!({ "file": file.name, "bytes": file.bytes, "sha256": file.sha256 }))
            .chain(self.tally.bodies.iter().cloned());
        json!({
            "schema_version": SCHEMA_VERSION,
            "what": "access export",
            "customer": self.args.customer,
            "subject": law.subject,
            "made": self.export.made().to_string(),
            "made_by": self.actor.id(),
            "recipient": self.args.recipient,
            "purpose": self.actor.purpose_given(),
            "records": self.tally.records(),
            "raw_bytes": self.tally.raw_bytes(),
            "from": span.map(|span| span.0.to_string()),
            "until": span.map(|span| span.1.to_string()),
            "facts": {
                "relationship_ended": law.facts.relationship_ended.map(|at| at.to_string()),
                "request_closed": law.facts.request_closed.map(|at| at.to_string()),
                "last_contact": law.facts.last_contact.map(|at| at.to_string()),
            },
            "streams": law.streams.iter().map(|stream| self.stream(stream)).collect::<Vec<_>>(),
            "not_shown": self.export.unshown().iter().map(unshown).collect::<Vec<_>>(),
            "files": files.collect::<Vec<_>>(),
        })
    }

    fn stream(&self, law: &StreamLaw) -> Value {
        let nothing = Counted::default();
        let counted = self.tally.of(&law.stream).unwrap_or(&nothing);
        let rules = law.provisions.iter().map(|one| {
            json!({
                "basis": one.basis, "rule": kept(one), "anchor": one.anchor.name(), "zone": one.zone,
                "keep_at_least": (!one.keep_at_least.is_zero()).then(|| one.keep_at_least.to_string()),
                "keep_at_most": one.keep_at_most.map(|period| period.to_string()),
            })
        });
        json!({
            "class": law.stream.class(),
            "jurisdiction": law.stream.jurisdiction(),
            "records": counted.records,
            "raw_bytes": counted.raw_bytes,
            "amendments": counted.amendments,
            "from": counted.span.map(|span| span.0.to_string()),
            "until": counted.span.map(|span| span.1.to_string()),
            "only_the_newest": law.latest,
            "legal_basis": rules.collect::<Vec<_>>(),
            "kept_until": until(law),
        })
    }
}

fn unshown(one: &Unshown) -> Value {
    let id = &one.partition;
    json!({
        "class": id.stream.class(), "jurisdiction": id.stream.jurisdiction(),
        "from": id.window.start().to_string(), "before": id.window.end().to_string(),
        "records": one.records, "why": why(one), "holds": one.holds, "until": one.until.map(|until| until.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_words() {
        for (text, words) in [("P5Y", "5 years"), ("P18M", "1 year 6 months"), ("P1D", "1 day"), ("P10Y", "10 years")] {
            assert_eq!(period(text.parse().unwrap()), words);
        }
    }
}
