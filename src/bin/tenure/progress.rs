//! A bar on standard error with rate and time left; nothing where standard error is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// A bar over `total` bytes, or a running count where the total is not known.
pub fn bar(total: Option<u64>, output: &Output) -> ProgressBar {
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
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
