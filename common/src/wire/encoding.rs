//! The two encodings, and which of them a request is in and asks for.

use std::io;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde::de::Visitor;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::limits::MAX_DEPTH;

const JSON: &str = "application/json";
const MSGPACK: &str = "application/x-msgpack";

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`, bytes as base64.
    Json,
    /// `application/x-msgpack`, bytes as they are. <https://github.com/msgpack/msgpack/blob/master/spec.md>
    Msgpack,
}

impl Encoding {
    /// The encoding of a request's body. Parameters of the content type are ignored; without one it is JSON.
    ///
    /// # Errors
    /// [`Error::UnsupportedMediaType`] for any other type.
    pub fn of_request(headers: &HeaderMap) -> Result<Self, Error> {
        let Some(content_type) = headers.get(CONTENT_TYPE) else {
            return Ok(Self::Json);
        };
        let text = String::from_utf8_lossy(content_type.as_bytes());
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            JSON | "" => Ok(Self::Json),
            MSGPACK => Ok(Self::Msgpack),
            _ => Err(Error::UnsupportedMediaType(essence.chars().take(100).collect())),
        }
    }

    /// The encoding that the client wants the answer in: msgpack if it accepts it at all, else JSON.
    pub fn of_answer(headers: &HeaderMap) -> Self {
        let accepts_msgpack = |value: &HeaderValue| {
            let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
            value.contains(MSGPACK)
        };
        if headers.get_all(ACCEPT).iter().any(accepts_msgpack) { Self::Msgpack } else { Self::Json }
    }

    /// The content type of an answer in this encoding.
    pub const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => JSON,
            Self::Msgpack => MSGPACK,
        })
    }

    /// Decodes a whole body: nothing may follow the value.
    ///
    /// # Errors
    /// [`Error::MalformedBody`], saying what is wrong and where.
    pub fn decode<'de, T: Deserialize<'de>>(self, body: &'de [u8]) -> Result<T, Error> {
        match self {
            Self::Json => {
                // All of it, because the decoder does not look into strings that it skips.
                let text = std::str::from_utf8(body).map_err(|error| malformed("", error))?;
                serde_json::from_str(text).map_err(|_| {
                    // The place of a fault is tracked in a second pass, because tracking it costs time.
                    let mut deserializer = serde_json::Deserializer::from_str(text);
                    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
                        Err(error) => malformed(&error.path().to_string(), error.inner()),
                        Ok(_) => malformed("", "something follows the end of the JSON value"),
                    }
                })
            }
            Self::Msgpack => decode_msgpack(body).map_err(|_| {
                let mut deserializer = rmp_serde::Deserializer::new(io::Cursor::new(body));
                deserializer.set_max_depth(MAX_DEPTH);
                let (path, reason) = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
                    Err(error) => (error.path().to_string(), describe_msgpack(error.inner())),
                    Ok(_) => (String::new(), "something follows the end of the msgpack value".to_owned()),
                };
                malformed(&path, format_args!("{reason}, at byte {}", deserializer.position()))
            }),
        }
    }

    /// Encodes an answer.
    ///
    /// # Errors
    /// [`Error::Internal`] when the value cannot be written, which is a fault of the hub's.
    pub fn encode<T: Serialize>(self, value: &T) -> Result<Vec<u8>, Error> {
        match self {
            Self::Json => serde_json::to_vec(value).map_err(Error::internal),
            Self::Msgpack => rmp_serde::to_vec_named(value).map_err(Error::internal),
        }
    }
}

/// Decodes msgpack that has nothing behind it.
pub(crate) fn decode_msgpack<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    deserializer.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut deserializer)?;
    // At the end there is no further marker to read; whatever else is met is refused before any of it is read on.
    match serde::Deserializer::deserialize_any(&mut deserializer, NothingMore) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(rmp_serde::decode::Error::Syntax("something follows the end of the msgpack value".to_owned())),
    }
}

/// Takes no value at all.
struct NothingMore;

impl Visitor<'_> for NothingMore {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("nothing more")
    }
}

fn malformed(path: &str, reason: impl std::fmt::Display) -> Error {
    let place = match path {
        // The decoder does not know where it was.
        "" | "." | "?" => "the body".to_owned(),
        path => format!("at {path}"),
    };
    // A decoder may quote the value that it did not expect, and that may be the whole body.
    Error::MalformedBody(format!("{place}: {reason}").chars().take(300).collect())
}

fn describe_msgpack(error: &rmp_serde::decode::Error) -> String {
    use rmp_serde::decode::Error as Msgpack;
    match error {
        Msgpack::InvalidMarkerRead(cause) | Msgpack::InvalidDataRead(cause)
            if cause.kind() == io::ErrorKind::UnexpectedEof =>
        {
            "the msgpack ends too early".to_owned()
        }
        Msgpack::DepthLimitExceeded => format!("more than {MAX_DEPTH} nested lists and maps"),
        error => error.to_string(),
    }
}
