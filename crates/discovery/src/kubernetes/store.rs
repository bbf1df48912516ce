//! Objects by their keys.

use std::collections::HashMap;

use super::objects::Object;

/// Objects by `namespace/name`. Where nothing will ask for an object again, only its key is kept.
#[derive(Debug)]
pub(crate) struct Store<T> {
    objects: HashMap<Box<str>, Option<Box<T>>>,
    keys_only: bool,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self { objects: HashMap::new(), keys_only: false }
    }
}

impl<T: Object> Store<T> {
    /// A store that keeps no objects.
    pub(crate) fn of_keys() -> Self {
        Self { keys_only: true, ..Self::default() }
    }

    pub(crate) fn keeps_objects(&self) -> bool {
        !self.keys_only
    }

    pub(crate) fn get(&self, key: &str) -> Option<&T> {
        self.objects.get(key)?.as_deref()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, &T)> {
        self.objects.iter().filter_map(|(key, object)| Some((&**key, object.as_deref()?)))
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.objects.contains_key(key)
    }

    /// Takes an object and returns the one whose place it takes, if there was one that was kept.
    pub(crate) fn insert(&mut self, key: String, object: T) -> Option<Box<T>> {
        let object = (!self.keys_only).then(|| Box::new(object));
        self.objects.insert(key.into_boxed_str(), object).flatten()
    }

    /// Removes an object; true if it was there.
    pub(crate) fn remove(&mut self, key: &str) -> bool {
        self.objects.remove(key).is_some()
    }

    /// The keys within a scope that are not among `listed`.
    pub(crate) fn missing(
        &self,
        listed: &std::collections::HashSet<String>,
        in_scope: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let keys = self.objects.keys().map(|key| &**key);
        keys.filter(|key| in_scope(key) && !listed.contains(*key)).map(str::to_owned).collect()
    }
}
