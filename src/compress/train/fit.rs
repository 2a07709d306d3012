//! What our own encoder makes of the records with some content: where it finds matches, and how often it writes what.

use super::super::matches::{Content, Finder, Sequence};
use super::super::tables::{MATCH_BITS, MATCH_MIN, OFFSET_BITS, RUN_BITS};
use super::text::Text;

/// How often each of some symbols comes, and with how many customers.
pub struct Symbols {
    times: Vec<u64>,
    customers: Vec<u32>,
    /// Who had it last; those of one customer come together.
    last: Vec<u32>,
}

impl Symbols {
    fn new(count: usize) -> Self {
        Symbols { times: vec![0; count], customers: vec![0; count], last: vec![u32::MAX; count] }
    }

    fn note(&mut self, symbol: usize, customer: u32) {
        self.times[symbol] += 1;
        if self.last[symbol] != customer {
            self.last[symbol] = customer;
            self.customers[symbol] += 1;
        }
    }

    /// How often each of them comes, and once more: what fewer than `k` customers have is told as if nobody had it.
    pub fn told(&self, k: usize) -> Vec<u64> {
        let both = self.times.iter().zip(&self.customers);
        both.map(|(times, customers)| 1 + if *customers as usize >= k { *times } else { 0 }).collect()
    }
}

/// The numbers of the codes of some values.
struct Codes {
    /// The first value of each.
    starts: Vec<u32>,
}

impl Codes {
    fn new(bits: &[u32], first: u32) -> Self {
        let mut next = first;
        let starts = bits.iter().map(|bits| {
            let start = next;
            next += 1 << bits;
            start
        });
        Codes { starts: starts.collect() }
    }

    fn of(&self, value: u32) -> usize {
        self.starts.partition_point(|start| *start <= value) - 1
    }
}

/// What the records come to with some content.
pub struct Fit {
    /// How many matches begin at each byte of the content.
    pub uses: Vec<u32>,
    /// The bytes that no match covers.
    pub literals: Symbols,
    /// The codes of runs of literals, of matches, and of offsets.
    pub runs: Symbols,
    pub matches: Symbols,
    pub offsets: Symbols,
}

impl Fit {
    /// Parses all records; nothing where there is too little content.
    pub fn of(text: &Text, content: &[u8]) -> Option<Self> {
        let prepared = Content::new(content)?;
        let codes = [(RUN_BITS, 0), (MATCH_BITS, 0), (OFFSET_BITS, 1)].map(|(bits, first)| Codes::new(bits, first));
        let mut finder = Finder::new();
        let mut fit = Fit {
            uses: vec![0; content.len()],
            literals: Symbols::new(256),
            runs: Symbols::new(RUN_BITS.len()),
            matches: Symbols::new(MATCH_BITS.len()),
            offsets: Symbols::new(OFFSET_BITS.len()),
        };
        for line in &text.records {
            let body = &text.raw[line.start as usize..line.end as usize];
            if let Some(parsed) = finder.parse(&prepared, body) {
                fit.note(&codes, parsed, line.customer);
            }
        }
        Some(fit)
    }

    fn note(&mut self, codes: &[Codes; 3], (sequences, literals): (&[Sequence], &[u8]), customer: u32) {
        literals.iter().for_each(|literal| self.literals.note(usize::from(*literal), customer));
        let mut at = 0;
        for sequence in sequences {
            let (run, length) = (u32::from(sequence.run), u32::from(sequence.length));
            at += run;
            if sequence.distance > at {
                let place = self.uses.len() - (sequence.distance - at) as usize;
                self.uses[place] += 1;
            }
            at += length;
            self.runs.note(codes[0].of(run), customer);
            self.matches.note(codes[1].of(length - MATCH_MIN), customer);
            self.offsets.note(codes[2].of(sequence.distance + 3), customer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sample;
    use super::*;

    #[test]
    fn every_byte_of_the_records_is_counted_as_it_is_written() {
        let bodies = [
            "Your order has been sent to you.",
            "x",
            "",
            "Rechnung 17, Rechnung 17 und 18",
            "Zur Zahlung: your order, bitte",
        ];
        let samples = (0..).zip(bodies).map(|(customer, body)| Sample { customer, body: body.as_bytes() });
        let text = Text::of(samples.collect::<Vec<_>>().iter()).unwrap();
        let content = b"\0nothing like it\0your order has been sent";
        let fit = Fit::of(&text, content).unwrap();
        let times = |symbols: &Symbols| symbols.times.iter().sum::<u64>();
        let used: u32 = fit.uses.iter().sum();
        assert!(fit.uses[17..].iter().sum::<u32>() == used && used >= 2, "only what is like it is used");
        assert_eq!(times(&fit.runs), times(&fit.matches));
        assert_eq!(times(&fit.runs), times(&fit.offsets));
        assert!(times(&fit.offsets) > u64::from(used), "one match is with the record itself");
        let lengths: u64 =
            (0..).zip(&fit.matches.times).map(|(code, times)| (code + u64::from(MATCH_MIN)) * times).sum();
        let bytes = bodies.iter().map(|body| body.len() as u64).sum::<u64>();
        assert_eq!(times(&fit.literals) + lengths, bytes, "with matches of less than 35 bytes the code is the length");
        assert!(Fit::of(&text, b"too little").is_none());
    }

    #[test]
    fn what_few_customers_have_is_told_as_if_nobody_had_it() {
        let mut symbols = Symbols::new(3);
        for customer in 0..20 {
            symbols.note(0, customer);
            symbols.note(0, customer);
        }
        (0..19).for_each(|customer| (0..100).for_each(|_| symbols.note(1, customer)));
        assert_eq!(symbols.told(20), [41, 1, 1]);
        assert_eq!(symbols.told(19), [41, 1_901, 1]);
    }

    #[test]
    fn values_have_the_codes_of_the_format() {
        let runs = Codes::new(RUN_BITS, 0);
        assert_eq!(
            [0, 15, 16, 17, 18, 23, 24, 64, 2_048, 65_536].map(|run| runs.of(run)),
            [0, 15, 16, 16, 17, 19, 20, 25, 30, 35]
        );
        let matches = Codes::new(MATCH_BITS, 0);
        assert_eq!([0, 31, 32, 34, 125, 131, 65_536].map(|length| matches.of(length)), [0, 31, 32, 33, 42, 43, 52]);
        let offsets = Codes::new(OFFSET_BITS, 1);
        assert_eq!([1, 2, 3, 4, 65_535, 65_536].map(|offset| offsets.of(offset)), [0, 1, 1, 2, 15, 16]);
    }
}
