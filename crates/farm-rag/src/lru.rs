//! A map that forgets what was not used for longest once it holds too many bytes.

use std::collections::HashMap;
use std::hash::Hash;

pub(crate) struct Lru<K, V> {
    entries: HashMap<K, Entry<V>>,
    bytes: usize,
    max_bytes: usize,
    clock: u64,
}

struct Entry<V> {
    value: V,
    bytes: usize,
    last_used: u64,
}

/// What the map itself takes for an entry, about.
const ENTRY_BYTES: usize = 120;

impl<K: Hash + Eq + Clone, V: Clone> Lru<K, V> {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { entries: HashMap::new(), bytes: 0, max_bytes, clock: 0 }
    }

    /// A moment of its own clock.
    pub(crate) fn now(&self) -> u64 {
        self.clock
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.last_used = self.clock;
        Some(entry.value.clone())
    }

    /// Keeps `value`, unless it alone is larger than all that may be held; says which.
    pub(crate) fn insert(&mut self, key: K, value: V, bytes: usize) -> bool {
        let bytes = bytes.saturating_add(ENTRY_BYTES);
        if bytes > self.max_bytes {
            return false;
        }
        self.clock += 1;
        let entry = Entry { value, bytes, last_used: self.clock };
        self.bytes += bytes;
        if let Some(old) = self.entries.insert(key, entry) {
            self.bytes -= old.bytes;
        }
        if self.bytes > self.max_bytes {
            self.forget();
        }
        true
    }

    /// Keeps `value` only if what was used after `since` can stay: else a user of more than the map holds would push out
    /// its own entries, and find none of them the next time.
    pub(crate) fn insert_beside(&mut self, since: u64, key: K, value: V, bytes: usize) -> bool {
        let room = self.max_bytes.saturating_sub(ENTRY_BYTES + bytes);
        if self.bytes > room {
            let old: Vec<K> = self
                .entries
                .iter()
                .filter(|(_, e)| e.last_used <= since)
                .map(|(key, _)| key.clone())
                .collect();
            for key in old {
                if let Some(entry) = self.entries.remove(&key) {
                    self.bytes -= entry.bytes;
                }
            }
        }
        self.bytes <= room && self.insert(key, value, bytes)
    }

    /// Makes an eighth more room than is needed, so that it is not called for every entry.
    fn forget(&mut self) {
        let mut by_age: Vec<(u64, K)> =
            self.entries.iter().map(|(key, e)| (e.last_used, key.clone())).collect();
        by_age.sort_unstable_by_key(|(last_used, _)| *last_used);
        // The newest was just asked for and fits.
        by_age.pop();
        for (_, key) in by_age {
            if self.bytes <= self.max_bytes - self.max_bytes / 8 {
                break;
            }
            if let Some(entry) = self.entries.remove(&key) {
                self.bytes -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_go_first_and_the_bound_holds() {
        let mut lru = Lru::new(10 * (ENTRY_BYTES + 80));
        for key in 0..10 {
            assert!(lru.insert(key, key, 80));
        }
        assert_eq!(lru.get(&0), Some(0));
        assert!(lru.insert(10, 10, 80));
        assert!(lru.bytes <= lru.max_bytes);
        assert_eq!((lru.get(&0), lru.get(&1), lru.get(&10)), (Some(0), None, Some(10)));
    }

    #[test]
    fn one_who_needs_more_than_there_is_keeps_what_came_first() {
        let mut lru = Lru::new(4 * (ENTRY_BYTES + 80));
        assert!(lru.insert("old", 0, 80));
        let since = lru.now();
        let kept = ["a", "b", "c", "d", "e", "f"].map(|key| lru.insert_beside(since, key, 1, 80));
        assert_eq!(kept, [true, true, true, true, false, false]);
        assert_eq!((lru.get(&"old"), lru.get(&"a"), lru.get(&"f")), (None, Some(1), None));
    }

    #[test]
    fn replacing_does_not_count_twice_and_giants_are_not_kept() {
        let mut lru = Lru::new(1_000);
        for _ in 0..100 {
            assert!(lru.insert("a", 1, 400));
        }
        assert_eq!(lru.bytes, 400 + ENTRY_BYTES);
        assert!(!lru.insert("b", 1, 1_000));
        assert_eq!(lru.get(&"a"), Some(1));
    }
}
