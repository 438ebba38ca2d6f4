//! The stores that the tests of hubs run on: embedded ones, unless the environment names others.
//!
//! `MUSEHUB_TEST_DYNAMODB` and `MUSEHUB_TEST_S3` are URLs of a DynamoDB and an S3 that take the place of the embedded ones:
//! DynamoDB Local, LocalStack. Each test makes a table and a bucket of its own there, and leaves them.

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use local::backends::{Backends, Elsewhere};
use local::location::{make_bucket, make_table};

const DYNAMODB: &str = "MUSEHUB_TEST_DYNAMODB";
const S3: &str = "MUSEHUB_TEST_S3";

/// Whether the environment names stores.
pub fn are_named() -> bool {
    [DYNAMODB, S3].iter().any(|name| std::env::var_os(name).is_some())
}

/// What the randomness of a test begins with: it is the same in each run, but where tests share a DynamoDB. That remembers for ten minutes
/// the token of each transaction, to any table.
pub fn seed() -> u64 {
    if are_named() { rand::random() } else { 1 }
}

/// Fresh stores, with an empty table and an empty bucket. The keys of an embedded S3 have this secret.
pub async fn start(secret: &str) -> Backends {
    let mut backends = Backends::start(None, secret).await.expect("the stores start");
    if let Ok(url) = std::env::var(DYNAMODB) {
        backends.dynamodb = backends.dynamodb.into_builder().endpoint_url(url).credentials_provider(keys()).build();
        backends.location.table = fresh_name();
        make_table(&backends.dynamodb, &backends.location.table).await.expect("a table is made");
    }
    if let Ok(url) = std::env::var(S3) {
        backends.s3 = backends.s3.into_builder().endpoint_url(url).credentials_provider(keys()).build();
        backends.location.bucket = fresh_name();
        make_bucket(&backends.s3, &backends.location.bucket).await.expect("a bucket is made");
    }
    backends
}

/// The same stores, for a hub that finds them elsewhere.
pub fn elsewhere(backends: &Backends) -> Elsewhere {
    let Backends { dynamodb, s3, location, .. } = backends;
    Elsewhere { dynamodb: dynamodb.clone(), s3: s3.clone(), location: location.clone(), makes: true }
}

/// Those that LocalStack checks signatures with. DynamoDB Local takes any.
fn keys() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::from_keys("test", "test", None))
}

/// A name that no table and no bucket has yet.
fn fresh_name() -> String {
    format!("test-{:016x}", rand::random::<u64>())
}
