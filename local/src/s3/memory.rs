//! Objects in memory.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use s3s::{S3Result, s3_error};
use store::ambient::Ambient;

use super::{
    digest::Digest,
    key::Key,
    store::{Condition, Content, Entry, Object, Page, Selection, Store},
    upload::Upload,
};

/// The most that is reserved on a client's word for the size of a body.
const MAX_RESERVED: u64 = 16 * 1024 * 1024;

pub(super) struct Memory {
    buckets: RwLock<BTreeMap<String, Bucket>>,
    clock: Ambient,
}

type Bucket = BTreeMap<String, (Entry, Bytes)>;

impl Memory {
    pub(super) fn new(clock: Ambient) -> Self {
        Self { buckets: RwLock::default(), clock }
    }

    /// S3's Last-Modified. On disk the file system stamps it, here we do.
    fn now(&self) -> SystemTime {
        self.clock.now().into()
    }

    // Nothing panics while it holds the lock, and no change under it has a middle: a poisoned lock guards whole data.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn create_bucket(&self, bucket: &str) -> S3Result<()> {
        let mut buckets = self.write();
        if buckets.contains_key(bucket) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        buckets.insert(bucket.to_owned(), Bucket::new());
        Ok(())
    }

    async fn head_bucket(&self, bucket: &str) -> S3Result<()> {
        self.read().get(bucket).map(|_| ()).ok_or_else(|| s3_error!(NoSuchBucket))
    }

    async fn put(&self, bucket: &str, key: Key, mut body: Upload, condition: Condition) -> S3Result<Digest> {
        let reserved = usize::try_from(body.size().min(MAX_RESERVED)).unwrap_or_default();
        let mut bytes = BytesMut::with_capacity(reserved);
        while let Some(chunk) = body.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        let digest = body.verify()?;
        let entry = Entry { digest, modified: self.now() };

        let mut buckets = self.write();
        let objects = buckets.get_mut(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        condition.check(objects.get(key.as_str()).map(|(current, _)| &current.digest))?;
        objects.insert(key.into_string(), (entry, bytes.freeze()));
        Ok(digest)
    }

    async fn get(&self, bucket: &str, key: Key) -> S3Result<Object> {
        let buckets = self.read();
        let objects = buckets.get(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        let (entry, bytes) = objects.get(key.as_str()).ok_or_else(|| s3_error!(NoSuchKey))?;
        Ok(Object { entry: *entry, content: Content::Memory(bytes.clone()) })
    }

    async fn delete(&self, bucket: &str, key: Key, condition: Condition) -> S3Result<()> {
        let mut buckets = self.write();
        let objects = buckets.get_mut(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        condition.check(objects.get(key.as_str()).map(|(current, _)| &current.digest))?;
        objects.remove(key.as_str());
        Ok(())
    }

    async fn list(&self, bucket: &str, selection: Selection) -> S3Result<Page> {
        let buckets = self.read();
        let objects = buckets.get(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        let first = selection.prefix.as_str().max(selection.after.as_str());
        let mut selected = objects
            .range::<str, _>((Bound::Included(first), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&selection.prefix))
            .filter(|(key, _)| selection.contains(key));
        let entries = selected.by_ref().take(selection.limit).map(|(key, (entry, _))| (key.clone(), *entry)).collect();
        Ok(Page { entries, more: selected.next().is_some() })
    }
}
