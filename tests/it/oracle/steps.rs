//! Histories by chance: a law, and what people do with a store under it.

use proptest::prelude::*;

pub const CLASSES: [&str; 3] = ["call", "letter", "profile"];
pub const JURISDICTIONS: [&str; 2] = ["EU", "UK"];

/// Of one rule in a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub class: Option<usize>,
    pub jurisdiction: Option<usize>,
    pub window: &'static str,
    pub anchor: &'static str,
    pub zone: &'static str,
    pub least: Option<&'static str>,
    pub most: Option<&'static str>,
    pub latest: bool,
}

impl Rule {
    fn text(&self) -> String {
        let named =
            |names: &[&str], index: Option<usize>| index.map_or("*".to_owned(), |index| names[index].to_owned());
        let mut text = format!(
            "[[rule]]\nclass = {:?}\njurisdiction = {:?}\nwindow = {:?}\nanchor = {:?}\n",
            named(&CLASSES, self.class),
            named(&JURISDICTIONS, self.jurisdiction),
            self.window,
            self.anchor
        );
        let zone = (self.anchor == "year-end").then_some(("zone", self.zone));
        let least = self.least.map(|least| ("keep_at_least", least));
        let most = self.most.map(|most| ("keep_at_most", most));
        for (key, value) in [zone, least, most].into_iter().flatten() {
            text += &format!("{key} = {value:?}\n");
        }
        if self.latest {
            text += "latest = true\n";
        }
        text
    }
}

/// The text of a policy; of two rules for the same labels the first.
pub fn policy(rules: &[Rule]) -> String {
    let mut seen = Vec::new();
    let mut text = String::new();
    for rule in rules {
        if !seen.contains(&(rule.class, rule.jurisdiction)) {
            seen.push((rule.class, rule.jurisdiction));
            text += &rule.text();
        }
    }
    text
}

/// Some time ago, in days, and where in that day or month.
#[derive(Clone, Copy, Debug)]
pub struct Ago(pub i64, pub Where);

#[derive(Clone, Copy, Debug)]
pub enum Where {
    /// So many seconds before.
    Within(i64),
    /// At the first instant of the month.
    FirstOfMonth,
    /// At the last instant of the month, or where that lies ahead, now.
    LastOfMonth,
}

#[derive(Clone, Debug)]
pub struct Coming {
    pub customer: usize,
    pub stream: usize,
    pub ago: Ago,
}

#[derive(Clone, Copy, Debug)]
pub enum Fact {
    Ended(Ago),
    Resumed,
    Closed(Ago),
    Contacted(Ago),
}

#[derive(Clone, Debug)]
pub enum Step {
    Append(Vec<Coming>),
    /// So many days go by.
    Pass(i64),
    /// To the end of the month: a second before, or just after.
    MonthEnd(bool),
    Expire,
    Erase(Vec<usize>),
    ErasePart(usize, Option<usize>, Option<Ago>),
    Redact(usize, bool),
    Rectify(usize),
    Hold {
        customer: Option<usize>,
        stream: Option<usize>,
        from: Option<Ago>,
        until: Option<Ago>,
    },
    Release(usize),
    Fact(usize, Fact),
    /// A law is set, and confirmed where it must be.
    Law(Vec<Rule>),
    /// A law is set, and let be where it must be confirmed.
    TryLaw(Vec<Rule>),
    /// One maximum of the law in force is lifted.
    LiftMaximum(usize),
    Settle,
    Scrub,
    Maintain,
    Reopen,
    /// The power goes at some change of the disk while the step is done.
    Cut(u64, Box<Step>),
}

/// What people do with a store.
#[derive(Clone, Debug)]
pub struct History {
    pub customers: usize,
    pub law: Vec<Rule>,
    pub steps: Vec<Step>,
}

