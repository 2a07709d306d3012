//! Windows on segments: the parts that a reader read last.

use crate::error::Result;
use crate::segment::{Run, Segment};
use crate::sync::Arc;

/// Parts of segments that were read last, for as many segments at most; of the others runs are read anew.
const WINDOWS: usize = 16;
/// How far a window reaches at most.
const WINDOW_BYTES: u64 = 256 << 10;
/// What is passed over rather than beginning anew.
const GAP_BYTES: u64 = 8 << 10;

/// What was read of segments last: a run that is asked for again is not read again, and where runs are asked for in
/// their order what lies behind one is read with it.
#[derive(Default)]
pub struct Windows(Vec<Window>);

struct Window {
    segment: Arc<Segment>,
    start: u64,
    end: u64,
    bytes: Vec<u8>,
    ahead: u64,
}

impl Windows {
    /// The frames of a run; with `ahead`, from a window that reaches the further the more of it was wanted lately.
    ///
    /// # Errors
    /// As [`Segment::read_ahead`].
    pub fn get(&mut self, segment: &Arc<Segment>, run: &Run, ahead: bool) -> Result<&[u8]> {
        let window = self.of(segment);
        if run.offset < window.start || run.offset + run.bytes > window.end {
            let is_near = run.offset >= window.start && run.offset <= window.end + GAP_BYTES && window.end > 0;
            window.ahead = match ahead && is_near {
                true => (window.ahead * 2).clamp(4 * GAP_BYTES, WINDOW_BYTES),
                false => 0,
            };
            (window.start, window.end) = (0, 0);
            segment.read_ahead(run, window.ahead, &mut window.bytes)?;
            (window.start, window.end) = (run.offset, run.offset + window.bytes.len() as u64);
        }
        let from = (run.offset - window.start) as usize;
        Ok(&window.bytes[from..from + run.bytes as usize])
    }

    /// The window of a segment. Cells come by partition, so that one of another partition's is over.
    fn of(&mut self, segment: &Arc<Segment>) -> &mut Window {
        let Windows(windows) = self;
        if let Some(known) = windows.iter().position(|window| Arc::ptr_eq(&window.segment, segment)) {
            return &mut windows[known];
        }
        let over = windows.iter().position(|window| window.segment.partition() != segment.partition());
        let over = over.or_else(|| (windows.len() >= WINDOWS).then_some(WINDOWS - 1));
        let bytes = over.map(|over| windows.swap_remove(over).bytes).unwrap_or_default();
        windows.push(Window { segment: segment.clone(), start: 0, end: 0, bytes, ahead: 0 });
        windows.last_mut().expect("it was just put there")
    }
}
