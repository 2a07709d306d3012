//! Invented chats of about 0.9 KB, seeded and nobody's, with what a dictionary must not hold planted in them: every
//! customer has a name, an e-mail address, an account number, a word and a phrase that nobody else has, of 8 to 40
//! bytes, and comes back to them.

/// A record and whose it is.
pub struct Call {
    pub customer: u64,
    pub body: Vec<u8>,
}

const AGENTS: [&str; 12] =
    ["Amelia", "Arthur", "Aylin", "Carlos", "Elena", "George", "Hannah", "Kamal", "Nadia", "Oliver", "Priya", "Yusuf"];
const THINGS: [&str; 16] = [
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
const TROUBLES: [&str; 10] = [
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
const ANSWERS: [&str; 10] = [
    "I am sorry to hear that. Let me look into this for you right away.",
    "Thank you for your patience, I have found the order in our system.",
    "I understand how inconvenient this is and will make it right today.",
    "For security reasons I need to confirm your details before I go on.",
    "I have opened a case with our warehouse, they answer within two working days.",
    "I can offer you a replacement or a full refund, whichever you prefer.",
    "The refund takes three to five working days to show on your statement.",
    "You will receive a label by e-mail; please drop the parcel at any shop.",
    "Could you send me a photo of the damage, please? Any phone will do.",
    "I have noted that on your account, so that you need not explain it again.",
];
const REPLIES: [&str; 10] = [
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

/// A repeatable generator of numbers (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    /// From zero to just below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len() as u64) as usize]
    }

    fn letters(&mut self, count: u64) -> String {
        (0..count).map(|_| b"abcdefghijklmnopqrstuvwxyz"[self.below(26) as usize] as char).collect()
    }
}

/// What only one customer has.
pub struct Own {
    pub name: String,
    pub mail: String,
    pub account: String,
    pub word: String,
    pub phrase: String,
}

impl Own {
    pub fn of(customer: u64) -> Self {
        let mut n = Numbers(customer ^ 0x7065_7273_6f6e);
        let name = format!("{} {}", n.letters(4), n.letters(6));
        let mail = format!("{}.{}@{}.example", n.letters(5), n.letters(7), n.letters(6));
        let account: String = (0..18).map(|_| char::from(b'0' + n.below(10) as u8)).collect();
        let phrase: Vec<String> = [6, 7, 5, 8, 10].iter().map(|count| n.letters(*count)).collect();
        Own { name, mail, account: format!("DE{account}"), word: n.letters(8), phrase: phrase.join(" ") }
    }

    pub fn all(&self) -> [&str; 5] {
        [&self.name, &self.mail, &self.account, &self.word, &self.phrase]
    }
}

/// Customers who write often, and come back to a phrase of their own several times in each chat.
const LOUD: u64 = 20;

/// `count` chats of a quarter as many customers; one chat in sixteen is of somebody loud.
pub fn calls(count: u64) -> Vec<Call> {
    (0..count)
        .map(|index| {
            let mut n = Numbers(0x7465_6e75_7265 ^ index.wrapping_mul(0xd134_2543_de82_ef95));
            let customer = if n.below(16) == 0 { n.below(LOUD) } else { LOUD + n.below(count / 4) };
            Call { customer, body: chat(index, customer, &mut n).into_bytes() }
        })
        .collect()
}

fn chat(index: u64, customer: u64, n: &mut Numbers) -> String {
    let own = Own::of(customer);
    let order = format!("{:03}-{:07}", n.below(900) + 100, n.below(10_000_000));
    let mut turns = vec![
        ("agent", format!("Hello, you are chatting with {}. How can I help you?", n.pick(&AGENTS))),
        ("customer", format!("Hi, my {} {}. Order {order}, {}.", n.pick(&THINGS), n.pick(&TROUBLES), own.name)),
    ];
    for _ in 0..2 + n.below(3) {
        turns.push(("agent", n.pick(&ANSWERS).to_string()));
        turns.push(("customer", reply(customer, &own, n)));
    }
    turns.push(("agent", format!("Thank you, {}. Your reference is KX{:06}. Goodbye!", own.name, n.below(1_000_000))));
    let turns: Vec<String> =
        turns.iter().map(|(speaker, text)| format!("{{\"speaker\":\"{speaker}\",\"text\":\"{text}\"}}")).collect();
    format!("{{\"id\":\"conv_{index}\",\"channel\":\"chat\",\"turns\":[{}]}}", turns.join(","))
}

fn reply(customer: u64, own: &Own, n: &mut Numbers) -> String {
    let text = n.pick(&REPLIES);
    if customer < LOUD {
        return format!("{text}, {0}, {0}", own.phrase);
    }
    match n.below(16) {
        0 => format!("{text}, write to {}", own.mail),
        1 => format!("{text}, my account is {}", own.account),
        2 => format!("{text}, the word is {}", own.word),
        3 => format!("{text}, {}", own.phrase),
        4..=6 => format!("{text}, it cost {}.{:02} EUR on {} May", n.below(400) + 9, n.below(100), n.below(30) + 1),
        _ => text.to_string(),
    }
}
