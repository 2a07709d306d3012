//! Generated customer-service records: believable, seeded, nobody's.
//!
//! The same seed gives the same records, whoever generates which of them and in what order. Pure: no clock, no files.

use serde_json::json;
use tenure::{BodyKind, CustomerId, Record, Stream, Timestamp, Window, WindowLength};

use super::phrases::{self as say, Topic};

/// How many customers there are.
pub const CUSTOMERS: u64 = 20_000;
/// How many months the events span.
pub const MONTHS: u64 = 14;

/// The first and the last instant of the events: whole months, the last of them just over, so that no clock calls
/// them future.
pub fn months_before(now: Timestamp) -> (Timestamp, Timestamp) {
    let end = Window::containing(now, WindowLength::Month).start();
    let month_before = |at: Timestamp| Window::containing(at.plus_seconds(-1), WindowLength::Month).start();
    ((0..MONTHS).fold(end, |at, _| month_before(at)), end)
}

/// A small generator of numbers (splitmix64): repeatable, and good enough for text.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64, index: u64) -> Self {
        let mut numbers = Numbers(seed ^ index.wrapping_mul(0xd134_2543_de82_ef95));
        numbers.next();
        numbers
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From zero to just below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}

/// Who calls: always the same for one number.
pub struct Person {
    pub id: String,
    pub first: &'static str,
    pub last: &'static str,
    pub phone: String,
    home: usize,
    city: &'static str,
    street: &'static str,
    house: u64,
    postcode: String,
}

/// All records that one seed gives.
#[derive(Clone, Copy)]
pub struct Corpus {
    seed: u64,
    total: u64,
    first_micros: i64,
    span_micros: u64,
}

impl Corpus {
    /// `total` records spread over the time from `first` to `end`.
    pub fn new(seed: u64, total: u64, (first, end): (Timestamp, Timestamp)) -> Self {
        let (first_micros, end_micros) = (first.as_micros(), end.as_micros());
        Corpus { seed, total: total.max(1), first_micros, span_micros: end_micros.abs_diff(first_micros).max(1) }
    }

    /// Other records over the same time.
    pub fn continued(&self) -> Corpus {
        Corpus { seed: self.seed.wrapping_add(1), ..*self }
    }

    /// The customer of a number below [`CUSTOMERS`]; half live in the EU, a quarter each in the UK and the US.
    pub fn person(&self, number: u64) -> Person {
        let mut n = Numbers::new(self.seed ^ 0x7065_7273_6f6e, number);
        let home = n.pick(&[0, 0, 1, 2]);
        let phone = match home {
            0 => format!("+49 40 {:03} {:04}", n.below(900) + 100, n.below(10_000)),
            1 => format!("+44 113 {:03} {:04}", n.below(900) + 100, n.below(10_000)),
            _ => format!("+1 503 {:03} {:04}", n.below(900) + 100, n.below(10_000)),
        };
        Person {
            id: format!("c-{number:06}"),
            first: n.pick(say::FIRST_NAMES),
            last: n.pick(say::LAST_NAMES),
            phone,
            home,
            city: n.pick(say::CITIES[home]),
            street: n.pick(say::STREETS),
            house: n.below(180) + 1,
            postcode: format!("{:05}", n.below(89_999) + 10_000),
        }
    }

    /// The record at a place in the corpus, mostly in order of time, some days late.
    pub fn record(&self, index: u64) -> Record {
        let mut n = Numbers::new(self.seed, index);
        // A few call often, most seldom; which of them call often does not show in their number.
        let rank = (n.unit().powf(1.6) * CUSTOMERS as f64) as u64 % CUSTOMERS;
        let person = self.person((rank * 7_919 + 13) % CUSTOMERS);
        let at = self.time(index, &mut n);
        let topic = &say::TOPICS[n.below(say::TOPICS.len() as u64) as usize];
        let (class, kind, body) = match n.below(20) {
            0..=11 => ("call-transcript", BodyKind::Json, conversation("call", topic, &person, &mut n)),
            12..=16 => ("chat", BodyKind::Json, conversation("chat", topic, &person, &mut n)),
            _ => ("email", BodyKind::Text, email(topic, &person, &mut n)),
        };
        let jurisdiction = ["EU", "UK", "US"][person.home];
        Record {
            customer: CustomerId::new(person.id).expect("generated ids are short"),
            stream: Stream::new(class, jurisdiction).expect("generated labels are plain"),
            at,
            kind,
            body: body.into(),
            id: None,
        }
    }

