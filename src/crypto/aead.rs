//! Authenticated encryption: ChaCha20-Poly1305 (RFC 8439), suite id 1.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Tag};

use super::key::Key;

/// Length of a nonce in bytes.
pub const NONCE_BYTES: usize = 12;
/// Length of an authentication tag in bytes.
pub const TAG_BYTES: usize = 16;

/// A number used once with a key.
pub type Nonce = [u8; NONCE_BYTES];

/// Proof that decryption failed: wrong key, wrong associated data or damaged bytes. It says no more, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed;

/// A key made ready to seal and open. The key schedule is wiped on drop, of every copy.
#[derive(Clone)]
pub struct Sealer {
    cipher: ChaCha20Poly1305,
    #[cfg(feature = "simulation")]
    fingerprint: u64,
}

impl Sealer {
    /// Makes `key` ready.
    pub fn new(key: &Key) -> Self {
        Sealer::of(key.expose())
    }

    /// Makes a key that was derived for this alone ready.
    pub(super) fn of(key: &[u8; 32]) -> Self {
        Sealer {
            cipher: ChaCha20Poly1305::new(key.into()),
            #[cfg(feature = "simulation")]
            fingerprint: seals::fingerprint(key),
        }
    }

    /// Encrypts `buffer` in place and returns its tag. A (key, nonce) pair must never be used twice.
    pub fn seal(&self, nonce: &Nonce, associated: &[u8], buffer: &mut [u8]) -> [u8; TAG_BYTES] {
        #[cfg(feature = "simulation")]
        seals::note(self.fingerprint, nonce, associated, buffer);
        let sealed = self.cipher.encrypt_inout_detached(nonce.into(), associated, buffer.into());
        // The only failure is a message beyond 256 GiB; every length is bounded far below.
        sealed.expect("messages are far shorter than 256 GiB").into()
    }

    /// Decrypts `buffer` in place.
    ///
    /// # Errors
    /// [`Sealed`] where the tag does not fit; `buffer` is then unchanged ciphertext.
    pub fn open(
        &self,
        nonce: &Nonce,
        associated: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), Sealed> {
        let tag = Tag::from(*tag);
        self.cipher.decrypt_inout_detached(nonce.into(), associated, buffer.into(), &tag).map_err(|_| Sealed)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

/// What the crash suite asks: was a (key, nonce) pair ever used for two different messages? Noted per thread, since
/// a simulation runs on one.
#[cfg(feature = "simulation")]
pub mod seals {
    use std::cell::RefCell;
    use std::collections::HashMap;

    use super::super::hash::Hasher;
    use super::Nonce;

    #[derive(Default)]
    struct Seals {
        used: HashMap<(u64, Nonce), u64>,
        repeats: usize,
    }

    thread_local!(static SEALS: RefCell<Option<Seals>> = const { RefCell::new(None) });

    /// Begins to note every seal on this thread, forgetting what was noted before.
    pub fn start() {
        SEALS.with(|seals| *seals.borrow_mut() = Some(Seals::default()));
    }

    /// Stops noting. Returns how many seals were seen and how many of them used a pair again for another message.
    pub fn stop() -> (usize, usize) {
        let seals = SEALS.with(|seals| seals.borrow_mut().take()).unwrap_or_default();
        (seals.used.len(), seals.repeats)
    }

    pub(super) fn fingerprint(key: &[u8; 32]) -> u64 {
        short(&[key])
    }

    pub(super) fn note(key: u64, nonce: &Nonce, associated: &[u8], message: &[u8]) {
        SEALS.with(|seals| {
            if let Some(seals) = seals.borrow_mut().as_mut() {
                let message = short(&[associated, message]);
                if *seals.used.entry((key, *nonce)).or_insert(message) != message {
                    seals.repeats += 1;
                }
            }
        });
    }

    fn short(parts: &[&[u8]]) -> u64 {
        let mut hasher = Hasher::new();
        parts.iter().for_each(|part| hasher.update(part));
        let digest = hasher.finish();
        u64::from_le_bytes(std::array::from_fn(|index| digest[index]))
    }
}
