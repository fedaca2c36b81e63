//! Values by key, in the order of their turns.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Where something stands: what has a lower number has its turn earlier.
pub(super) type Turn = u64;

/// Values by key and in the order of their turns.
pub(super) struct Rotation<K, V> {
    pub(super) turns: HashMap<K, Turn>,
    pub(super) values: BTreeMap<Turn, (K, V)>,
}

impl<K, V> Default for Rotation<K, V> {
    fn default() -> Self {
        Self { turns: HashMap::new(), values: BTreeMap::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Rotation<K, V> {
    pub(super) fn push(&mut self, turn: Turn, key: K, value: V) {
        self.turns.insert(key.clone(), turn);
        self.values.insert(turn, (key, value));
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.values.values().map(|(key, _)| key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(super) fn at(&self, turn: Turn) -> Option<&V> {
        self.values.get(&turn).map(|(_, value)| value)
    }

    pub(super) fn at_mut(&mut self, turn: Turn) -> Option<&mut V> {
        self.values.get_mut(&turn).map(|(_, value)| value)
    }

    pub(super) fn remove_at(&mut self, turn: Turn) -> Option<(K, V)> {
        let (key, value) = self.values.remove(&turn)?;
        self.turns.remove(&key);
        Some((key, value))
    }

    pub(super) fn entry<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<(Turn, &K)>
    where
        K: Borrow<Q>,
    {
        self.turns.get_key_value(key).map(|(key, turn)| (*turn, key))
    }

    pub(super) fn turn<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Turn>
    where
        K: Borrow<Q>,
    {
        self.turns.get(key).copied()
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.at_mut(self.turn(key)?)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.remove_at(self.turn(key)?).map(|(_, value)| value)
    }
}