fn rule() -> impl Strategy<Value = Rule> {
    let labels = prop_oneof![
        6 => (0..3usize, 0..2usize).prop_map(|(class, jurisdiction)| (Some(class), Some(jurisdiction))),
        2 => (0..3usize).prop_map(|class| (Some(class), None)),
        2 => (0..2usize).prop_map(|jurisdiction| (None, Some(jurisdiction))),
    ];
    let window = prop_oneof![4 => Just("month"), 1 => Just("day"), 1 => Just("quarter"), 1 => Just("year")];
    let anchor = prop_oneof![
        4 => Just("event"),
        2 => Just("year-end"),
        2 => Just("relationship-end"),
        2 => Just("last-contact"),
        1 => Just("request-closed"),
    ];
    let zone = prop_oneof![Just("Europe/Berlin"), Just("America/New_York"), Just("Asia/Tokyo")];
    let periods = prop_oneof![
        Just((None, Some("P30D"))),
        Just((Some("P28D"), Some("P1M"))),
        Just((None, Some("P2M"))),
        Just((Some("P1M"), Some("P1M"))),
        Just((Some("P2M"), Some("P5M"))),
        Just((Some("P3M"), None)),
        Just((Some("P40D"), None)),
        Just((Some("P3M"), Some("P3M"))),
        Just((Some("P6M"), Some("P1Y"))),
        Just((None, Some("P0D"))),
        Just((None, None)),
    ];
    // States, whose periods run from facts about the customer. Where there is a duty no window of them goes: mostly there is none.
    let of_states = prop_oneof![6 => Just("relationship-end"), 2 => Just("last-contact"), 1 => Just("request-closed")];
    let endings = [Some("P0D"), Some("P0D"), Some("P30D"), Some("P2M"), None].map(|most| (None, most));
    let periods_of_states = prop_oneof![6 => prop::sample::select(endings.to_vec()), 1 => periods.clone()];
    let kinds = prop_oneof![
        2 => (anchor, periods, Just(false)).boxed(),
        1 => (of_states, periods_of_states, Just(true)).boxed(),
    ];
    (labels, window, zone, kinds).prop_map(|((class, jurisdiction), window, zone, (anchor, (least, most), latest))| {
        Rule { class, jurisdiction, window, anchor, zone, least, most, latest }
    })
}

fn law() -> impl Strategy<Value = Vec<Rule>> {
    let rest = Rule {
        class: None,
        jurisdiction: None,
        window: "month",
        anchor: "event",
        zone: "",
        least: None,
        most: None,
        latest: false,
    };
    let rests = prop_oneof![Just(rest.clone()), Just(Rule { most: Some("P4M"), ..rest })];
    (prop::collection::vec(rule(), 1..5), rests).prop_map(|(mut rules, rest)| {
        rules.push(rest);
        rules
    })
}

fn ago() -> impl Strategy<Value = Ago> {
    let days = prop_oneof![6 => 0..45i64, 3 => 0..150i64, 1 => 0..400i64];
    let place = prop_oneof![
        4 => (0..86_400i64).prop_map(Where::Within),
        1 => Just(Where::FirstOfMonth),
        1 => Just(Where::LastOfMonth),
    ];
    (days, place).prop_map(|(days, place)| Ago(days, place))
}

fn step() -> impl Strategy<Value = Step> {
    let (customer, stream) = (0..4usize, 0..6usize);
    let coming =
        (customer.clone(), stream.clone(), ago()).prop_map(|(customer, stream, ago)| Coming { customer, stream, ago });
    let fact = prop_oneof![
        3 => ago().prop_map(Fact::Ended),
        1 => Just(Fact::Resumed),
        2 => ago().prop_map(Fact::Closed),
        2 => ago().prop_map(Fact::Contacted),
    ];
    let maybe_stream = || prop::option::of(stream.clone());
    let maybe_ago = || prop::option::weighted(0.3, ago());
    let done = prop_oneof![
        8 => prop::collection::vec(coming, 1..5).prop_map(Step::Append),
        7 => Just(Step::Expire),
        5 => prop::collection::vec(customer.clone(), 1..3).prop_map(Step::Erase),
        4 => (customer.clone(), maybe_stream(), maybe_ago())
            .prop_map(|(customer, stream, until)| Step::ErasePart(customer, stream, until)),
        3 => (0..64usize, any::<bool>()).prop_map(|(index, despite)| Step::Redact(index, despite)),
        2 => (0..64usize).prop_map(Step::Rectify),
        5 => (prop::option::weighted(0.75, customer.clone()), maybe_stream(), maybe_ago(), maybe_ago())
            .prop_map(|(customer, stream, from, until)| Step::Hold { customer, stream, from, until }),
        4 => (0..8usize).prop_map(Step::Release),
        5 => (customer, fact).prop_map(|(customer, fact)| Step::Fact(customer, fact)),
        2 => law().prop_map(Step::Law),
        1 => law().prop_map(Step::TryLaw),
        1 => (0..8usize).prop_map(Step::LiftMaximum),
    ];
    let done = done.boxed();
    prop_oneof![
        30 => done.clone(),
        8 => (1..70i64).prop_map(Step::Pass),
        7 => any::<bool>().prop_map(Step::MonthEnd),
        1 => Just(Step::Settle),
        1 => Just(Step::Scrub),
        1 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
        2 => (0..60u64, done).prop_map(|(change, step)| Step::Cut(change, Box::new(step))),
    ]
}

/// A history: at the beginning everybody has something.
pub fn history() -> impl Strategy<Value = History> {
    (2..5usize, law(), prop::collection::vec(step(), 4..18)).prop_map(|(customers, law, steps)| History {
        customers,
        law,
        steps,
    })
}
