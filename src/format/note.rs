//! What is shown to others: checkpoints (c2sp.org/tlog-checkpoint) in signed notes (c2sp.org/signed-note), and the file
//! of a proof. Text, so that public tools read it. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::bytes::Malformed;
use crate::crypto::{Digest, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Signer, hex, sha256, verify_signature};
use crate::ident::StoreId;

/// The longest text that is looked at.
pub const NOTE_LIMIT: usize = 64 << 10;
/// The longest file of a proof.
pub const PROOF_LIMIT: usize = 64 << 20;

/// What a signature of Ed25519 is called in a signed note.
const ALGORITHM: u8 = 1;
/// What a signature line begins with: an em dash and a space.
const DASH: &str = "\u{2014} ";
const PROOF_LINE: &str = "tenure-proof@v0";

/// A public key with the name it signs under, as `tenure/<store>+<hash>+<key>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: [u8; PUBLIC_KEY_BYTES],
}

impl PublicKey {
    /// The key of a store.
    pub fn of(store: &StoreId, key: [u8; PUBLIC_KEY_BYTES]) -> Self {
        PublicKey { name: origin(store), key }
    }

    /// The name it signs under, which is the origin of its checkpoints.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of a hash over name and key.
    fn hash(&self) -> [u8; 4] {
        let full = sha256(&[self.name.as_bytes(), b"\n", &[ALGORITHM], &self.key].concat());
        std::array::from_fn(|index| full[index])
    }

    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let wrong = Malformed("it is not a public key of the form NAME+HASH+KEY");
        // The key's own base64 may hold a plus sign; a name never does.
        let (name, rest) = text.split_once('+').ok_or(wrong)?;
        let (hash, key) = rest.split_once('+').ok_or(wrong)?;
        let bytes = decoded(key).map_err(|_| wrong)?;
        let (algorithm, key) = bytes.split_first().ok_or(wrong)?;
        let key = PublicKey { name: name.to_owned(), key: key.try_into().map_err(|_| wrong)? };
        match *algorithm == ALGORITHM && is_name(name) && hex(&key.hash()) == hash {
            true => Ok(key),
            false => Err(wrong),
        }
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = BASE64.encode([&[ALGORITHM], &self.key[..]].concat());
        write!(f, "{}+{}+{key}", self.name, hex(&self.hash()))
    }
}

/// Bytes from the one way of spelling them.
fn decoded(text: &str) -> Result<Vec<u8>, Malformed> {
    BASE64.decode(text).map_err(|_| Malformed("it is not base64 as it is spelled here"))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+')
}

/// What the ledger of a store is called.
pub fn origin(store: &StoreId) -> String {
    format!("tenure/{store}")
}

/// How long a ledger was, and its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose.
    pub origin: String,
    /// How many leaves.
    pub length: u64,
    /// The Merkle tree hash over them.
    pub head: Digest,
}

impl Checkpoint {
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.length, BASE64.encode(self.head))
    }

    /// The signed note.
    pub fn sign(&self, key: &PublicKey, signer: &Signer) -> String {
        let text = self.text();
        let signature = [&key.hash()[..], &signer.sign(text.as_bytes())].concat();
        format!("{text}\n{DASH}{} {}\n", key.name, BASE64.encode(&signature))
    }

    /// Reads a signed note that `key` has signed. Others, witnesses say, may have signed it too.
    pub fn open(note: &str, key: &PublicKey) -> Result<Self, Malformed> {
        if note.len() > NOTE_LIMIT {
            return Err(Malformed("it is too long for a checkpoint"));
        }
        let (text, signatures) =
            note.rsplit_once("\n\n").ok_or(Malformed("it is not a signed note: text, an empty line, signatures"))?;
        let signatures = signatures.strip_suffix('\n').ok_or(Malformed("a signed note ends with the end of a line"))?;
        let text = format!("{text}\n");
        let mut signed = false;
        for line in signatures.split('\n') {
            let (name, signature) = line
                .strip_prefix(DASH)
                .and_then(|rest| rest.split_once(' '))
                .filter(|(name, _)| is_name(name))
                .ok_or(Malformed("a signature line is not one"))?;
            let signature = decoded(signature)?;
            let (hash, signature) = signature.split_at_checked(4).ok_or(Malformed("a signature is too short"))?;
            if name != key.name || hash != key.hash() {
                continue;
            }
            let signature: &[u8; SIGNATURE_BYTES] =
                signature.try_into().map_err(|_| Malformed("a signature of the wrong length"))?;
            if !verify_signature(&key.key, text.as_bytes(), signature) {
                return Err(Malformed("the signature is not of this text and key"));
            }
            signed = true;
        }
        if !signed {
            return Err(Malformed("it is not signed with this key"));
        }
        Checkpoint::parse(&text).and_then(|checkpoint| match checkpoint.origin == key.name {
            true => Ok(checkpoint),
            false => Err(Malformed("it is of another ledger than its key")),
        })
    }

    fn parse(text: &str) -> Result<Self, Malformed> {
        let wrong = Malformed("it is not a checkpoint: origin, length, head");
        let mut lines = text.split('\n');
        let (origin, length, head) = (lines.next(), lines.next(), lines.next());
        let (origin, digits, head) = origin.zip(length).zip(head).map(|((a, b), c)| (a, b, c)).ok_or(wrong)?;
        let length: u64 = digits.parse().map_err(|_| wrong)?;
        let head = decoded(head)?.try_into().map_err(|_| wrong)?;
        match length.to_string() == digits && !origin.is_empty() {
            true => Ok(Checkpoint { origin: origin.to_owned(), length, head }),
            false => Err(wrong),
        }
    }
}

