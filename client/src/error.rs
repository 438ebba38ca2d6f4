//! Why a hub did not give what it was asked for.

use std::io;

use http::StatusCode;

/// Why a hub did not give what it was asked for. The sentence is for the one who typed the command.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It was not asked, or not understood, and the sentence says what to do.
    #[error("{0}")]
    Refused(String),
    /// It was not asked, for it is not for who asks.
    #[error("{0}")]
    NotAllowed(String),
    /// Nothing could be reached over https.
    #[error("cannot load the certificates that this system trusts; on Debian they are in the package ca-certificates")]
    Certificates(#[source] io::Error),
    /// The hub refused, with its own sentence.
    #[error("{hub} refused {request} with {status} {code}: {detail}")]
    Hub {
        /// The repo's name or URL.
        hub: String,
        /// Method and endpoint.
        request: &'static str,
        /// The status.
        status: u16,
        /// The error code, for programs.
        code: String,
        /// What the hub says.
        detail: String,
    },
    /// The hub cannot be reached, broke off, or does not speak the protocol.
    #[error("{hub}: {reason}")]
    Broken {
        /// The repo's name or URL.
        hub: String,
        /// What went wrong.
        reason: String,
    },
    /// The hub is in this process, and made no token.
    #[error(transparent)]
    Token(#[from] common::wire::WireError),
}

impl ClientError {
    /// Whether the hub refused with this status.
    pub fn has_status(&self, wanted: StatusCode) -> bool {
        matches!(self, Self::Hub { status, .. } if *status == wanted.as_u16())
    }

    /// Whether the hub says that there is no such thing.
    pub fn is_missing(&self) -> bool {
        self.has_status(StatusCode::NOT_FOUND)
    }

    /// Whether sending the same request again may help.
    pub fn passes(&self) -> bool {
        match self {
            Self::Hub { status, .. } => *status >= 500 || *status == 429,
            Self::Broken { .. } => true,
            _ => false,
        }
    }
}

/// An answer; none if it is that there is no such thing.
///
/// # Errors
/// Any other refusal.
pub fn if_there<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Err(error) if error.is_missing() => Ok(None),
        answer => answer.map(Some),
    }
}
