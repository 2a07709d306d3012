//! Ed25519 signatures (RFC 8032), for what is shown to others.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use super::key::Key;

/// Length of a public key in bytes.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Length of a signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// A signing key made ready. It wipes itself.
pub struct Signer(SigningKey);

impl Signer {
    /// The signing key that follows from a seed.
    pub fn from_seed(seed: &Key) -> Self {
        Signer(SigningKey::from_bytes(seed.expose()))
    }

    /// What others verify with.
    pub fn public(&self) -> [u8; PUBLIC_KEY_BYTES] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(..)")
    }
}

/// Whether `signature` is that of `message` under `public`. No second signature passes for the first, and no key of small
/// order for one.
pub fn verify_signature(public: &[u8; PUBLIC_KEY_BYTES], message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(public) else { return false };
    key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap())
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn signatures_are_those_of_the_rfc() {
        let mut seed = bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let signer = Signer::from_seed(&Key::take(&mut seed));
        assert_eq!(signer.public(), bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"));
        let signature = signer.sign(&[0x72]);
        assert_eq!(
            signature,
            bytes(
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                 085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            )
        );
        assert!(verify_signature(&signer.public(), &[0x72], &signature));
        assert!(!verify_signature(&signer.public(), &[0x73], &signature));
        for bit in 0..512 {
            let mut other = signature;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify_signature(&signer.public(), &[0x72], &other), "bit {bit}");
        }
    }
}
