//! Large objects: S3 objects of their own, at `objects/<pool>/<pack>/<object_id>`. They belong to the pack that
//! lists them, and keep its name when it is merged into another. They were verified before it listed them. Only the hub
//! has ever had the right to write there.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::bucket::ahead::ReadAhead;
use crate::compute;
use crate::read::permit::LetGo;
use crate::{Store, StoreError};
use common::id::{ObjectKey, RepoId};
use common::location::LargeObject;
use common::pack::PackId;

/// Bytes that one read gets of an object that is only hashed.
const HASHED_BYTES: u64 = 8 << 20;

/// The S3 key of a large object.
pub fn key(repo: &RepoId, pack: PackId, object: &ObjectKey) -> String {
    format!("{}{pack}/{}", prefix(repo), object.as_ref())
}

/// What the keys of a repo's large objects begin with, and those of its forks.
pub fn prefix(repo: &RepoId) -> String {
    format!("objects/{}/", repo.pool())
}

/// Reads a large object from front to back.
pub struct LargeReader {
    content: ReadAhead,
    /// The hash so far and what it has to be, if all of the object is read.
    proof: Option<(Sha256, [u8; 32])>,
}

impl Store {
    /// The SHA-256 of an S3 object, which is read in parts.
    ///
    /// # Errors
    /// When S3 does not give all of it.
    pub async fn hash_of(&self, key: &str, size: u64) -> Result<[u8; 32], StoreError> {
        let mut hash = Sha256::new();
        let mut start = 0;
        while start < size {
            let end = size.min(start.saturating_add(HASHED_BYTES));
            let bytes = self.get_range(key, None, start..end).await?;
            compute(|| hash.update(&bytes));
            start = end;
        }
        Ok(hash.finalize().into())
    }

    /// Begins to read a part of a large object. All of it is held against its id on the way, and the last bytes are
    /// only handed out if it is what the id says; of less than all S3's own checksums have to do.
    pub fn read_large(
        self: &Arc<Self>,
        repo: &RepoId,
        object: &ObjectKey,
        large: &LargeObject,
        range: Range<u64>,
    ) -> LargeReader {
        let digest = object.as_ref().digest().filter(|_| range == (0..large.size));
        LargeReader {
            content: ReadAhead::begin(self, key(repo, large.pack, object), range),
            proof: digest.map(|digest| (Sha256::new(), *digest)),
        }
    }
}

impl LargeReader {
    /// The next bytes, or none at the end.
    ///
    /// # Errors
    /// When S3 does not give them, and when they are not the object's. There are no next bytes then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let Some(bytes) = self.content.next().await? else {
            return Ok(None);
        };
        if let Some((hash, _)) = &mut self.proof {
            compute(|| hash.update(&bytes));
        }
        if self.content.is_at_end()
            && let Some((hash, digest)) = self.proof.take()
            && hash.finalize() != digest
        {
            return Err(StoreError::Damaged(format!("{} is not what its name says", self.content.key())));
        }
        Ok(Some(bytes))
    }
}

impl LetGo for LargeReader {
    fn let_go(&mut self) -> u64 {
        self.content.let_go();
        // What was handed out last, and one part ahead.
        2 * ReadAhead::BYTES
    }
}
