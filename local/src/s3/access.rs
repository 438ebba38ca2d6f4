//! What a signature gives a right to.
//!
//! s3s checks that signed headers are as they were, and lets others pass. S3 does not: with an unsigned
//! `x-amz-copy-source`, any holder of a URL for a PUT could copy all that the signer may read.

use async_trait::async_trait;
use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3Result, s3_error};

/// What a URL may be presigned for.
const PRESIGNED: [&str; 3] = ["GetObject", "HeadObject", "PutObject"];

pub(super) struct SignedHeadersOnly;

#[async_trait]
impl S3Access for SignedHeadersOnly {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Signature is required"));
        }
        let query = context.uri().query().unwrap_or_default().as_bytes();
        let parameter = |name| form_urlencoded::parse(query).find(|(key, _)| key == name).map(|(_, value)| value);
        if parameter("X-Amz-Signature").is_none() {
            return Ok(());
        }
        if !PRESIGNED.contains(&context.s3_op().name()) {
            return Err(s3_error!(AccessDenied, "the URL was not presigned for this"));
        }
        let signed = parameter("X-Amz-SignedHeaders").unwrap_or_default();
        let is_signed = |name: &str| signed.split(';').any(|signed| signed == name);
        let amazon = context.headers().keys().map(|name| name.as_str()).filter(|name| name.starts_with("x-amz-"));
        match amazon.into_iter().find(|name| !is_signed(name)) {
            Some(name) => Err(s3_error!(AccessDenied, "the header {name} was not signed")),
            None => Ok(()),
        }
    }
}
