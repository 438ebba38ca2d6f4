//! Reads an S3 object from front to back in parts, some of them ahead of their use.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::span;
use crate::{Store, StoreError};

/// Parts that are asked for at the same time, by a client that reads as fast as they come; one that does not gets one ahead.
const AHEAD: usize = 2;

/// An S3 object under way.
pub(crate) struct ReadAhead {
    store: Arc<Store>,
    key: String,
    /// What was not handed out yet.
    left: Range<u64>,
    /// Its first parts.
    asked: VecDeque<JoinHandle<Result<Bytes, StoreError>>>,
    ahead: usize,
}

impl ReadAhead {
    /// Bytes of a part.
    pub(crate) const BYTES: u64 = 2 << 20;

    /// Begins to read this range.
    pub(crate) fn begin(store: &Arc<Store>, key: String, range: Range<u64>) -> Self {
        let mut reader = Self { store: Arc::clone(store), key, left: range, asked: VecDeque::new(), ahead: AHEAD };
        reader.ask();
        reader
    }

    fn ask(&mut self) {
        while self.asked.len() < self.ahead {
            let start = self.left.start.saturating_add(Self::BYTES.saturating_mul(self.asked.len() as u64));
            let end = self.left.end.min(start.saturating_add(Self::BYTES));
            if start >= end {
                return;
            }
            let (store, key) = (Arc::clone(&self.store), self.key.clone());
            self.asked.push_back(span::spawn(async move { store.get_range(&key, None, start..end).await }));
        }
    }

    /// The next bytes, or none at the end.
    ///
    /// # Errors
    /// When S3 does not give them.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        self.ask();
        let Some(read) = self.asked.pop_front() else {
            return Ok(None);
        };
        let bytes = read.await.map_err(StoreError::fault)??;
        self.left.start += bytes.len() as u64;
        self.ask();
        Ok(Some(bytes))
    }

    /// Lets go of what was read ahead, which can be read again, and from then on reads less ahead.
    pub(crate) fn let_go(&mut self) {
        self.asked.clear();
        self.ahead = 1;
    }

    /// Whether all was handed out.
    pub(crate) fn is_at_end(&self) -> bool {
        self.left.is_empty()
    }

    /// The key of the S3 object.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}