/// Leaves of a ledger with the way from each to the head of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// By number: the bytes of the leaf, and its path.
    pub leaves: Vec<(u64, Vec<u8>, Vec<Digest>)>,
    /// The signed note.
    pub checkpoint: String,
}

impl Proof {
    /// Its text.
    pub fn encode(&self) -> String {
        let mut text = format!("{PROOF_LINE}\n");
        for (index, leaf, path) in &self.leaves {
            text.push_str(&format!("leaf {index} {}\n", BASE64.encode(leaf)));
            path.iter().for_each(|node| text.push_str(&format!("{}\n", BASE64.encode(node))));
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads its text. It proves nothing yet.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > PROOF_LIMIT {
            return Err(Malformed("it is too long for a proof"));
        }
        let rest = text
            .strip_prefix(PROOF_LINE)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or(Malformed("it does not begin as a proof does"))?;
        let (leaves, checkpoint) = rest.split_once("\n\n").ok_or(Malformed("the checkpoint is missing"))?;
        let mut proof = Proof { leaves: Vec::new(), checkpoint: checkpoint.to_owned() };
        for line in leaves.split('\n') {
            match (line.strip_prefix("leaf "), proof.leaves.last_mut()) {
                (Some(leaf), _) => {
                    let (digits, bytes) = leaf.split_once(' ').ok_or(Malformed("a leaf has a number and bytes"))?;
                    let index: u64 = digits.parse().map_err(|_| Malformed("the number of a leaf is none"))?;
                    if index.to_string() != digits {
                        return Err(Malformed("the number of a leaf is spelled in another way"));
                    }
                    proof.leaves.push((index, decoded(bytes)?, Vec::new()));
                }
                (None, Some((_, _, path))) => {
                    let node = decoded(line)?;
                    path.push(node.try_into().map_err(|_| Malformed("a hash of the wrong length"))?);
                }
                (None, None) => return Err(Malformed("a proof begins with a leaf")),
            }
        }
        Ok(proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Key;

    fn signer() -> (PublicKey, Signer) {
        let signer = Signer::from_seed(&Key::take(&mut [7; 32]));
        (PublicKey::of(&StoreId::from_bytes([0x51; 16]), signer.public()), signer)
    }

    #[test]
    fn a_checkpoint_opens_as_it_was_signed_and_in_no_other_way() {
        let (key, signer) = signer();
        let checkpoint = Checkpoint { origin: key.name().to_owned(), length: 17, head: [9; 32] };
        let note = checkpoint.sign(&key, &signer);
        assert_eq!(Checkpoint::open(&note, &key), Ok(checkpoint));
        assert_eq!(PublicKey::parse(&key.to_string()), Ok(key.clone()));
        for at in 0..note.len() {
            for with in [b'A', b'0', b'\n', b' '] {
                let mut bytes = note.clone().into_bytes();
                if bytes[at] == with {
                    continue;
                }
                bytes[at] = with;
                let Ok(other) = String::from_utf8(bytes) else { continue };
                assert!(Checkpoint::open(&other, &key).is_err(), "byte {at} of {note}");
            }
        }
        let other = PublicKey::of(&StoreId::from_bytes([0x52; 16]), signer.public());
        assert!(Checkpoint::open(&note, &other).is_err());
    }

    #[test]
    fn bytes_are_spelled_in_one_way() {
        assert_eq!(decoded("Zm8="), Ok(b"fo".to_vec()));
        for text in ["Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Zm9v\n", "Zm-v", "====", "Z==="] {
            assert!(decoded(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_witness_may_sign_below() {
        let (key, signer) = signer();
        let checkpoint = Checkpoint { origin: key.name().to_owned(), length: 1, head: [1; 32] };
        let witnessed = format!("{}{DASH}witness.example {}\n", checkpoint.sign(&key, &signer), BASE64.encode([3; 76]));
        assert_eq!(Checkpoint::open(&witnessed, &key), Ok(checkpoint));
    }

    #[test]
    fn a_proof_reads_back_and_is_spelled_in_one_way() {
        let proof = Proof {
            leaves: vec![(3, vec![1, 2, 3], vec![[4; 32], [5; 32]]), (12, vec![6; 9], Vec::new())],
            checkpoint: "a\n1\nb\n\n".into(),
        };
        let text = proof.encode();
        assert_eq!(Proof::parse(&text), Ok(proof));
        for (from, to) in [("leaf 3", "leaf 03"), ("leaf 12", "leaf +12"), ("@v0", "@v1"), ("leaf 3 ", "")] {
            assert!(Proof::parse(&text.replacen(from, to, 1)).is_err(), "{from}");
        }
    }
}
