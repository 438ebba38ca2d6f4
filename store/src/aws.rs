//! How a function reaches AWS: as Lambda says in its environment.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::Builder;
pub use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// How long a connection to a service may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How to reach one service, `DYNAMODB` or `S3`: in the region `AWS_REGION`, with the credentials in `AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`; not on AWS but at `AWS_ENDPOINT_URL_<service>` or else
/// `AWS_ENDPOINT_URL`, if one of them is set.
///
/// The SDK's own loader would look for profiles, containers, instances and roles too. Lambda has none of them, and the code
/// for them is a good part of a function's size.
pub fn config(service: &str) -> SdkConfig {
    let credentials = SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new());
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(variable("AWS_REGION").map(Region::new))
        .credentials_provider(credentials)
        .http_client(http_client());
    match variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| variable("AWS_ENDPOINT_URL")) {
        Some(endpoint) => config.endpoint_url(endpoint).build(),
        None => config.build(),
    }
}

/// The HTTP client that the SDK is to call AWS with: what it would make by itself, but for the cryptography under TLS,
/// which is ring's: AWS's own is larger.
pub fn http_client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector =
            Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.build()
    })
}

/// What makes single requests with the same connections and the same TLS, to a server that is not AWS.
pub fn connector() -> Connector {
    Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).proxy_config(ProxyConfig::from_env()).build()
}

/// How S3 is spoken to. An endpoint that is named, here or in the environment, is a server of its own, which has no host name for
/// each bucket: the bucket is in the path.
pub fn s3_config(config: &SdkConfig) -> aws_sdk_s3::config::Builder {
    let is_named = config.endpoint_url().is_some()
        || ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"].iter().any(|name| variable(name).is_some());
    aws_sdk_s3::config::Builder::from(config).force_path_style(is_named)
}

/// How long an attempt at a call may take before the SDK makes another, and the call with all its attempts.
pub fn timeouts((attempt, call): (Duration, Duration)) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(call)
        .build()
}

/// The same for one call of S3's, in which a whole file goes.
pub(crate) fn s3_timeouts(timeouts_of: (Duration, Duration)) -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::config::Builder::new().timeout_config(timeouts(timeouts_of))
}

/// What a variable of the environment holds; nothing where it is empty.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
