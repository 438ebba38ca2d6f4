//! The objects that a repo has purged, which no reader is served and no push may bring.

use std::collections::HashSet;

use crate::id::ObjectKey;

/// The objects that a repo has purged.
#[derive(Debug, Clone, Default)]
pub struct Purged(HashSet<ObjectKey>);

impl Purged {
    /// Whether an object was purged.
    pub fn has(&self, object: &ObjectKey) -> bool {
        !self.0.is_empty() && self.0.contains(object)
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many were.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<ObjectKey> for Purged {
    fn from_iter<I: IntoIterator<Item = ObjectKey>>(objects: I) -> Self {
        Self(objects.into_iter().collect())
    }
}
