//! What callers and agents say: data only. Words in braces are filled in by the corpus.

/// One reason to call: how it begins, what is asked and answered (agent, then customer), and how it ends.
pub struct Topic {
    pub subject: &'static str,
    pub openings: &'static [&'static str],
    pub exchanges: &'static [(&'static str, &'static str)],
    pub endings: &'static [&'static str],
}

pub const FIRST_NAMES: &[&str] = &[
    "Amelia", "Anna", "Arthur", "Aylin", "Beatrice", "Ben", "Carlos", "Chiara", "Chloe", "Daniel", "David", "Elena",
    "Emma", "Erik", "Fatima", "Finn", "George", "Grace", "Hannah", "Henry", "Ines", "Isaac", "Jana", "Jonas", "Julia",
    "Kamal", "Karin", "Kenji", "Laura", "Leon", "Lucia", "Marco", "Maria", "Mateusz", "Mia", "Mohammed", "Nadia",
    "Noah", "Oliver", "Olivia", "Paul", "Priya", "Rosa", "Samuel", "Sara", "Sofia", "Thomas", "Victor", "Yusuf", "Zoe",
];

pub const LAST_NAMES: &[&str] = &[
    "Adams",
    "Ahmed",
    "Andersson",
    "Bauer",
    "Bianchi",
    "Brown",
    "Campbell",
    "Carter",
    "Clark",
    "Costa",
    "Davies",
    "Dubois",
    "Evans",
    "Fischer",
    "Garcia",
    "Green",
    "Hall",
    "Hansen",
    "Harris",
    "Hughes",
    "Ivanova",
    "Jackson",
    "Jensen",
    "Johnson",
    "Jones",
    "Kaya",
    "Keller",
    "Khan",
    "Kowalski",
    "Lee",
    "Lewis",
    "Lopez",
    "Martin",
    "Meyer",
    "Moreau",
    "Murphy",
    "Nguyen",
    "Novak",
    "Okafor",
    "Patel",
    "Peeters",
    "Ricci",
    "Roberts",
    "Rossi",
    "Santos",
    "Schmidt",
    "Silva",
    "Smith",
    "Taylor",
    "Walker",
    "Weber",
    "White",
    "Wilson",
    "Wright",
    "Young",
];

pub const AGENTS: &[&str] =
    &["Maya", "Tom", "Ella", "Ravi", "Clara", "Luis", "Nora", "Sven", "Irene", "Omar", "Judy", "Pavel", "Wendy", "Ken"];

pub const PRODUCTS: &[&str] = &[
    "wireless headphones",
    "espresso machine",
    "hiking boots",
    "robot vacuum",
    "baby monitor",
    "electric kettle",
    "office chair",
    "winter jacket",
    "tablet",
    "desk lamp",
    "bread maker",
    "air purifier",
    "running watch",
    "suitcase",
    "garden hose",
    "bookshelf",
    "blender",
    "phone case",
    "mattress topper",
    "rice cooker",
    "bicycle helmet",
    "tent",
    "cordless drill",
    "sewing machine",
    "yoga mat",
    "photo printer",
    "router",
    "ski goggles",
    "toaster",
    "car seat",
];

pub const STREETS: &[&str] = &[
    "Mill Lane",
    "Station Road",
    "Church Street",
    "Park Avenue",
    "Harbour View",
    "Elm Street",
    "Garden Row",
    "High Street",
    "Kings Road",
    "Linden Way",
    "Orchard Close",
    "Bridge Street",
    "Maple Drive",
    "Queen Street",
    "Hill Crescent",
];

pub const CITIES: [&[&str]; 3] = [
    &["Hamburg", "Lyon", "Turin", "Gdansk", "Porto", "Ghent", "Graz", "Malmo", "Cork", "Valencia", "Utrecht", "Brno"],
    &["Leeds", "Bristol", "Cardiff", "Glasgow", "Norwich", "Exeter", "York", "Belfast", "Derby", "Brighton"],
    &["Austin", "Portland", "Columbus", "Denver", "Tampa", "Boise", "Albany", "Fresno", "Raleigh", "Omaha", "Tucson"],
];

pub const GREETINGS: &[&str] = &[
    "Good morning, thank you for calling, my name is {agent}. How can I help you today?",
    "Hello, you're through to customer care, this is {agent}. What can I do for you?",
    "Thanks for holding, this is {agent}. How may I help?",
    "Welcome back, {agent} speaking. What brings you to us today?",
    "Good afternoon, {agent} here. Tell me what happened and we'll sort it out.",
];

