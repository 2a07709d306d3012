//! A cache bounded by bytes: second chance, which is nearly least-recently-used and lets readers share a lock. What it
//! drops wipes itself. It knows nothing of what it keeps.

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{PoisonError, RwLock};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};

use crate::mixer::{Mixed, apart};

const SHARDS: usize = 16;

/// Values that are cheap to clone (an `Arc`), by keys that nobody outside chooses.
#[derive(Debug)]
pub struct Cache<K, V> {
    shards: Vec<RwLock<Shard<K, V>>>,
    limit: usize,
}

#[derive(Debug)]
struct Shard<K, V> {
    kept: HashMap<K, Kept<V>, Mixed>,
    order: VecDeque<K>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept<V> {
    value: V,
    bytes: usize,
    touched: AtomicBool,
}

impl<V: Clone> Kept<V> {
    /// The value, marked as asked for.
    fn ask(&self) -> V {
        // Once is enough, and what everybody writes to is in nobody's cache.
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
        self.value.clone()
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// An empty one that keeps about `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let shard = || RwLock::new(Shard { kept: HashMap::default(), order: VecDeque::new(), bytes: 0 });
        Cache { shards: (0..SHARDS).map(|_| shard()).collect(), limit: limit / SHARDS }
    }

    fn number(key: &K) -> usize {
        // By other bits than the map within.
        (Mixed::default().hash_one(key) >> 40) as usize % SHARDS
    }

    fn shard(&self, key: &K) -> &RwLock<Shard<K, V>> {
        &self.shards[Self::number(key)]
    }

    /// What is kept under `key`.
    pub fn get(&self, key: &K) -> Option<V> {
        let shard = self.shard(key).read().unwrap_or_else(PoisonError::into_inner);
        shard.kept.get(key).map(Kept::ask)
    }

    /// What is kept under each of `keys`, in their order. Each shard is locked once, and `look` reads something of a
    /// value before any is cloned: counts of shared values lie in cold memory, and reading waits for many of them at a
    /// time where counting waits for one after the other.
    pub fn get_all(&self, keys: &[K], look: impl Fn(&V) -> usize) -> Vec<Option<V>> {
        let mut found = vec![None; keys.len()];
        let shards = apart::<SHARDS>(keys.iter().map(Self::number));
        for (shard, places) in self.shards.iter().zip(shards).filter(|(_, places)| !places.is_empty()) {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            let kept: Vec<_> = places.iter().map(|place| shard.kept.get(&keys[*place as usize])).collect();
            std::hint::black_box(kept.iter().flatten().map(|kept| look(&kept.value)).fold(0, usize::wrapping_add));
            for (place, kept) in places.into_iter().zip(kept) {
                found[place as usize] = kept.map(Kept::ask);
            }
        }
        found
    }

    /// Keeps `value`, which weighs `bytes`, and drops what was not asked for lately.
    pub fn insert(&self, key: K, value: V, bytes: usize) {
        let mut shard = self.shard(&key).write().unwrap_or_else(PoisonError::into_inner);
        let kept = Kept { value, bytes, touched: AtomicBool::new(false) };
        shard.bytes += bytes;
        match shard.kept.insert(key.clone(), kept) {
            Some(old) => shard.bytes -= old.bytes,
            None => shard.order.push_back(key),
        }
        while shard.bytes > self.limit {
            let Some(oldest) = shard.order.pop_front() else { break };
            let touched = shard.kept.get_mut(&oldest).is_some_and(|kept| std::mem::take(kept.touched.get_mut()));
            if touched {
                shard.order.push_back(oldest);
            } else if let Some(dropped) = shard.kept.remove(&oldest) {
                shard.bytes -= dropped.bytes;
            }
        }
    }

    /// Drops everything.
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.kept.clear();
            shard.order.clear();
            shard.bytes = 0;
        }
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).bytes).sum()
    }
}
