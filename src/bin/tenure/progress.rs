//! A bar on standard error with rate and time left; nothing where standard error is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// Standard error while something long is under way: a bar, and messages that do not run into it.
pub struct Voice<'a> {
    output: &'a Output,
    bar: ProgressBar,
}

impl<'a> Voice<'a> {
    /// A bar over `total` bytes, or a running count where the total is not known.
    pub fn new(doing: &'static str, total: Option<u64>, output: &'a Output) -> Self {
        let target = match output.is_for_programs() {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr_with_hz(8),
        };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => {
                "{msg:24} [{bar:30}] {decimal_bytes:>10} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left"
            }
            None => "{msg:24} {spinner} {decimal_bytes:>10}  {decimal_bytes_per_sec}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is a constant");
        bar.set_style(style.progress_chars("=> "));
        bar.set_message(doing);
        bar.enable_steady_tick(Duration::from_millis(250));
        Voice { output, bar }
    }

    /// How far it has come, in bytes and in words.
    pub fn tick(&self, position: u64, words: String) {
        self.bar.set_position(position);
        self.bar.set_message(words);
    }

    /// The bar alone, which any thread may move.
    pub fn bar(&self) -> Bar {
        Bar(self.bar.clone())
    }

    /// A message for people.
    pub fn say(&self, words: impl std::fmt::Display) {
        self.bar.suspend(|| self.output.say(words));
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// The bar of a [`Voice`].
pub struct Bar(ProgressBar);

impl Bar {
    /// How far it has come, of how much.
    pub fn progress(&self, position: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(position);
    }
}

/// How many threads `--threads` asks for: zero is one per core.
pub fn threads(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        asked => asked,
    }
}
