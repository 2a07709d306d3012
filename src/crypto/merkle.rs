//! The Merkle tree of RFC 6962: growing it leaf by leaf, and checking proofs about it.
//!
//! [`Frontier`] is written here because the tree is only ever extended at its right edge; the proofs are `ct-merkle`'s,
//! which also is what tests compare the frontier with.

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use sha2::Sha256;

use super::hash::{Digest, leaf_hash, node_hash, sha256};

/// The right edge of a tree: the hashes of its whole subtrees, largest first. Enough to add leaves and to tell the head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    length: u64,
    nodes: Vec<Digest>,
}

impl Frontier {
    /// The edge of a tree of `length` leaves; `None` where the number of hashes does not fit.
    pub fn from_parts(length: u64, nodes: Vec<Digest>) -> Option<Self> {
        (nodes.len() == length.count_ones() as usize).then_some(Frontier { length, nodes })
    }

    /// How many leaves the tree has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The hashes of the whole subtrees, largest first: one for every one bit of the length.
    pub fn nodes(&self) -> &[Digest] {
        &self.nodes
    }

    /// Adds a leaf by its bytes.
    pub fn push(&mut self, leaf: &[u8]) {
        self.push_hash(leaf_hash(leaf));
    }

    /// Adds a leaf by its hash.
    pub fn push_hash(&mut self, mut hash: Digest) {
        for _ in 0..self.length.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.nodes.push(hash);
        self.length += 1;
    }

    /// The Merkle tree hash of all leaves.
    pub fn head(&self) -> Digest {
        let mut nodes = self.nodes.iter().rev();
        match nodes.next() {
            Some(last) => nodes.fold(*last, |right, left| node_hash(left, &right)),
            None => sha256(&[]),
        }
    }
}

/// Which nodes prove that leaf `index` is in a tree of `length` leaves, from the leaf upwards. A node is a range of
/// leaves, first and past the last. Empty where there is no such leaf.
pub fn inclusion_ranges(length: u64, index: u64) -> Vec<(u64, u64)> {
    match index < length {
        true => ranges(length, ct_merkle::indices_for_inclusion_proof(length, index)),
        false => Vec::new(),
    }
}

/// Which nodes prove that the tree of `length` leaves is one of `earlier` leaves, continued. Empty where that needs no
/// proof, or `earlier` is none or beyond it.
pub fn consistency_ranges(length: u64, earlier: u64) -> Vec<(u64, u64)> {
    match earlier > 0 && earlier < length {
        true => ranges(length, ct_merkle::indices_for_consistency_proof(earlier, length - earlier)),
        false => Vec::new(),
    }
}

/// Nodes as `ct-merkle` numbers them: leaves even, and a node of level k has k one bits at its end and stands in the
/// middle of its leaves.
fn ranges(length: u64, nodes: Vec<u64>) -> Vec<(u64, u64)> {
    let range = |node: u64| {
        let half = (1 << node.trailing_ones()) - 1;
        ((node - half) / 2, ((node + half) / 2 + 1).min(length))
    };
    nodes.into_iter().map(range).collect()
}

/// Whether `path` proves that `leaf` is leaf `index` of the tree of `length` leaves with this head.
pub fn verify_inclusion(head: &Digest, length: u64, leaf: &[u8], index: u64, path: &[Digest]) -> bool {
    let outputs: Vec<_> = path.iter().map(|digest| (*digest).into()).collect();
    let proof = InclusionProof::<Sha256>::from_digests(&outputs);
    index < length && RootHash::<Sha256>::new((*head).into(), length).verify_inclusion(&leaf, index, &proof).is_ok()
}

/// Whether `path` proves that the tree of `length` leaves with this head continues the earlier one.
pub fn verify_consistency(head: &Digest, length: u64, earlier: &Digest, earlier_length: u64, path: &[Digest]) -> bool {
    if earlier_length == 0 || earlier_length >= length {
        return earlier_length == length && earlier == head && path.is_empty();
    }
    let outputs: Vec<_> = path.iter().map(|digest| (*digest).into()).collect();
    let proof = ConsistencyProof::<Sha256>::from_digests(&outputs);
    let old = RootHash::<Sha256>::new((*earlier).into(), earlier_length);
    RootHash::<Sha256>::new((*head).into(), length).verify_consistency(&old, &proof).is_ok()
}

#[cfg(test)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;

    use super::*;

    #[test]
    fn heads_are_those_of_ct_merkle_for_every_length() {
        let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut frontier = Frontier::default();
        for index in 0..700u32 {
            assert_eq!(frontier.length(), u64::from(index));
            assert_eq!(frontier.head()[..], tree.root().as_bytes()[..], "length {index}");
            assert_eq!(frontier.nodes().len(), index.count_ones() as usize);
            let leaf = index.to_le_bytes().repeat(index as usize % 3);
            tree.push(leaf.clone());
            frontier.push(&leaf);
        }
    }

    /// RFC 6962 gives no vectors; these are those of the certificate-transparency reference code.
    #[test]
    fn heads_are_those_of_the_reference_code() {
        let leaves: [&[u8]; 4] = [b"", &[0], &[0x10], &[0x20, 0x21]];
        let mut frontier = Frontier::default();
        let hex = |digest: Digest| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(frontier.head()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (leaf, head) in leaves.iter().zip([
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]) {
            frontier.push(leaf);
            assert_eq!(hex(frontier.head()), head);
        }
    }
}
