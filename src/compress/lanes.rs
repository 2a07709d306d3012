//! Several bodies parsed in turns: while one waits for memory, the processor goes on with the others.

use super::matches::{Content, Finder, Parsed, Progress};

/// How many at a time. By itself a body takes 1.6 times as long, and with more of them none is sooner.
const LANES: usize = 3;

/// Bodies that are parsed, each in a lane of its own.
pub struct Lanes {
    finders: [Finder; LANES],
    progress: [Progress; LANES],
    /// The number that a body was given with; nothing where a lane is free.
    numbers: [Option<usize>; LANES],
}

impl Lanes {
    pub fn new() -> Self {
        let finders = std::array::from_fn(|_| Finder::new());
        Lanes { finders, progress: [Progress::default(); LANES], numbers: [None; LANES] }
    }

    /// Forgets the bodies that have not come out.
    pub fn clear(&mut self) {
        self.numbers = [None; LANES];
    }

    /// Gives one more body, by the `number` that it comes out with: `false` without room for it.
    #[must_use]
    pub fn give(&mut self, number: usize, body: &[u8]) -> bool {
        let Some(lane) = self.numbers.iter().position(Option::is_none) else { return false };
        self.progress[lane] = self.finders[lane].begin(body);
        self.numbers[lane] = Some(number);
        true
    }

    /// Goes on until one of the bodies is parsed: its number, and what it is. Nothing where none was given.
    #[inline(always)]
    pub fn next(&mut self, content: &Content) -> Option<(usize, Parsed<'_>)> {
        if self.numbers.iter().all(Option::is_some) {
            self.together(content);
        }
        let ended = |lane: &usize| self.numbers[*lane].is_some() && !self.progress[*lane].goes_on();
        let lane = match (0..LANES).find(ended) {
            Some(lane) => lane,
            None => {
                let lane = self.numbers.iter().position(Option::is_some)?;
                let (finder, progress) = (&mut self.finders[lane], &mut self.progress[lane]);
                while progress.goes_on() {
                    finder.step(content, progress);
                }
                lane
            }
        };
        let number = self.numbers[lane].take()?;
        Some((number, self.finders[lane].end(&self.progress[lane])))
    }

    /// Steps of all lanes, each part in turns, until one comes to its end. Closures would not be compiled for the
    /// processor that is here.
    #[inline(always)]
    fn together(&mut self, content: &Content) {
        let (finders, mut progress) = (&mut self.finders, self.progress);
        let mut goes_on = true;
        for lane in &progress {
            goes_on &= lane.goes_on();
        }
        while goes_on {
            let (mut candidates, mut best) = ([Default::default(); LANES], [Default::default(); LANES]);
            for lane in 0..LANES {
                candidates[lane] = finders[lane].look(content, &progress[lane]);
            }
            for lane in 0..LANES {
                best[lane] = finders[lane].best(content, &progress[lane], &candidates[lane]);
            }
            for lane in 0..LANES {
                finders[lane].take(content, &mut progress[lane], best[lane]);
                goes_on &= progress[lane].goes_on();
            }
        }
        self.progress = progress;
    }
}
