//! From the text of `policy.toml` to rules, every error with the line it is about.

use serde::Deserialize;
use toml::Spanned;

use super::{POLICY_LIMIT, Rule};
use crate::error::{Error, ErrorKind, Result};
use crate::ident::Stream;
use crate::window::{Day, Period, WindowLength};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    rule: Vec<Spanned<WrittenRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    class: Spanned<String>,
    jurisdiction: Spanned<String>,
    window: Option<Spanned<String>>,
    keep_at_least: Option<Spanned<String>>,
    keep_at_most: Option<Spanned<String>>,
    basis: Option<String>,
    dictionary: Option<bool>,
}

/// A rule and the byte of the text at which it starts.
struct Placed {
    rule: Rule,
    start: usize,
}

pub(super) fn parse(text: &str) -> Result<Vec<Rule>> {
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
    let mut placed: Vec<Placed> = Vec::with_capacity(written.rule.len());
    for rule in written.rule {
        let start = rule.span().start;
        let next = Placed { rule: read(text, rule.into_inner())?, start };
        for earlier in &placed {
            compare(text, earlier, &next)?;
        }
        placed.push(next);
    }
    match placed.is_empty() {
        true => Err(Error::new(ErrorKind::Invalid, "the policy has no rule")
            .hint("keep everything with a [[rule]] whose class and jurisdiction are \"*\"")),
        false => Ok(placed.into_iter().map(|placed| placed.rule).collect()),
    }
}

fn read(text: &str, written: WrittenRule) -> Result<Rule> {
    let class = label(text, &written.class, |class| Stream::new(class, "any"))?;
    let jurisdiction = label(text, &written.jurisdiction, |jurisdiction| Stream::new("any", jurisdiction))?;
    let window = value::<WindowLength>(text, written.window.as_ref())?.unwrap_or(WindowLength::Month);
    let keep_at_least = value::<Period>(text, written.keep_at_least.as_ref())?.unwrap_or_default();
    let keep_at_most = value::<Period>(text, written.keep_at_most.as_ref())?;
    if let (Some(most), Some(at)) = (keep_at_most, written.keep_at_most.as_ref())
        && may_exceed(keep_at_least, most)
    {
        let what = format!("keep_at_least {keep_at_least} can reach beyond keep_at_most {most}");
        return Err(wrong(text, at.span().start, what));
    }
    let basis = written.basis.map(String::into_boxed_str);
    let dictionary = written.dictionary.unwrap_or(true);
    Ok(Rule { class, jurisdiction, window, keep_at_least, keep_at_most, basis, dictionary })
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

/// Whether there is a day on which `least` ends after `most`. Months have no fixed length, so that one month against
/// thirty days depends on the day; four years have every case.
fn may_exceed(least: Period, most: Period) -> bool {
    const FIRST_DAY: i32 = 20_454; // 2026-01-01
    (FIRST_DAY..FIRST_DAY + 1_461)
        .filter_map(Day::from_number)
        .any(|day| day.start().plus(least) > day.start().plus(most))
}

/// Refuses two rules that would decide about the same stream with equal right.
fn compare(text: &str, earlier: &Placed, next: &Placed) -> Result<()> {
    let (a, b) = (&earlier.rule, &next.rule);
    let first = line(text, earlier.start);
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

fn line(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn wrong(text: &str, offset: usize, what: String) -> Error {
    Error::new(ErrorKind::Invalid, format!("the policy is wrong in line {}: {what}", line(text, offset)))
}
