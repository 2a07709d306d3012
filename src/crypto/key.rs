//! Keys that wipe themselves.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// 256 secret bits. Boxed, so that moving the value leaves no copy on the stack; zeroized on drop; never printed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Key(Box<[u8; 32]>);

impl Key {
    /// Takes the bytes and wipes the place they came from.
    pub fn take(bytes: &mut [u8; 32]) -> Self {
        #[cfg(feature = "simulation")]
        keys::note(bytes);
        let key = Key(Box::new(*bytes));
        bytes.zeroize();
        key
    }

    /// The secret bytes, for sealing them into the keyring or for deriving from them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A second copy: explicit, so that each one can be found.
    pub fn duplicate(&self) -> Self {
        Key(self.0.clone())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl PartialEq for Key {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0.iter()).fold(0, |different, (a, b)| different | (a ^ b)) == 0
    }
}

/// What the canary search asks: which keys were there at all? Noted per thread, since a simulation runs on one.
#[cfg(feature = "simulation")]
pub mod keys {
    use std::cell::RefCell;
    use std::collections::HashSet;

    thread_local!(static KEYS: RefCell<Option<HashSet<[u8; 32]>>> = const { RefCell::new(None) });

    /// Begins to note every key that is drawn, derived or read on this thread, forgetting what was noted before.
    pub fn start() {
        KEYS.with(|keys| *keys.borrow_mut() = Some(HashSet::new()));
    }

    /// Stops noting. Returns the bytes of every key that was there, each once.
    pub fn stop() -> Vec<[u8; 32]> {
        KEYS.with(|keys| keys.borrow_mut().take()).into_iter().flatten().collect()
    }

    pub(in crate::crypto) fn note(key: &[u8; 32]) {
        KEYS.with(|keys| {
            if let Some(keys) = keys.borrow_mut().as_mut() {
                keys.insert(*key);
            }
        });
    }
}
