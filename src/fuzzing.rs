//! What the fuzz targets call: one thin function for each decoder. Built only for fuzzing.
//!
//! Checksums are computed into the input before it is decoded, since no fuzzer guesses one; an odd first byte leaves
//! the input as it is. Beyond never panicking, each function asks that what is accepted encodes to the same bytes.

use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::compress::{Compressor, Dictionary, Sample, Training, decompress, read_tables, train};
use crate::crypto::{Key, Sealer, Signer, TAG_BYTES, sha256};
use crate::format::access;
use crate::format::bytes::Malformed;
use crate::format::dictionary::DictionaryView;
use crate::format::frame::{FRAME_OVERHEAD, FrameHead, FrameView, Frames};
use crate::format::group::{GROUP_HEADER_BYTES, GROUP_MAGIC, GroupHead, GroupView};
use crate::format::hint::Hint;
use crate::format::journal::{JOURNAL_HEAD_BYTES, JOURNAL_MAGIC, JournalHead};
use crate::format::keyring::{EntryBody, LogFrame, LogHead};
use crate::format::keyring_column::{AgendaItem, Column, NOTE_CELLS_LIMIT, ScrubNote};
use crate::format::keyring_entry::CustomerEntry;
use crate::format::keyring_hold::HoldEntry;
use crate::format::keyring_root::{OpeningIntent, RootRecord, RootSlot};
use crate::format::keyring_tree::{Crown, Inner, decode_leaf, encode_inner, encode_leaf};
use crate::format::lease::Lease;
use crate::format::ledger::{Commit, Fact, Header, Snapshot};
use crate::format::manifest::{CHUNK_BYTES, Manifest};
use crate::format::mark::Mark;
use crate::format::note::{Checkpoint, Proof, PublicKey};
use crate::format::plain::{Plain, Prefix};
use crate::format::request::{Answer, Request, RequestHead, SealedRequest};
use crate::format::segment::{
    BLOCK_ENTRIES, Block, IndexEntry, SEGMENT_HEAD_BYTES, SEGMENT_MAGIC, SegmentHead, Summary, TRAILER_BYTES, Trailer,
    Widths, decode_sparse, encode_block, encode_sparse,
};
use crate::ident::{Handle, StoreId};
use crate::window::Timestamp;

/// The input without its first byte, and whether its checksums are to be made right.
fn choose(data: &[u8]) -> Option<(Vec<u8>, bool)> {
    let (first, rest) = data.split_first()?;
    Some((rest.to_vec(), first % 2 == 0))
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}

/// Puts the CRC of all that follows the first four bytes into them.
fn crc_in_front(bytes: &mut [u8]) {
    if let Some((crc, rest)) = bytes.split_first_chunk_mut::<4>() {
        *crc = crc32fast::hash(rest).to_le_bytes();
    }
}

/// Puts the CRC of all that precedes the last four bytes into them.
fn crc_at_end(bytes: &mut [u8]) {
    if let Some((rest, crc)) = bytes.split_last_chunk_mut::<4>() {
        *crc = crc32fast::hash(rest).to_le_bytes();
    }
}

