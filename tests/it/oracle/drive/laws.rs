//! A law is set: what keeps anything shorter is refused until somebody confirms it, what keeps all as long is not.

use tenure::{ErrorKind, Result};

use super::{Drive, Law};

impl Drive {
    /// Sets a law, first unconfirmed; `confirmed`, where that is refused.
    pub fn law(&mut self, text: &str, confirmed: bool) -> Result<()> {
        let law = Law::parse(text);
        match self.store().set_policy(text) {
            Err(error) if error.kind() == ErrorKind::Invalid => return Ok(()), // Rules that could not both be kept.
            Err(error) if error.kind() == ErrorKind::Refused => {
                assert!(!self.oracle.keeps_as_long(&law), "refused, although it keeps all as long: {error}\n{text}");
                match confirmed {
                    true => self.confirm(text)?,
                    false => return Ok(()),
                }
            }
            outcome => {
                assert!(
                    !self.oracle.shortens(&law),
                    "in force unconfirmed, although it keeps something shorter:\n{text}"
                );
                match outcome {
                    // It was about to be written; whether it was by half or wholly, it is said again.
                    Err(_) if self.sim.crashed() => {
                        self.revive();
                        self.confirm(text)?;
                    }
                    outcome => drop(outcome?),
                }
            }
        }
        self.oracle.law = law;
        Ok(())
    }

    fn confirm(&mut self, text: &str) -> Result<()> {
        match self.store().set_policy_confirmed(text, "the law has changed") {
            Err(_) if self.sim.crashed() => {
                self.revive();
                self.confirm(text)
            }
            outcome => outcome.map(drop),
        }
    }

    /// Lifts one maximum of the law in force.
    pub fn lift_maximum(&mut self, index: usize) -> Result<()> {
        let text = self.store().policy().text;
        let is_maximum = |line: &str| line.starts_with("keep_at_most");
        let maxima = text.lines().filter(|line| is_maximum(line)).count();
        let mut number = 0;
        let stays = |line: &&str| {
            number += usize::from(is_maximum(line));
            !is_maximum(line) || number - 1 != index % maxima
        };
        let milder: Vec<&str> = text.lines().filter(stays).collect();
        let milder = milder.join("\n");
        assert!(self.oracle.keeps_as_long(&Law::parse(&milder)), "it keeps nothing shorter");
        self.law(&milder, false)
    }
}
