//! From the text of `policy.toml` to rules, every error with the line it is about.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use toml::Spanned;

use super::classify::{ClassRule, Pattern, steps};
use super::conflict::may_exceed;
use super::{AnchorKind, POLICY_LIMIT, Policy, RULES_LIMIT, Rule};
use crate::error::{Error, ErrorKind, Result};
use crate::ident::Stream;
use crate::window::{Period, WindowLength, Zone};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    rule: Vec<Spanned<WrittenRule>>,
    #[serde(default)]
    classify: Vec<Spanned<WrittenClass>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    class: Spanned<String>,
    jurisdiction: Spanned<String>,
    window: Option<Spanned<String>>,
    anchor: Option<Spanned<String>>,
    zone: Option<Spanned<String>>,
    keep_at_least: Option<Spanned<String>>,
    keep_at_most: Option<Spanned<String>>,
    notice: Option<Spanned<String>>,
    basis: Option<String>,
    dictionary: Option<bool>,
    latest: Option<Spanned<bool>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenClass {
    pointer: Spanned<String>,
    matches: Spanned<String>,
    class: Spanned<String>,
}

/// A rule and where its parts stand in the text, in bytes from its start.
struct Placed {
    rule: Rule,
    start: usize,
    least: usize,
    most: usize,
}

pub(super) fn parse(text: &str) -> Result<Policy> {
    if text.len() > POLICY_LIMIT {
        return Err(Error::new(ErrorKind::Invalid, "the policy is longer than 1 MiB"));
    }
    let written: Written = toml::from_str(text).map_err(|error| {
        let what = error.message().lines().collect::<Vec<_>>().join(", ");
        match error.span() {
            Some(span) => wrong(text, span.start, what),
            None => Error::new(ErrorKind::Invalid, format!("the policy is wrong: {what}")),
        }
    })?;
    let mut placed: Vec<Placed> = Vec::with_capacity(written.rule.len().min(RULES_LIMIT));
    for rule in written.rule {
        let start = rule.span().start;
        if placed.len() == RULES_LIMIT {
            return Err(wrong(text, start, format!("a policy has at most {RULES_LIMIT} rules")));
        }
        let next = read(text, rule.into_inner(), start, placed.len())?;
        for earlier in &placed {
            compare(text, earlier, &next)?;
        }
        placed.push(next);
    }
    if placed.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "the policy has no rule")
            .hint("keep everything with a [[rule]] whose class and jurisdiction are \"*\""));
    }
    bind(text, &placed)?;
    let classes: Result<Vec<ClassRule>> =
        written.classify.into_iter().map(|class| read_class(text, class, &placed)).collect();
    let classes = classes?;
    Ok(Policy { rules: placed.into_iter().map(|placed| placed.rule).collect(), classes })
}

fn read(text: &str, written: WrittenRule, start: usize, index: usize) -> Result<Placed> {
    let class = label(text, &written.class, |class| Stream::new(class, "any"))?;
    let jurisdiction = label(text, &written.jurisdiction, |jurisdiction| Stream::new("any", jurisdiction))?;
    let anchor = anchor(text, written.anchor.as_ref())?;
    let place = |written: Option<&Spanned<String>>| written.map_or(start, |written| written.span().start);
    let rule = Rule {
        index,
        line: line(text, start),
        class,
        jurisdiction,
        window: value::<WindowLength>(text, written.window.as_ref())?.unwrap_or(WindowLength::Month),
        anchor,
        zone: zone(text, start, anchor, written.zone.as_ref())?,
        keep_at_least: value::<Period>(text, written.keep_at_least.as_ref())?.unwrap_or_default(),
        keep_at_most: value::<Period>(text, written.keep_at_most.as_ref())?,
        notice: value::<Period>(text, written.notice.as_ref())?,
        basis: written.basis.map(String::into_boxed_str),
        dictionary: written.dictionary.unwrap_or(true),
        latest: written.latest.as_ref().is_some_and(|latest| *latest.get_ref()),
    };
    let (least, most) = (place(written.keep_at_least.as_ref()), place(written.keep_at_most.as_ref()));
    if let (Some(notice), None) = (&written.notice, rule.keep_at_most) {
        return Err(wrong(text, notice.span().start, "notice has no keep_at_most to come before".into()));
    }
    if let (Some(latest), true, false) = (&written.latest, rule.latest, anchor.is_of_customer()) {
        let what = "latest needs an anchor of the customer: relationship-end, last-contact or request-closed";
        return Err(wrong(text, latest.span().start, what.into()));
    }
    let placed = Placed { rule, start, least, most };
    cross(text, &placed, &placed)?;
    Ok(placed)
}

fn anchor(text: &str, written: Option<&Spanned<String>>) -> Result<AnchorKind> {
    let Some(written) = written else { return Ok(AnchorKind::default()) };
    AnchorKind::ALL.into_iter().find(|anchor| anchor.name() == written.get_ref()).ok_or_else(|| {
        let names: Vec<&str> = AnchorKind::ALL.iter().map(|anchor| anchor.name()).collect();
        wrong(text, written.span().start, format!("{:?} is no anchor: {}", written.get_ref(), names.join(", ")))
    })
}

/// The zone of a rule: needed where years end in it, and without effect anywhere else.
fn zone(text: &str, start: usize, anchor: AnchorKind, written: Option<&Spanned<String>>) -> Result<Option<Zone>> {
    match (anchor == AnchorKind::YearEnd, written) {
        (true, None) => {
            Err(wrong(text, start, "anchor year-end needs a zone, like \"Europe/Berlin\": whose year?".into()))
        }
        (true, Some(written)) => match Zone::named(written.get_ref()) {
            Some(zone) => Ok(Some(zone)),
            None => Err(wrong(text, written.span().start, format!("{:?} is no IANA time zone", written.get_ref()))),
        },
        (false, Some(written)) => {
            Err(wrong(text, written.span().start, "a zone has effect only with anchor = \"year-end\"".into()))
        }
        (false, None) => Ok(None),
    }
}

