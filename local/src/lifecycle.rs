//! What the bucket's lifecycle rule does in a deployment: uploads that no request has asked for end after a day.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use common::time;
use store::ambient::Ambient;
use store::uploads::{KEPT, PREFIX};
use tokio::sync::watch;

use crate::backends::Backends;
use crate::stores;

/// How often it is looked for what has expired.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Deletes uploads that are too old, now and every hour, until it is stopped.
pub(crate) async fn run(backends: Storage, ambient: Ambient, mut stopped: watch::Receiver<bool>) {
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        if let Err(error) = backends.expire_uploads(&ambient).await {
            tracing::warn!(error = %DisplayErrorContext(&*error), "uploads that have expired could not be deleted");
        }
    }
}

/// The bucket of a hub that is one process.
pub(crate) struct Storage {
    s3: Client,
    bucket: String,
}

impl Storage {
    pub(crate) fn of(backends: &Backends) -> Self {
        Self { s3: stores::s3(&backends.s3), bucket: backends.location.bucket.clone() }
    }

    async fn expire_uploads(&self, ambient: &Ambient) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let oldest = time::before(ambient.now(), KEPT).as_second();
        let mut pages = self.s3.list_objects_v2().bucket(&self.bucket).prefix(PREFIX).into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page?.contents() {
                let is_old = object.last_modified().is_some_and(|modified| modified.secs() < oldest);
                if let Some(key) = object.key().filter(|_| is_old) {
                    self.s3.delete_object().bucket(&self.bucket).key(key).send().await?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn uploads_end_after_a_day_and_nothing_else_does() {
        let backends = Backends::start(None, "a secret").await.unwrap();
        let storage = Storage::of(&backends);
        for key in ["uploads/a/b", "uploads/bodies/c", "packs/a/b.pack", "objects/a/b/c"] {
            storage.s3.put_object().bucket(&storage.bucket).key(key).send().await.unwrap();
        }
        let keys = async || {
            let listed = storage.s3.list_objects_v2().bucket(&storage.bucket).send().await.unwrap();
            listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect::<Vec<_>>()
        };
        storage.expire_uploads(&Ambient::system()).await.unwrap();
        assert_eq!(keys().await.len(), 4);
        let tomorrow = time::after(Ambient::system().now(), KEPT + Duration::from_secs(2));
        storage.expire_uploads(&Ambient::replay(1, tomorrow)).await.unwrap();
        assert_eq!(keys().await, ["objects/a/b/c", "packs/a/b.pack"]);
    }
}