pub const CHECKS: &[(&str, &str)] = &[
    (
        "Before I look at your account, could you give me your full name and the order number, please?",
        "Sure, it's {name}, and the order is {order}.",
    ),
    ("May I have the phone number on the account, so that I can find it?", "That would be {phone}."),
    ("Could you confirm the e-mail address we have for you?", "Yes, {mail}. I got the confirmation there on {date}."),
    ("And what is the delivery address, please?", "{house} {street} in {city}, it's the same as always."),
    (
        "Which order is this about? I can see several on your account.",
        "The {product}, {order}, from {date}. It was {amount}.",
    ),
    ("Thank you, {first}. And the postcode, just to be safe?", "{postcode}. You ask me that every single time."),
];

pub const FILLERS: &[(&str, &str)] = &[
    (
        "One moment please, the system is a little slow this morning.",
        "No problem, I have a coffee in front of me anyway.",
    ),
    (
        "Thank you for your patience, I'm just reading the notes my colleague left.",
        "I already explained all of this to somebody on {date}, by the way.",
    ),
    (
        "I completely understand, that must have been frustrating.",
        "It is. I've been a customer for {years} years and this has never happened before.",
    ),
    ("Is this a good number to call you back on if we get cut off?", "Yes, {phone}, but please not before nine."),
    (
        "May I put you on hold for about two minutes while I ask the warehouse?",
        "All right, but please don't let me hang there for half an hour again.",
    ),
    (
        "I have written all of that down under the reference {ref}.",
        "Could you send me that by e-mail as well? I never find a pen when I need one.",
    ),
    ("Would you like the confirmation by e-mail or by text message?", "E-mail please, to {mail}."),
    (
        "Could you spell the street name for me?",
        "It's {street}, as you'd expect, number {house}, and we are in {city}.",
    ),
];

pub const THANKS: &[&str] = &[
    "That's great, thank you so much for your help, {agent}.",
    "Okay, thanks. Let's hope it works this time.",
    "Perfect, that was easier than I expected. Have a nice day!",
    "Fine. I'll call again if nothing has happened by {day}.",
    "Thank you, I'll keep an eye on my inbox.",
];

pub const GOODBYES: &[&str] = &[
    "You're very welcome, {first}. Is there anything else? No? Then have a lovely day.",
    "Thank you for calling, and sorry again for the trouble. Goodbye!",
    "My pleasure. You may get a short survey about this call; I'd be glad if you answered it. Bye!",
    "Thanks for your patience today, {first}. Take care.",
];

