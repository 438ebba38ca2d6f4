//! What the proxy answers by itself, as the hub would: JSON with a stable code and a sentence.

use std::io;
use std::time::Duration;

use client::HubUrl;
use client::http::{Body, Failure, full};
use common::wire::error::with_causes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use indicatif::HumanBytes;

use super::parts::PartsError;

/// Why a request does not come to the hub, or its answer not to the client.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// 400: the request's target is no path.
    #[error("the proxy takes requests for a path, such as /<owner>/<slug>/refs")]
    NoPath,
    /// 400: the client broke off.
    #[error("the body: it broke off: {0}")]
    BrokenBody(String),
    /// 400: the body of a push that is too large for one request cannot be read.
    #[error("the body: {0}")]
    Malformed(String),
    /// 413: no hub takes so much.
    #[error("the body has more than {}, the most that one request may have: push in smaller parts", HumanBytes(*.0))]
    TooLarge(u64),
    /// 500: a large body could not be kept.
    #[error(
        "the proxy cannot keep the body in {}: {error}; make room there, or name another folder with TMPDIR",
        std::env::temp_dir().display()
    )]
    NotKept { error: io::Error },
    /// 500: a fault of the proxy itself.
    #[error("the proxy failed: {0}")]
    Fault(String),
    /// 502: there is no connection to the hub.
    #[error("the proxy cannot reach {hub}: {cause}; is the hub up and its URL right?")]
    Unreachable { hub: HubUrl, cause: String },
    /// 502: there was a connection to the hub.
    #[error("the connection to {hub} broke off before the answer: {cause}; the same request may be sent again")]
    BrokeOff { hub: HubUrl, cause: String },
    /// 504: the hub neither takes more of the request nor answers it.
    #[error("{hub} was silent for {} seconds; the same request may be sent again", .pause.as_secs())]
    Silent { hub: HubUrl, pause: Duration },
    /// 502: what the hub says of an upload is not of the protocol.
    #[error("{0} did not answer as a hub does when it is asked for an upload: is its URL right?")]
    NoUpload(HubUrl),
    /// 502: what the hub says of its branches is not of the protocol.
    #[error("{hub} did not answer as a hub does when it is asked for branches: {cause}; is its URL right?")]
    NoRefs { hub: HubUrl, cause: String },
    /// 502: the storage did not take the body.
    #[error("the storage at {storage} did not take the body: {cause}; the same request may be sent again")]
    NotUploaded { storage: String, cause: String },
}

impl From<PartsError> for Refusal {
    fn from(error: PartsError) -> Self {
        match error {
            PartsError::Malformed(reason) => Self::Malformed(reason),
            PartsError::Disk(error) => Self::NotKept { error },
            PartsError::Wire(error) => Self::Fault(with_causes(&error)),
        }
    }
}

impl Refusal {
    /// The hub could not be called.
    pub(super) fn of_hub(hub: &HubUrl, failure: Failure) -> Self {
        let hub = hub.clone();
        match failure {
            Failure::Connect(cause) => Self::Unreachable { hub, cause },
            Failure::BrokeOff(cause) => Self::BrokeOff { hub, cause },
            Failure::Silent(pause) => Self::Silent { hub, pause },
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoPath | Self::BrokenBody(_) | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotKept { .. } | Self::Fault(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unreachable { .. }
            | Self::BrokeOff { .. }
            | Self::NoUpload(_)
            | Self::NoRefs { .. }
            | Self::NotUploaded { .. } => StatusCode::BAD_GATEWAY,
            Self::Silent { .. } => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoPath => "invalid",
            Self::BrokenBody(_) | Self::Malformed(_) => "malformed_body",
            Self::TooLarge(_) => "payload_too_large",
            Self::NotKept { .. } => "body_not_kept",
            Self::Fault(_) => "internal_error",
            Self::Unreachable { .. } | Self::BrokeOff { .. } | Self::NoRefs { .. } => "hub_unreachable",
            Self::Silent { .. } => "hub_timeout",
            Self::NoUpload(_) | Self::NotUploaded { .. } => "upload_failed",
        }
    }

    /// The answer to the client, and a line in the log where it is not the client's fault.
    pub(super) fn answer(&self, route: &str) -> Response<Body> {
        if self.status().is_server_error() {
            tracing::warn!(route, "{}", with_causes(self));
        }
        let body = serde_json::json!({ "error": self.code(), "detail": self.to_string() }).to_string();
        let mut answer = Response::new(full(body));
        *answer.status_mut() = self.status();
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }
}