/// Makes one frame of the front of `bytes`, as long as its length field says within bounds, and returns its length.
fn mend_frame(bytes: &mut [u8]) -> Option<usize> {
    let claimed = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
    let room = bytes.len().checked_sub(FRAME_OVERHEAD)?;
    let length = FRAME_OVERHEAD + claimed % (room + 1);
    bytes[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    bytes[8] = 1 + bytes[8] % 5;
    bytes[9] = 0;
    crc_in_front(&mut bytes[..length]);
    Some(length)
}

/// A frame, and a record's plaintext.
pub fn frame(data: &[u8]) {
    let Some((mut bytes, mend)) = choose(data) else { return };
    if let Ok(plain) = Plain::decode(&bytes) {
        let Plain { at, raw_length, kind, id, original, compressed, large, amends, since, body } = plain;
        let mut again = Vec::new();
        Prefix { at, raw_length, kind, id, original, compressed, large, amends, since }.encode(&mut again);
        again.extend_from_slice(body);
        assert_eq!(again, bytes);
        if let Ok(manifest) = Manifest::decode(body) {
            assert_eq!(manifest.encode(), body);
            assert_eq!(manifest.chunks().count() as u64, manifest.length.div_ceil(CHUNK_BYTES.into()));
        }
    }
    if mend {
        mend_frame(&mut bytes);
    }
    if let Ok(view) = FrameView::parse(&bytes) {
        assert_eq!(FrameView::peek_length(&bytes), Ok(view.length()));
        // Behind another frame of its cell it comes out of a segment as it went in.
        let head = view.head();
        let other = FrameHead { opening: head.opening ^ 1, ..*head };
        let earlier = FrameHead { sequence: head.sequence.saturating_sub(1), ..*head };
        for before in [None, Some(head), Some(&other), Some(&earlier)] {
            let mut stored = Vec::new();
            view.store_header(before, &mut stored);
            stored.extend_from_slice(view.sealed());
            let again = FrameView::parse_stored(before, &stored).map(|again| *again.head());
            assert_eq!(again, Ok(*head));
        }
    }
    assert!(Frames::new(&bytes).count() <= bytes.len() / FRAME_OVERHEAD + 1);
    assert!(Frames::in_segment(&bytes).count() <= bytes.len() / TAG_BYTES + 1);
}

/// Bodies that are compressed with a dictionary come back, whatever the dictionary is: its content is the input's, and half
/// of the time its tables are damaged.
pub fn compression(data: &[u8]) {
    static TABLES: OnceLock<Vec<u8>> = OnceLock::new();
    let Some((bytes, given)) = choose(data) else { return };
    let Some((&cut, rest)) = bytes.split_first() else { return };
    let (dictionary, bodies) = rest.split_at(usize::from(cut).min(rest.len()));
    let tables = TABLES.get_or_init(|| {
        let chat = |n: u64| -> String { (0..20).map(|at| format!("order {} of {n}, ", n * at % 31)).collect() };
        let chats: Vec<(u64, String)> = (0..40).map(|n| (n, chat(n))).collect();
        let samples: Vec<_> =
            chats.iter().map(|(customer, chat)| Sample { customer: *customer, body: chat.as_bytes() }).collect();
        let trained = train(&samples, &Training { k: 2, size: 2_048 }, &|| false);
        trained.expect("it is trained the same every time").dictionary.bytes().to_vec()
    });
    let mut front = tables.clone();
    if !given {
        front[8..].iter_mut().zip(dictionary).for_each(|(byte, flip)| *byte ^= flip);
    }
    // First by itself: zstd refuses most headers that are damaged.
    read_tables(&front);
    read_tables(&[&front[..8], bodies].concat());
    let Ok(dictionary) = Dictionary::new([&front, dictionary].concat()) else { return };
    let (one, other) = bodies.split_at(bodies.len() / 2);
    let mut compressor = Compressor::default();
    let bodies = [one, other, bodies, other];
    let mut stored = bodies.map(|_| None);
    let mut run = compressor.run(&bodies, Some(&dictionary));
    while let Some((n, body)) = run.next() {
        let mut bytes = Vec::new();
        stored[n] = Some((body.append_to(&mut bytes), bytes));
    }
    for (body, stored) in bodies.into_iter().zip(stored) {
        let (compressed, bytes) = stored.expect("each body comes out");
        match compressed {
            true => assert_eq!(decompress(&bytes, body.len(), Some(&dictionary)).as_deref(), Ok(body)),
            false => assert_eq!(bytes, body),
        }
        let mut alone = Vec::new();
        assert_eq!(compressor.store(body, Some(&dictionary)).append_to(&mut alone), compressed);
        assert_eq!(alone, bytes);
    }
}

/// A group, and the head of a journal file.
pub fn group(data: &[u8]) {
    let Some((mut bytes, mend)) = choose(data) else { return };
    if mend {
        mend_group(&mut bytes);
    }
    if let Ok(view) = GroupView::parse(&bytes) {
        let head = *view.head();
        assert_eq!(GroupHead::decode(&bytes), Ok(head));
        assert_eq!(view.bytes().len(), head.total_length);
        let mut frames = 0;
        for run in view.runs() {
            let found: Vec<_> = run.frames().collect();
            assert_eq!(found.len(), run.head.count as usize);
            frames += run.head.count;
        }
        assert_eq!((frames, view.sources().count()), (head.frames, head.sources as usize));
    }
    if mend {
        bytes.resize(JOURNAL_HEAD_BYTES, 0);
        put(&mut bytes, 0, &JOURNAL_MAGIC);
        crc_at_end(&mut bytes);
    }
    if let Some(head) = bytes.first_chunk()
        && let Ok(decoded) = JournalHead::decode(head)
    {
        assert_eq!(decoded.encode(), *head);
    }
}

/// A header of few runs and sources before the rest, which becomes frames of the first run.
fn mend_group(bytes: &mut Vec<u8>) {
    if bytes.len() < GROUP_HEADER_BYTES {
        return;
    }
    let (runs, sources) = (usize::from(bytes[20] % 4), usize::from(bytes[24] % 4));
    let header = GROUP_HEADER_BYTES + runs * 36 + sources * 24;
    if bytes.len() < header {
        return;
    }
    let (mut end, mut frames) = (header, 0u32);
    while runs > 0
        && let Some(length) = mend_frame(&mut bytes[end..])
    {
        end += length;
        frames += 1;
    }
    bytes.truncate(end);
    put(bytes, 0, &GROUP_MAGIC);
    for (at, field) in [(8, header), (12, end), (16, frames as usize), (20, runs), (24, sources), (28, 0)] {
        put(bytes, at, &(field as u32).to_le_bytes());
    }
    if runs == 1 {
        put(bytes, GROUP_HEADER_BYTES + 8, &frames.to_le_bytes());
        put(bytes, GROUP_HEADER_BYTES + 20, &((end - header) as u64).to_le_bytes());
    }
    let crc = crc32fast::hash(&bytes[8..header]);
    put(bytes, 4, &crc.to_le_bytes());
}

/// The parts of a segment around its frames: the second byte says which.
pub fn segment(data: &[u8]) {
    let Some((bytes, mend)) = choose(data) else { return };
    let Some((part, bytes)) = bytes.split_first() else { return };
    let mut bytes = bytes.to_vec();
    match part % 5 {
        0 => segment_head(&mut bytes, mend),
        1 => {
            if mend {
                crc_at_end(&mut bytes);
            }
            let widest = [(u64::MAX, u32::MAX), (1, 1)];
            for (bytes_of, count) in widest {
                let handle = Handle::from_bytes([0; 16]);
                let widths = Widths::of(&[IndexEntry { handle, offset: 0, bytes: bytes_of, count }]);
                let block = Block::decode(&bytes, widths);
                if let Ok(entries) = block.and_then(|block| block.entries().collect::<Result<Vec<_>, _>>())
                    && entries.len() <= BLOCK_ENTRIES
                {
                    let mut again = Vec::new();
                    encode_block(&entries, widths, &mut again);
                    assert_eq!(again, bytes);
                }
            }
        }
        2 => {
            if mend {
                crc_at_end(&mut bytes);
            }
            if let Ok(firsts) = decode_sparse(&bytes) {
                let mut again = Vec::new();
                encode_sparse(&firsts, &mut again);
                assert_eq!(again, bytes);
            }
        }
        3 => summary(&mut bytes, mend),
        _ => {
            let Some(trailer) = bytes.first_chunk_mut::<TRAILER_BYTES>() else { return };
            if mend {
                let crc = crc32fast::hash(&trailer[..44]);
                put(trailer, 44, &crc.to_le_bytes());
                put(trailer, 48, &SEGMENT_MAGIC);
            }
            let offset = u64::from_le_bytes(std::array::from_fn(|index| trailer[index]));
            let length = u64::from(u32::from_le_bytes(std::array::from_fn(|index| trailer[8 + index])));
            let file = offset.wrapping_add(length).wrapping_add(TRAILER_BYTES as u64);
            if let Ok(decoded) = Trailer::decode(trailer, file) {
                assert_eq!(decoded.encode(), *trailer);
            }
        }
    }
}

fn segment_head(bytes: &mut Vec<u8>, mend: bool) {
    if mend && bytes.len() >= SEGMENT_HEAD_BYTES {
        let salts = (bytes.len() - SEGMENT_HEAD_BYTES) / 20;
        bytes.truncate(SEGMENT_HEAD_BYTES + salts * 20);
        put(bytes, 0, &SEGMENT_MAGIC);
        put(bytes, 112, &(salts as u32).to_le_bytes());
        put(bytes, 116, &[0; 4]);
        let crc = crc32fast::hash(bytes);
        put(bytes, 116, &crc.to_le_bytes());
    }
    if let Ok(head) = SegmentHead::decode(bytes) {
        assert!(bytes.starts_with(&head.encode()) && head.encode().len() == head.length());
    }
}

fn summary(bytes: &mut [u8], mend: bool) {
    if mend {
        crc_in_front(bytes);
    }
    // The file is as long as the summary says, where that can be said without overflow, or as long as one field.
    let field = |at: usize| bytes.get(at..at + 8).and_then(|field| field.try_into().ok()).map_or(0, u64::from_le_bytes);
    let (frames, handles) = (field(16).wrapping_add(field(24)), field(40));
    let width = |at: usize| u64::from(bytes.get(at).copied().unwrap_or(0));
    let entry = 16 + width(12) + width(13);
    let footer = handles.wrapping_mul(entry).wrapping_add(handles.div_ceil(64).wrapping_mul(28)).wrapping_add(4);
    for before in [frames.wrapping_add(footer), frames, u64::MAX] {
        if let Ok(summary) = Summary::decode(bytes, before) {
            let mut again = Vec::new();
            summary.encode(&mut again);
            assert!(again == *bytes && summary.offset() == before);
        }
    }
}

/// A frame of the keyring's log, its head, and the plaintexts of nodes.
pub fn keyring_node(data: &[u8]) {
    let Some((bytes, mend)) = choose(data) else { return };
    if let Ok(node) = Inner::decode(Zeroizing::new(bytes.clone())) {
        assert_eq!(*encode_inner(&node.children().collect::<Vec<_>>()), bytes);
        let found = (0..node.count()).map(|index| node.index_of(&node.first(index)));
        assert!(found.eq(0..node.count()));
    }
    if let Ok(items) = decode_leaf(Zeroizing::new(bytes.clone())) {
        assert_eq!(*encode_leaf(&items), bytes);
    }
    if let Ok(crown) = Crown::decode(&bytes) {
        assert_eq!(*crown.encode(), bytes);
    }
    if let Ok(record) = RootRecord::decode(&bytes) {
        assert_eq!(*record.encode(), bytes);
    }
    let mut framed = bytes.clone();
    if mend && framed.len() >= 12 {
        let length = framed.len() as u32;
        put(&mut framed, 4, &length.to_le_bytes());
        put(&mut framed, 10, &[0; 2]);
        crc_in_front(&mut framed);
    }
    if let Ok((_, length)) = LogFrame::parse(&framed) {
        assert!(length <= framed.len());
    }
    let mut whole = bytes;
    if mend {
        crc_at_end(&mut whole);
    }
    let _: (Result<_, Malformed>, Result<_, Malformed>) = (LogHead::decode(&whole), RootSlot::decode(&whole));
    let _ = OpeningIntent::decode(&whole);
}

/// The plaintexts of keyring entries.
pub fn keyring_entry(data: &[u8]) {
    let _ = EntryBody::decode(data);
    if let Ok(entry) = CustomerEntry::decode(data) {
        assert_eq!(entry.encode().as_deref(), Some(data));
    }
    if let Ok(column) = Column::decode(data) {
        assert_eq!(column.encode().as_deref(), Some(data));
    }
    if let Ok(hold) = HoldEntry::decode(data) {
        assert_eq!(&*hold.encode(), data);
    }
    if let Ok(note) = ScrubNote::decode(data)
        && note.cells.len() <= NOTE_CELLS_LIMIT
    {
        assert_eq!(&*note.encode(), data);
    }
    if let Ok(item) = AgendaItem::decode(data) {
        assert_eq!(&*item.encode(), data);
    }
}

/// A leaf of the ledger: first its kind, then its payload; and the commits, heads and snapshots that leaves stand in.
pub fn ledger_leaf(data: &[u8]) {
    let Some((kind, payload)) = data.split_first() else { return };
    if let Ok(Some(fact)) = Fact::decode(*kind, payload) {
        let mut again = Vec::new();
        fact.encode(&mut again);
        assert_eq!((fact.kind(), &*again), (*kind, payload));
    }
    if let Ok(snapshot) = Snapshot::decode(payload) {
        assert_eq!(snapshot.encode(), payload);
    }
    let store = StoreId::from_bytes([7; 16]);
    let mut commit = data.to_vec();
    if commit.len() >= 8 {
        let length = commit.len() as u32;
        put(&mut commit, 4, &length.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(store.as_bytes());
        hasher.update(&commit[4..]);
        put(&mut commit, 0, &hasher.finalize().to_le_bytes());
    }
    if let Ok(leaves) = Commit::parse(&commit, &store).and_then(|commit| commit.leaves()) {
        leaves.iter().for_each(|leaf| drop(leaf.fact()));
    }
    let _ = Commit::any_after(data, &store, 0);
    let mut head = data.to_vec();
    crc_at_end(&mut head);
    let _ = Header::decode(&head);
}

/// What a proof of a receipt is read from: leaves of any kinds, in any order. The first byte of each is its length.
pub fn receipt(data: &[u8]) {
    let (mut rest, mut facts) = (data, Vec::new());
    while let Some((length, more)) = rest.split_first() {
        let (leaf, more) = more.split_at(usize::from(*length).min(more.len()));
        rest = more;
        let Some((kind, payload)) = leaf.split_first() else { continue };
        if let Ok(Some(fact)) = Fact::decode(*kind, payload) {
            facts.push((Timestamp::from_micros(facts.len() as i64), fact));
        }
    }
    let Some((_, Fact::Intended { number, .. })) = facts.first() else { return };
    let told = crate::ops::receipt::from_facts(*number, &facts);
    assert!(told.is_none_or(|told| told.number == *number && !told.stage().is_empty()));
}

/// The small files by which processes find each other: leases, requests (as they lie there, and what one says once it is
/// opened), answers, the durable position, and the mark of a store. The second byte says which magic is put in front.
pub fn beside(data: &[u8]) {
    let Some((bytes, mend)) = choose(data) else { return };
    let Some((part, bytes)) = bytes.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if let Ok(text) = Mark::decode(&bytes) {
        assert_eq!(text.encode().as_bytes(), bytes);
    }
    request(&bytes);
    if mend {
        let magics: [&[u8; 8]; 4] = [b"TNRLEAS\0", b"TNRREQU\0", b"TNRANSW\0", b"TNRDURA\0"];
        put(&mut bytes, 0, magics[usize::from(part % 4)]);
        match part % 4 {
            0 | 1 => put(&mut bytes, 8, &[0; 8]),
            2 => [8, 9, 11, 12, 13, 14, 15].into_iter().for_each(|at| put(&mut bytes, at, &[0])),
            _ => {}
        }
        crc_at_end(&mut bytes);
    }
    if let Ok(lease) = Lease::decode(&bytes) {
        assert_eq!(lease.encode(), bytes);
    }
    if let Ok(answer) = Answer::decode(&bytes) {
        assert_eq!(answer.encode(), bytes);
    }
    if let Ok(hint) = Hint::decode(&bytes) {
        assert_eq!(hint.encode(), bytes);
    }
    if let Ok(dictionary) = DictionaryView::parse(&bytes) {
        assert_ne!(dictionary.head().dictionary, 0);
    }
    let wrong = Sealer::new(&Key::take(&mut [1; 32]));
    assert!(!SealedRequest::parse(&bytes).is_ok_and(|sealed| sealed.open(&wrong).is_ok()), "a forged request");
}

/// What is asked, as whoever has the key may write it.
fn request(plain: &[u8]) {
    let Ok(request) = Request::decode(plain) else { return };
    let sealer = Sealer::new(&Key::take(&mut [2; 32]));
    let head = RequestHead { store: StoreId::from_bytes([7; 16]), epoch: 1, until: Timestamp::from_micros(0) };
    let sealed = request.seal(&head, &sealer, &[0; 12]);
    let parsed = SealedRequest::parse(&sealed).expect("what was sealed is read");
    assert_eq!((parsed.head, parsed.open(&sealer)), (head, Ok(request)));
}

/// A note around any text, signed: it opens as what it says, or not at all, and a witness below changes nothing.
fn signed(text: &str) {
    let signer = Signer::from_seed(&Key::take(&mut [3; 32]));
    let key = PublicKey::of(&StoreId::from_bytes([7; 16]), signer.public());
    let (head, length) = (sha256(text.as_bytes()), text.len() as u64);
    let checkpoint = Checkpoint { origin: key.name().to_owned(), length, head };
    let note = checkpoint.sign(&key, &signer);
    assert_eq!(Checkpoint::open(&note, &key).as_ref(), Ok(&checkpoint));
    if let Ok(opened) = Checkpoint::open(&format!("{note}{text}"), &key) {
        assert_eq!(opened, checkpoint);
    }
    if let Ok(opened) = Checkpoint::open(&format!("{text}{note}"), &key) {
        assert_eq!(opened, checkpoint);
    }
}

/// The head and the entries of an access log, the key of a month, and the texts that are shown to others.
pub fn access(data: &[u8]) {
    let Some((mut bytes, mend)) = choose(data) else { return };
    if let Ok(entry) = access::Entry::decode(&bytes) {
        assert_eq!(*entry.encode(), bytes);
    }
    if let Ok(key) = access::MonthKey::decode(&bytes) {
        assert_eq!(key.encode()[..], bytes[..]);
    }
    if let Ok(text) = std::str::from_utf8(&bytes) {
        if let Ok(proof) = Proof::parse(text) {
            assert_eq!(proof.encode(), text);
        }
        if let Ok(key) = PublicKey::parse(text) {
            assert_eq!(key.to_string(), text);
        }
        let key = PublicKey::of(&StoreId::from_bytes([7; 16]), [1; 32]);
        assert!(Checkpoint::open(text, &key).is_err(), "no fuzzer signs");
        signed(text);
    }
    bytes.truncate(access::HEAD_BYTES);
    if mend {
        put(&mut bytes, 0, &access::MAGIC);
        crc_at_end(&mut bytes);
    }
    if let Ok(head) = access::Head::decode(&bytes) {
        assert_eq!(head.encode(), bytes);
    }
}