fn read_class(text: &str, written: Spanned<WrittenClass>, rules: &[Placed]) -> Result<ClassRule> {
    let line = line(text, written.span().start);
    let written = written.into_inner();
    let at = |place: &Spanned<String>| place.span().start;
    let steps = steps(written.pointer.get_ref()).ok_or_else(|| {
        wrong(text, at(&written.pointer), "a pointer is empty or begins with /, as in \"/kind\" (RFC 6901)".into())
    })?;
    let class = label(text, &written.class, |class| Stream::new(class, "any"))?
        .ok_or_else(|| wrong(text, at(&written.class), "a class to be given is one class, not \"*\"".into()))?;
    if !rules.iter().any(|placed| placed.rule.class().is_none_or(|known| *known == *class)) {
        return Err(wrong(text, at(&written.class), format!("no rule covers the class {class:?}")));
    }
    Ok(ClassRule { line, steps, pattern: Pattern(written.matches.into_inner().into_boxed_str()), class })
}

/// A class or jurisdiction; `None` is the star.
fn label(text: &str, written: &Spanned<String>, check: impl Fn(&str) -> Result<Stream>) -> Result<Option<Box<str>>> {
    let label = written.get_ref().as_str();
    if label == "*" {
        return Ok(None);
    }
    check(label).map_err(|error| wrong(text, written.span().start, error.to_string()))?;
    Ok(Some(label.into()))
}

fn value<T: std::str::FromStr<Err = Error>>(text: &str, written: Option<&Spanned<String>>) -> Result<Option<T>> {
    let Some(written) = written else { return Ok(None) };
    match written.get_ref().parse() {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(wrong(text, written.span().start, format!("{:?} is {error}", written.get_ref()))),
    }
}

/// Refuses two rules that would decide about the same stream with equal right.
fn compare(text: &str, earlier: &Placed, next: &Placed) -> Result<()> {
    let (a, b) = (&earlier.rule, &next.rule);
    let first = a.line;
    for (one, other, what) in [(a.class(), b.class(), "classes"), (a.jurisdiction(), b.jurisdiction(), "jurisdictions")]
    {
        if let (Some(one), Some(other)) = (one, other)
            && one != other
            && one.eq_ignore_ascii_case(other)
        {
            let what = format!("the {what} {one:?} (line {first}) and {other:?} differ in case only");
            return Err(wrong(text, next.start, what));
        }
    }
    match (a.class(), a.jurisdiction()) == (b.class(), b.jurisdiction()) {
        true => Err(wrong(text, next.start, format!("the rule of line {first} already covers the same streams"))),
        false => Ok(()),
    }
}

/// Refuses a class and a jurisdiction whose rules bind some stream together, where the minimum of one can reach beyond the
/// maximum of the other. A rule for that very stream takes their place.
fn bind(text: &str, placed: &[Placed]) -> Result<()> {
    let labels = |rule: &Rule| (rule.class.clone(), rule.jurisdiction.clone());
    let exact: HashSet<_> = placed.iter().map(|placed| labels(&placed.rule)).collect();
    let (mut by_class, mut by_jurisdiction) = (Vec::new(), Vec::new());
    for one in placed {
        match (one.rule.class(), one.rule.jurisdiction()) {
            (Some(_), None) => by_class.push(one),
            (None, Some(_)) => by_jurisdiction.push(one),
            _ => {}
        }
    }
    let pairs = by_class.iter().flat_map(|class| by_jurisdiction.iter().map(move |other| (*class, *other)));
    let bound =
        pairs.filter(|(class, other)| !exact.contains(&(class.rule.class.clone(), other.rule.jurisdiction.clone())));
    // The same error whichever way the text is read: that of the earliest line.
    let mut found = BTreeMap::new();
    for (class, other) in bound {
        for (one, two) in [(class, other), (other, class)] {
            if let Err(error) = cross(text, one, two) {
                found.entry(two.most).or_insert(error);
            }
        }
        if found.len() > 16 {
            break;
        }
    }
    found.into_values().next().map_or(Ok(()), Err)
}

/// Refuses a minimum of one rule that can reach beyond the maximum of another, or of the same.
fn cross(text: &str, one: &Placed, other: &Placed) -> Result<()> {
    let (Some(least), Some(most)) = (one.rule.least(), other.rule.most()) else { return Ok(()) };
    if !may_exceed(&least, &most) {
        return Ok(());
    }
    let (minimum, maximum) = (least.period, most.period);
    let what = match one.start == other.start {
        true => format!("keep_at_least {minimum} can reach beyond keep_at_most {maximum}"),
        false => {
            let (class, jurisdiction) = (one.rule.class().or(other.rule.class()), one.rule.jurisdiction());
            let jurisdiction = jurisdiction.or(other.rule.jurisdiction());
            let stream = format!("{}/{}", class.unwrap_or("*"), jurisdiction.unwrap_or("*"));
            let least = line(text, one.least);
            format!(
                "keep_at_least {minimum} (line {least}, from {}) can reach beyond keep_at_most {maximum} (from {}), \
                 and both bind {stream}; write a rule for just that",
                one.rule.anchor.name(),
                other.rule.anchor.name()
            )
        }
    };
    Err(wrong(text, other.most, what))
}

fn line(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn wrong(text: &str, offset: usize, what: String) -> Error {
    Error::new(ErrorKind::Invalid, format!("the policy is wrong in line {}: {what}", line(text, offset)))
}