    fn time(&self, index: u64, n: &mut Numbers) -> Timestamp {
        let even = (u128::from(index) * u128::from(self.span_micros) / u128::from(self.total)) as u64;
        let late = if n.below(50) == 0 { n.below(5 * 86_400_000_000) } else { n.below(600_000_000) };
        let millis = even.saturating_sub(late) / 1_000;
        Timestamp::from_micros(self.first_micros + millis as i64 * 1_000)
    }
}

/// The values of one conversation that sentences refer to: the same order all the way through.
struct Facts<'a> {
    person: &'a Person,
    agent: &'static str,
    product: &'static str,
    order: String,
    reference: String,
}

impl<'a> Facts<'a> {
    fn draw(person: &'a Person, n: &mut Numbers) -> Self {
        Facts {
            person,
            agent: n.pick(say::AGENTS),
            product: n.pick(say::PRODUCTS),
            order: format!("{:03}-{:07}-{:07}", n.below(900) + 100, n.below(10_000_000), n.below(10_000_000)),
            reference: format!("{}{:06}", n.pick(&["KX", "RT", "SV", "MB"]), n.below(1_000_000)),
        }
    }

    /// The sentence with its braces filled in.
    fn fill(&self, sentence: &str, n: &mut Numbers) -> String {
        let mut text = String::with_capacity(sentence.len() + 48);
        for (place, part) in sentence.split(['{', '}']).enumerate() {
            match place % 2 {
                0 => text.push_str(part),
                _ => self.word(part, n, &mut text),
            }
        }
        text
    }

    fn word(&self, name: &str, n: &mut Numbers, text: &mut String) {
        let person = self.person;
        let currency = ["EUR", "GBP", "USD"][person.home];
        let months = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
        let word = match name {
            "name" => format!("{} {}", person.first, person.last),
            "first" => person.first.to_string(),
            "mail" => format!("{}.{}@example.com", person.first, person.last).to_lowercase(),
            "phone" => person.phone.clone(),
            "city" => person.city.to_string(),
            "street" => person.street.to_string(),
            "house" => person.house.to_string(),
            "postcode" => person.postcode.clone(),
            "agent" => self.agent.to_string(),
            "product" => self.product.to_string(),
            "order" => self.order.clone(),
            "ref" => self.reference.clone(),
            "amount" => format!("{currency} {}.{:02}", n.below(480) + 15, n.below(100)),
            "fee" => format!("{currency} {}.{:02}", n.below(12) + 2, n.below(100)),
            "card" => format!("{:04}", n.below(10_000)),
            "date" => format!("{} {}", n.pick(&months), n.below(28) + 1),
            "day" => n.pick(&days).to_string(),
            "time" => format!("{}:{:02}", n.below(10) + 8, n.below(12) * 5),
            "years" => (n.below(14) + 2).to_string(),
            _ => (n.below(8) + 2).to_string(),
        };
        text.push_str(&word);
    }
}

