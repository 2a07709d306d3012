//! Invented chats of about 0.9 KB, for machines without a corpus: seeded, nobody's, and as alike and as different as
//! the chats of one shop are.

use crate::corpus::{Numbers, Original};
use crate::records::{YEAR, YEAR_START};

const FIRST: &[&str] = &[
    "Amelia", "Anna", "Arthur", "Aylin", "Ben", "Carlos", "Chiara", "Daniel", "Elena", "Emma", "Fatima", "George",
    "Hannah", "Ines", "Jonas", "Kamal", "Laura", "Marco", "Nadia", "Oliver", "Priya", "Rosa", "Samuel", "Yusuf",
];
const LAST: &[&str] = &[
    "Adams", "Bauer", "Bianchi", "Carter", "Costa", "Dubois", "Evans", "Garcia", "Hansen", "Ivanova", "Jensen", "Khan",
    "Kowalski", "Lopez", "Meyer", "Moreau", "Nguyen", "Okafor", "Patel", "Ricci", "Schmidt", "Taylor", "Weber",
    "Young",
];
const THINGS: &[&str] = &[
    "wireless headphones",
    "coffee machine",
    "running shoes",
    "desk lamp",
    "rain jacket",
    "phone case",
    "blender",
    "bookshelf",
    "keyboard",
    "backpack",
    "monitor",
    "garden hose",
    "toaster",
    "yoga mat",
    "router",
    "suitcase",
];
const TROUBLES: &[&str] = &[
    "arrived with a crack across the front",
    "has not arrived although tracking says delivered",
    "was charged twice on my statement",
    "does not turn on any more",
    "is the wrong size and the wrong colour",
    "is missing two parts",
    "was promised for last week",
    "makes a loud noise after ten minutes",
    "came without the receipt that I need",
    "cannot be returned in the app, the button is grey",
];
const ANSWERS: &[&str] = &[
    "I am sorry to hear that. Let me look into this for you right away.",
    "Thank you for your patience, I have found the order in our system.",
    "I understand how inconvenient this is and will make it right today.",
    "For security reasons I need to confirm your details before I go on.",
    "I have opened a case with our warehouse, they answer within two working days.",
    "I can offer you a replacement or a full refund, whichever you prefer.",
    "The refund takes three to five working days to show on your statement.",
    "You will receive a label by e-mail; please drop the parcel at any shop.",
];
const REPLIES: &[&str] = &[
    "ok, and how long will that take?",
    "I would rather have the refund please",
    "no, I tried that twice already",
    "fine, send it to the same address",
    "this is the second time it happens, honestly",
    "great, thanks a lot",
    "can you confirm this by mail?",
    "yes that is correct",
    "I need it before the weekend",
    "alright then",
];

/// `count` chats of a quarter as many customers, in the order of their time.
pub fn originals(count: usize) -> Vec<Original> {
    (0..count).map(|index| original(index, count)).collect()
}

fn original(index: usize, count: usize) -> Original {
    let mut n = Numbers::new(0x7465_6e75_7265 ^ (index as u64).wrapping_mul(0xd134_2543_de82_ef95));
    let number = n.below(count / 4);
    let mut who = Numbers::new(number as u64);
    let name = format!("{} {}", who.pick(FIRST), who.pick(LAST));
    let order = format!("{:03}-{:07}", n.below(900) + 100, n.below(10_000_000));
    let mut turns = vec![
        ("agent", format!("Hello, you are chatting with {}. How can I help you?", n.pick(FIRST))),
        ("customer", format!("Hi, my {} {}. Order {order}, {name}.", n.pick(THINGS), n.pick(TROUBLES))),
    ];
    for _ in 0..2 + n.below(3) {
        turns.push(("agent", n.pick(ANSWERS).to_string()));
        turns.push(("customer", reply(number, &mut n)));
    }
    turns.push(("agent", format!("Thank you, {name}. Your reference is KX{:06}. Goodbye!", n.below(1_000_000))));
    let turns: Vec<String> =
        turns.iter().map(|(speaker, text)| format!("{{\"speaker\":\"{speaker}\",\"text\":\"{text}\"}}")).collect();
    let body = format!("{{\"id\":\"conv_{index}\",\"channel\":\"chat\",\"turns\":[{}]}}", turns.join(","));
    let at = YEAR_START + (index as i128 * i128::from(YEAR) / count as i128) as i64;
    Original { customer: format!("c-{number:06}"), at, body: body.into() }
}

fn reply(number: usize, n: &mut Numbers) -> String {
    let text = n.pick(REPLIES);
    match n.below(4) {
        0 => format!("{text}, call me on +49 40 {:07}", number * 6_131 % 10_000_000),
        1 => format!("{text}, it cost {}.{:02} EUR on {} May", n.below(400) + 9, n.below(100), n.below(30) + 1),
        _ => text.to_string(),
    }
}
