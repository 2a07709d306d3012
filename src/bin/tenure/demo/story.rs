//! How the demo is told: numbered steps on standard output, or one document of its figures for programs.

use serde_json::{Map, Value};

use crate::cli::Format;
use crate::failure::Failure;
use crate::output::Output;

/// The story so far.
pub struct Story<'a> {
    output: &'a mut Output,
    steps: u32,
    facts: Map<String, Value>,
}

impl<'a> Story<'a> {
    pub fn new(output: &'a mut Output) -> Self {
        Story { output, steps: 0, facts: Map::new() }
    }

    pub fn output(&self) -> &Output {
        self.output
    }

    fn is_told(&self) -> bool {
        self.output.format() == Format::Table
    }

    /// A line of its own. It is sent out at once: the next step may take a while.
    pub fn title(&mut self, text: &str) -> Result<(), Failure> {
        if self.is_told() {
            let gap = if self.steps == 0 { "" } else { "\n" };
            self.output.line(format_args!("{gap}{text}"))?;
            self.output.flush()?;
        }
        Ok(())
    }

    /// The heading of the next step.
    pub fn step(&mut self, title: &str) -> Result<(), Failure> {
        self.steps += 1;
        self.title(&format!("{}. {title}", self.steps))
    }

    /// One line within a step.
    pub fn tell(&mut self, text: &str) -> Result<(), Failure> {
        if self.is_told() {
            self.output.line(format_args!("   {text}"))?;
            self.output.flush()?;
        }
        Ok(())
    }

    /// Figures for programs.
    pub fn fact(&mut self, name: &str, value: Value) {
        self.facts.insert(name.to_string(), value);
    }

    /// The document, where a program is listening.
    pub fn end(self) -> Result<(), Failure> {
        match self.is_told() {
            true => Ok(()),
            false => self.output.document(Value::Object(self.facts)),
        }
    }
}