pub const TOPICS: &[Topic] = &[
    Topic {
        subject: "Where is my parcel {order}?",
        openings: &[
            "Hi, I ordered a {product} on {date} and it still hasn't arrived. The tracking has said 'out for delivery' for {n} days.",
            "My parcel is marked as delivered, but nobody here has seen it, and I was home all day.",
            "I'd like to know where my {product} is. I paid extra for next-day delivery and that was last {day}.",
        ],
        exchanges: &[
            (
                "I can see the parcel left our depot in {city} on {date}. Have you checked with your neighbours?",
                "I asked at number {n} and at the shop on the corner. Nobody has it.",
            ),
            (
                "The courier noted that nobody answered the door at {time}. Was anyone at home?",
                "That's simply not true, my partner was in the living room and the bell works.",
            ),
            (
                "There is a safe place on your account: behind the bins. Could it be there?",
                "I looked there twice, and it has been raining since {day}, so I hope it isn't.",
            ),
            (
                "I'm opening a trace with the courier now. That takes up to {n} working days.",
                "Another {n} days? It's a birthday present, and the birthday is on {day}.",
            ),
            (
                "The label seems to have been damaged in transit, so it went back to the depot.",
                "And nobody thought of telling me? I could have picked it up myself.",
            ),
            (
                "I could send a replacement today, at no cost, if you prefer that to waiting.",
                "Yes please, but to my office this time, so that somebody signs for it.",
            ),
        ],
        endings: &[
            "I've sent out a second {product} by express; it will be with you on {day}, and if the first one turns up, just keep the box closed and call us.",
            "The trace is open under {ref}. If it isn't found by {day}, we refund the full {amount} without another call from you.",
            "I have asked the depot to deliver it again on {day} between eight and twelve, and refunded the express fee.",
        ],
    },
    Topic {
        subject: "Refund for {order}",
        openings: &[
            "I sent back the {product} more than {n} weeks ago and I still don't have my money.",
            "You refunded me, but the wrong amount. It should have been {amount}, not a third of it.",
            "I'm calling about a refund. The shop said three to five days, and today is day {n}.",
        ],
        exchanges: &[
            (
                "I see the return was scanned at our warehouse on {date}. It is still waiting for inspection.",
                "What is there to inspect? I never even opened it.",
            ),
            (
                "The refund was issued to the card ending in {card}. Is that still your card?",
                "No, that one expired in spring. I told you so in the return form.",
            ),
            (
                "Return shipping of {fee} was deducted, because the reason given was a change of mind.",
                "I did not change my mind, the description was wrong! It says so in the first line.",
            ),
            (
                "Did you keep the receipt from the post office?",
                "Of course, the number on it is {ref}, posted on {date}.",
            ),
            (
                "Your bank may need another two or three days to show it.",
                "I called the bank this morning. They say nothing is on its way.",
            ),
            (
                "Would a voucher be acceptable instead? It would be there at once.",
                "No, thank you. I want back what I paid, the way I paid it.",
            ),
        ],
        endings: &[
            "I have released the refund of {amount} by hand; it will be on your account by {day} at the latest.",
            "I've corrected the reason and refunded the shipping of {fee} as well. You'll get the confirmation in a few minutes.",
            "As the old card is closed, accounts will send you a secure link today to enter another one. The reference is {ref}.",
        ],
    },
    Topic {
        subject: "My {product} is faulty",
        openings: &[
            "The {product} I bought in your shop stopped working after {n} weeks. It just blinks and does nothing.",
            "I've just unpacked the {product} and there is a crack right across the front.",
            "My {product} makes a terrible noise since {day}, and I'm a bit afraid of using it.",
        ],
        exchanges: &[
            (
                "Have you tried holding the button on the back for ten seconds?",
                "Yes, and the other one too, and I've tried a different socket in the kitchen.",
            ),
            (
                "Could you read me the serial number? It is on the silver label underneath.",
                "It's a bit small... {ref}, I think. The last one could also be a B.",
            ),
            ("Is there any sign of water or heat on it?", "No, it has been standing on the same shelf since {date}."),
            (
                "Could you send us a photo of the damage to the address in your confirmation mail?",
                "I've sent two of them on {date} from {mail}. Didn't they arrive?",
            ),
            (
                "It is within the two-year guarantee, so the repair is free of charge.",
                "I'd rather have a new one, to be honest. It's the second time with this model.",
            ),
            (
                "A technician could come by on {day}, between {time} and noon.",
                "That's fine, but he must ring at {street}, the entrance on the other side is closed.",
            ),
        ],
        endings: &[
            "I've ordered a replacement for you. Please hand the old {product} to the driver; no need to pack it.",
            "You'll get a return label by e-mail. The workshop needs about {n} working days, and you can follow it under {ref}.",
            "Since it's the second repair, I can refund the full {amount} instead. I've just done that.",
        ],
    },
    Topic {
        subject: "Charged twice: {amount}",
        openings: &[
            "There are two charges of {amount} on my statement for the same order.",
            "I was charged {amount} on {date} and I have no idea what for.",
            "Your shop took the money three times, but I only see one order on my account.",
        ],
        exchanges: &[
            (
                "I can see one payment and one authorisation. The second usually disappears by itself.",
                "It has been there for {n} days now, and my rent is due on {day}.",
            ),
            (
                "Do you share the card with anyone in the household?",
                "My daughter has used it once, but she says she bought nothing.",
            ),
            (
                "Could the charge be for the yearly membership? It was renewed on {date}.",
                "I cancelled that in the trial period. I even have the e-mail.",
            ),
            ("What are the last four digits of the card, please?", "{card}, valid for another year or so."),
            (
                "The payment page timed out on our side at {time}, and then you tried again, is that right?",
                "Yes, it told me that something went wrong and that I should try again, so I did.",
            ),
            ("Has your bank given you a reference for the charge?", "It only says your company and then {ref}."),
        ],
        endings: &[
            "I've voided the second charge. Your bank will show it as reversed by {day}.",
            "The membership is cancelled now and the {amount} is on its way back to the card ending in {card}.",
            "I have passed it on to our payments team under {ref}; they answer within {n} working days.",
        ],
    },
    Topic {
        subject: "I cannot sign in",
        openings: &[
            "I can't get into my account any more. It says the password is wrong, but I know it's right.",
            "I have a new phone and now your app wants a code that I never get.",
            "Somebody has changed the e-mail address of my account, and it wasn't me.",
        ],
        exchanges: &[
            ("When did you last sign in successfully?", "That must have been on {date}, when I ordered the {product}."),
            (
                "I'm sending a code to the number ending in {n}{n}. Please tell me when it arrives.",
                "Nothing yet... wait, now there are three of them at once.",
            ),
            (
                "I see attempts from another city. Have you been travelling?",
                "No, I've been at home in {city} the whole month.",
            ),
            (
                "Has anybody asked you for your password, on the phone or by e-mail?",
                "There was a strange mail on {day}, but I didn't click on anything. I think.",
            ),
            (
                "For your safety I've signed out all devices. You'll have to sign in again everywhere.",
                "That's all right, better safe than sorry.",
            ),
            (
                "Which browser are you using, and is it up to date?",
                "I really couldn't tell you. The blue one. My son installed it.",
            ),
        ],
        endings: &[
            "You're in again, and the second factor now goes to {phone}. Please choose a new password when the page asks for it.",
            "The address is set back to {mail} and nothing was ordered in the meantime. I've put a note on the account.",
            "I have sent you a link that works for an hour. With it you can register the new phone.",
        ],
    },
    Topic {
        subject: "Please cancel {order}",
        openings: &[
            "I'd like to cancel my order {order}. I clicked on buy twice by mistake.",
            "I need to change the delivery address of an order I placed on {date}, we are moving.",
            "I want to end my subscription, but the button in the app doesn't do anything.",
        ],
        exchanges: &[
            (
                "May I ask why you'd like to cancel? It helps us to get better.",
                "It's nothing personal, I found the same {product} for {fee} less.",
            ),
            (
                "The order is being packed right now. I can try to stop it, but I can't promise.",
                "Please do. I don't want to carry it back to the post office.",
            ),
            ("What is the new address?", "{house} {street}, {postcode} {city}. From the first of the month."),
            (
                "Your subscription runs until {date}. Shall I end it then or right away?",
                "At the end is fine, I've paid for it after all.",
            ),
            (
                "I could offer you three months at half the price if you stay.",
                "That's kind, but no. We simply don't use it any more.",
            ),
            (
                "Should the other parcel, with the {product}, go to the new address as well?",
                "Yes, everything, please. The old flat will be empty by {day}.",
            ),
        ],
        endings: &[
            "Done: the order is cancelled and {amount} goes back to your card within {n} days.",
            "The new address is on your account and on both open orders. You'll see it in the app in a minute.",
            "Your subscription ends on {date}. You'll get one last e-mail about it, to {mail}.",
        ],
    },
    Topic {
        subject: "No connection since {day}",
        openings: &[
            "Our internet has been down since {day}, and I work from home.",
            "The connection drops every evening at about {time}, and then I have to restart the {product}.",
            "We get a tenth of the speed that we pay for. I've measured it for {n} days.",
        ],
        exchanges: &[
            (
                "Which lights are on at the router?",
                "The first one is green, the second is orange and blinks, the third is dark.",
            ),
            (
                "I'm measuring your line from here. Please don't restart anything for a minute.",
                "All right. My neighbour at number {n} has the same problem, by the way.",
            ),
            (
                "There was work on the cabinet in {street} on {date}.",
                "I saw them! They left in a hurry at {time}, when it started to rain.",
            ),
            (
                "Have you tried it with a cable instead of the wireless network?",
                "I have, and it's the same. It isn't my computer, we have {n} of them.",
            ),
            (
                "The technician could come on {day} between eight and noon. Would somebody be there?",
                "I'd have to take half a day off, but yes. The name at the door is {name}.",
            ),
            (
                "I can put {n} gigabytes on your mobile so that you can work until then.",
                "That would help a lot, the number is {phone}.",
            ),
        ],
        endings: &[
            "The technician is booked for {day}; the reference is {ref}. He'll call you half an hour before.",
            "I've reset the port and I see a stable line now. If it drops again, the reference is {ref}, and you needn't explain again.",
            "You'll get {fee} off the next bill for the days without a connection, and the speed is measured again on {day}.",
        ],
    },
    Topic {
        subject: "Question about my bill of {date}",
        openings: &[
            "My bill is {amount} this month. It's normally less than half of that.",
            "I've received a reminder for a bill that I paid on {date}.",
            "I need an invoice with my company's name on it for the {product}.",
        ],
        exchanges: &[
            (
                "I see calls abroad on {date}, {n} minutes in total.",
                "That was my mother-in-law. She said it was free from our phone.",
            ),
            (
                "The discount for the first year ended on {date}; since then it's the normal price.",
                "Nobody told me. I would have changed the contract, {first} is not a name for a rich person.",
            ),
            (
                "Your payment of {amount} came without a reference, so the system couldn't place it.",
                "I always write the customer number in it. Always.",
            ),
            (
                "What should the invoice say exactly?",
                "{name} Trading, {house} {street}, {city}, please, and the tax number from the last one.",
            ),
            (
                "Shall I change you to the smaller plan? It would be {fee} less each month.",
                "If I can keep my number, {phone}, then yes.",
            ),
            ("I can stop the reminder while we look into it.", "Please do. It's not nice to get letters in red."),
        ],
        endings: &[
            "I've credited {fee} to your account, and the reminder is cancelled. The next bill will be normal.",
            "The new invoice is on its way to {mail}. It carries the same number with an A behind it.",
            "You're on the smaller plan from the first of next month, and your number stays.",
        ],
    },
];