/// A call or a chat: turns of customer and agent, as JSON.
fn conversation(channel: &str, topic: &Topic, person: &Person, n: &mut Numbers) -> String {
    let facts = Facts::draw(person, n);
    let mut turns: Vec<(&str, String)> = Vec::new();
    let mut turn = |speaker: &'static str, sentence: &str, n: &mut Numbers| {
        turns.push((speaker, facts.fill(sentence, n)));
    };
    turn("agent", n.pick(say::GREETINGS), n);
    turn("customer", n.pick(topic.openings), n);
    let checks = some_of(say::CHECKS, 1 + n.below(2), n);
    let asked = some_of(topic.exchanges, 2 + n.below(4), n);
    let fillers = some_of(say::FILLERS, n.below(4), n);
    for (index, (question, answer)) in checks.into_iter().chain(asked).enumerate() {
        turn("agent", question, n);
        turn("customer", answer, n);
        if let Some((question, answer)) = fillers.get(index.wrapping_sub(2)) {
            turn("agent", question, n);
            turn("customer", answer, n);
        }
    }
    turn("agent", n.pick(topic.endings), n);
    turn("customer", n.pick(say::THANKS), n);
    turn("agent", n.pick(say::GOODBYES), n);

    let mut seconds = 0;
    let turns: Vec<_> = turns
        .iter()
        .map(|(speaker, text)| {
            let at = seconds;
            seconds += 3 + text.len() as u64 / 14 + n.below(5);
            json!({ "speaker": speaker, "second": at, "text": text })
        })
        .collect();
    let case = format!("{}-{:07}", channel, n.below(10_000_000));
    json!({ "case": case, "agent": facts.agent, "seconds": seconds, "turns": turns }).to_string()
}

/// `count` different items, in their order.
fn some_of<T: Copy>(items: &[T], count: u64, n: &mut Numbers) -> Vec<T> {
    let mut left = count;
    let mut rest = items.len() as u64;
    let mut chosen = Vec::new();
    for item in items {
        if n.below(rest) < left {
            chosen.push(*item);
            left -= 1;
        }
        rest -= 1;
    }
    chosen
}

/// An e-mail as plain text.
fn email(topic: &Topic, person: &Person, n: &mut Numbers) -> String {
    let facts = Facts::draw(person, n);
    let mut text = format!("Subject: {}\n\nHello,\n\n", facts.fill(topic.subject, n));
    text.push_str(&facts.fill(n.pick(topic.openings), n));
    let paragraphs = 1 + n.below(3);
    for (_, answer) in some_of(topic.exchanges, paragraphs, n) {
        text.push_str("\n\n");
        text.push_str(&facts.fill(answer, n));
    }
    let details = "\n\nMy order is {order}, my number is {phone}. You can also write to {mail}.\n\nKind regards\n{name}\n{house} {street}, {postcode} {city}\n";
    text.push_str(&facts.fill(details, n));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn span() -> (Timestamp, Timestamp) {
        months_before("2026-11-23T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn the_same_seed_gives_the_same_records() {
        let corpus = Corpus::new(7, 1_000, span());
        assert_eq!(corpus.record(5), Corpus::new(7, 1_000, span()).record(5));
        assert_ne!(corpus.record(5), Corpus::new(8, 1_000, span()).record(5));
        let body = String::from_utf8(corpus.record(5).body.to_vec()).unwrap();
        assert!(!body.contains('\u{fffd}'));
    }

    #[test]
    fn the_corpus_has_the_shape_that_is_promised() {
        let total = 20_000;
        let corpus = Corpus::new(1, total, span());
        let mut customers: HashMap<String, u64> = HashMap::new();
        let mut streams: HashMap<String, u64> = HashMap::new();
        let mut bytes = 0;
        let (mut first, mut last) = (Timestamp::from_micros(i64::MAX), Timestamp::from_micros(i64::MIN));
        for index in 0..total {
            let record = corpus.record(index);
            *customers.entry(record.customer.expose().to_string()).or_default() += 1;
            *streams.entry(record.stream.to_string()).or_default() += 1;
            bytes += record.body.len() as u64;
            (first, last) = (first.min(record.at), last.max(record.at));
        }
        assert_eq!(streams.len(), 9);
        assert!((1_200..2_600).contains(&(bytes / total)), "{} bytes a record", bytes / total);
        assert!(customers.len() > 8_000 && customers.values().max() > Some(&20));
        assert_eq!((first.day().to_string(), last.day().to_string()), ("2025-09-01".into(), "2026-10-31".into()));
    }
}
