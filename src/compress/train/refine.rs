//! The content of a dictionary, by what our own encoder does with it: what is hardly used makes room for more, and what
//! is used most comes last, where references to it are shortest.

use bytes::Bytes;

use super::choose::Coverage;
use super::fit::Fit;
use super::shared::{Piece, Pool};
use super::text::{SEPARATOR, Text};

/// How often it is tried and put in order, and how often what is hardly used is left out. Tried: docs/dictionary.md.
const ROUNDS: usize = 8;
const WEEDINGS: usize = 6;
/// A piece is hardly used that is used so many times less, for its bytes, than the whole content.
const HARDLY: f32 = 24.0;

/// The content of a dictionary of at most `size` bytes, pieces of the pool, each behind a separator; and how the text
/// fits it. Nothing where that is too little to be of use.
pub fn refine(text: &Text, pool: &Pool, size: usize, stop: &dyn Fn() -> bool) -> Option<(Bytes, Fit)> {
    let mut coverage = Coverage::of(text, pool);
    let mut pieces: Vec<Piece> = Vec::new();
    for round in 0..ROUNDS {
        let left = size - pieces.iter().map(|piece| piece.length as usize + 1).sum::<usize>();
        // What nothing is known of yet stands in nobody's way in front.
        let new = coverage.fill(pool, left, stop)?;
        pieces = new.into_iter().rev().chain(pieces).collect();
        let fit = Fit::of(text, &content(pool, &pieces))?;
        if stop() {
            return None;
        }
        let hardly = match round < WEEDINGS {
            true => fit.uses.iter().sum::<u32>() as f32 / fit.uses.len() as f32 / HARDLY,
            false => 0.0,
        };
        pieces = in_order(&pieces, &fit, hardly);
    }
    let content = content(pool, &pieces);
    let fit = Fit::of(text, &content)?;
    Some((content, fit))
}

fn content(pool: &Pool, pieces: &[Piece]) -> Bytes {
    let mut content = Vec::new();
    for piece in pieces {
        content.push(SEPARATOR);
        content.extend_from_slice(piece.of(&pool.bytes));
    }
    content.into()
}

/// The pieces in the order of how often a byte of them is used, without those that are used less than `hardly`.
fn in_order(pieces: &[Piece], fit: &Fit, hardly: f32) -> Vec<Piece> {
    let mut rest = &fit.uses[..];
    let mut used: Vec<(f32, Piece)> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let (uses, behind) = rest.split_at(piece.length as usize + 1);
        rest = behind;
        let used_by_byte = uses.iter().sum::<u32>() as f32 / uses.len() as f32;
        if used_by_byte >= hardly {
            used.push((used_by_byte, *piece));
        }
    }
    used.sort_by(|one, other| one.0.total_cmp(&other.0));
    used.into_iter().map(|(_, piece)| piece).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Sample;
    use super::super::shared::shared;
    use super::*;

    #[test]
    fn what_is_used_most_comes_last_and_what_is_hardly_used_makes_room() {
        // Words of each customer's own keep the sentences apart.
        let own = |customer: u64, salt: u64| -> String {
            let mixed = (customer * 7 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (0..9).map(|at| char::from(b'a' + (mixed >> (7 * at)) as u8 % 26)).collect()
        };
        let body = |customer: u64| {
            let parcel = ["Das Paket ist noch nicht da.", "Where is my parcel by now?"][customer as usize % 2];
            let seldom = if customer < 20 { "Unsubscribe me from all of it!" } else { "" };
            let [one, other, last] = [1, 2, 3].map(|salt| own(customer, salt));
            format!("{one} {seldom} {other} {parcel} {last} This call may be recorded for training. {one}")
        };
        let bodies: Vec<String> = (0..2_000).map(body).collect();
        let samples: Vec<Sample<'_>> =
            (0..).zip(&bodies).map(|(customer, body)| Sample { customer, body: body.as_bytes() }).collect();
        let text = Text::of(samples.iter()).unwrap();
        let pool = shared(&text, 20, &|| false).unwrap();
        let refined = |size| String::from_utf8(refine(&text, &pool, size, &|| false).unwrap().0.into()).unwrap();
        let all = refined(1_000);
        let place = |words: &str| all.find(words).unwrap_or_else(|| panic!("{words} in {all}"));
        let parcels = ["Das Paket ist noch nicht da.", "Where is my parcel by now?"].map(place);
        assert!(parcels.iter().all(|parcel| *parcel < place("This call may be recorded")), "{all}");
        assert!(!all.contains("Unsubscribe me"), "a hundredth of the records: {all}");
        assert!(all.len() <= 1_000 && refined(100).len() <= 100);
        assert!(refine(&text, &pool, 12, &|| false).is_none());
    }
}
