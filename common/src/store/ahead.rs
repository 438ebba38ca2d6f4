//! Reads an S3 object from front to back in parts, one of them ahead of its use.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::{Error, Store};
use crate::observe;

/// An S3 object under way. Two parts of it are in memory at a time.
pub(crate) struct ReadAhead {
    store: Arc<Store>,
    key: String,
    /// What was not handed out yet.
    left: Range<u64>,
    /// The part that it begins with.
    next: Option<JoinHandle<Result<Bytes, Error>>>,
}

impl ReadAhead {
    /// Bytes of a part.
    pub(crate) const BYTES: u64 = 2 << 20;

    /// Begins to read this range.
    pub(super) fn begin(store: &Arc<Store>, key: String, range: Range<u64>) -> Self {
        let mut reader = Self { store: Arc::clone(store), key, left: range, next: None };
        reader.next = reader.ask();
        reader
    }

    fn ask(&self) -> Option<JoinHandle<Result<Bytes, Error>>> {
        let start = self.left.start;
        let end = self.left.end.min(start.saturating_add(Self::BYTES));
        if start >= end {
            return None;
        }
        let (store, key) = (Arc::clone(&self.store), self.key.clone());
        Some(observe::spawn(async move { store.get_range(&key, None, start..end).await }))
    }

    /// The next bytes, or none at the end.
    ///
    /// # Errors
    /// When S3 does not give them.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(read) = self.next.take().or_else(|| self.ask()) else {
            return Ok(None);
        };
        let bytes = read.await.map_err(Error::fault)??;
        self.left.start += bytes.len() as u64;
        self.next = self.ask();
        Ok(Some(bytes))
    }

    /// Lets go of what was read ahead: it can be read again.
    pub(super) fn let_go(&mut self) {
        self.next = None;
    }

    /// Whether all was handed out.
    pub(super) fn is_at_end(&self) -> bool {
        self.left.is_empty()
    }

    /// The key of the S3 object.
    pub(super) fn key(&self) -> &str {
        &self.key
    }
}
