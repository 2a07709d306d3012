//! The page of an export: one file that needs no other, has no script and lets none run. Every value is escaped by the
//! templates, which stand beside this file.

use minijinja::value::Serde;
use minijinja::{Value, context};
use tenure::{BodyKind, Stored, Timestamp};

use super::Sheet;
use super::manifest::{About, kept, until, why};
use super::shown::{Shown, inert};
use crate::failure::Failure;
use crate::page::Pages;
use crate::words::{bytes, count, counted};

/// The templates.
pub struct Page(Pages);

impl Page {
    pub fn new() -> Self {
        let templates = [
            ("head", include_str!("head.html")),
            ("record", include_str!("record.html")),
            ("foot", include_str!("foot.html")),
        ];
        Page(Pages::new(&templates, include_str!("style.css")))
    }

    fn render(&self, out: &mut Sheet, name: &str, values: Value) -> Result<(), Failure> {
        out.put(self.0.render(name, values)?.as_bytes())
    }

    /// What stands above the records.
    pub fn head(&self, out: &mut Sheet, about: &About<'_>) -> Result<(), Failure> {
        let law = about.export.law();
        let streams = law.streams.iter().map(|stream| {
            let counted = about.tally.of(&stream.stream);
            let span = counted.and_then(|counted| counted.span);
            context! {
                name => stream.stream.to_string(),
                records => count(counted.map_or(0, |counted| counted.records)),
                from => span.map(|span| span.0.day().to_string()),
                until => span.map(|span| span.1.day().to_string()),
                latest => stream.latest,
                rules => stream.provisions.iter().map(|one| context! {
                    basis => one.basis.as_deref().map(inert), said => kept(one),
                }).collect::<Vec<_>>(),
                kept_until => until(stream),
            }
        });
        let unshown = about.export.unshown().iter().map(|one| {
            let (name, window) = (one.partition.stream.to_string(), one.partition.window.to_string());
            context! { name => name, window => window, records => counted(one.records, "record"), why => why(one) }
        });
        let span = about.tally.span();
        let values = context! {
            customer => inert(&about.args.customer),
            recipient => inert(&about.args.recipient),
            actor => inert(about.actor.id()),
            purpose => inert(about.actor.purpose_given()),
            made => moment(about.export.made()),
            records => counted(about.tally.records(), "record"),
            size => bytes(about.tally.raw_bytes()),
            from => span.map(|span| span.0.day().to_string()),
            until => span.map(|span| span.1.day().to_string()),
            streams => streams.collect::<Vec<_>>(),
            unshown => unshown.collect::<Vec<_>>(),
        };
        out.put(self.0.top(&format!("On record: {}", inert(&about.args.customer)))?.as_bytes())?;
        self.render(out, "head", values)
    }

    /// One record, under the heading of its `month` where that is a new one.
    pub fn record(
        &self,
        out: &mut Sheet,
        stored: &Stored,
        beside: Option<&str>,
        month: Option<String>,
    ) -> Result<(), Failure> {
        let kind = match stored.kind {
            BodyKind::Json => "JSON",
            BodyKind::Text => "text",
            BodyKind::Bytes => "bytes",
        };
        let values = context! {
            month,
            at => moment(stored.at),
            stamp => stored.at.to_string(),
            class => stored.stream.class(),
            jurisdiction => stored.stream.jurisdiction(),
            id => stored.id.to_string(),
            amends => stored.amends.map(|id| id.to_string()),
            kind,
            size => bytes(stored.length()),
            beside,
            body => Serde(Shown::of(stored, beside)),
        };
        self.render(out, "record", values)
    }

    /// What stands below the records.
    pub fn foot(&self, out: &mut Sheet) -> Result<(), Failure> {
        self.render(out, "foot", context! {})
    }
}

/// A time as people read it.
fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    let (day, rest) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {} UTC", rest.get(..8).unwrap_or_default())
}
