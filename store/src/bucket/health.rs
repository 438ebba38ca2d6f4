//! Whether the stores answer.

use crate::uploads::PREFIX;
use crate::{Store, StoreError};

impl Store {
    /// Lists the bucket, at most one upload.
    ///
    /// # Errors
    /// When S3 does not answer, or there is no such bucket.
    pub async fn check_bucket(&self) -> Result<(), StoreError> {
        let list = self.s3.list_objects_v2().bucket(&self.location.bucket).prefix(PREFIX).max_keys(1);
        let listed = list.send().await;
        listed.map(drop).map_err(StoreError::at(PREFIX))
    }
}
