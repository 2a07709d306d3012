//! Keys that wipe themselves.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// 256 secret bits. Boxed, so that moving the value leaves no copy on the stack; zeroized on drop; never printed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Key(Box<[u8; 32]>);

impl Key {
    /// Takes the bytes and wipes the place they came from.
    pub fn take(bytes: &mut [u8; 32]) -> Self {
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
