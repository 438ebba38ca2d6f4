//! The two encodings, and which of them a request is in and asks for.

use std::io;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde::de::Visitor;
use serde::{Deserialize, Serialize};

use super::error::WireError;
use super::limits::MAX_DEPTH;
use super::value::{NOT_KEPT, ROUNDED, Rounded};

const JSON: &str = "application/json";
/// The names that msgpack goes by: that of the Muse clients, the registered one, and the one that most others use.
/// <https://www.iana.org/assignments/media-types/application/vnd.msgpack>
pub const MSGPACK: [&str; 3] = ["application/x-msgpack", "application/vnd.msgpack", "application/msgpack"];

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`, bytes as base64.
    Json,
    /// `application/x-msgpack`, bytes as they are. <https://github.com/msgpack/msgpack/blob/master/spec.md>
    Msgpack,
}

/// Bytes of a body that is decoded once more when it is malformed, to say in which field.
const MAX_SEARCHED: usize = 4 << 20;

/// Whether a body is decoded once more to say where the error is. A value that cannot be kept is always found: a person put
/// it there.
fn is_searched(length: usize, error: &impl ToString) -> bool {
    length <= MAX_SEARCHED || error.to_string().contains(NOT_KEPT)
}

impl Encoding {
    /// The encoding of a request's body. Parameters of the content type are ignored; without one it is JSON.
    ///
    /// # Errors
    /// [`WireError::UnsupportedMediaType`] for any other type.
    pub fn of_request(headers: &HeaderMap) -> Result<Self, WireError> {
        let Some(content_type) = headers.get(CONTENT_TYPE) else {
            return Ok(Self::Json);
        };
        let text = String::from_utf8_lossy(content_type.as_bytes());
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            JSON | "" => Ok(Self::Json),
            essence if MSGPACK.contains(&essence) => Ok(Self::Msgpack),
            _ => Err(WireError::UnsupportedMediaType(essence.chars().take(100).collect())),
        }
    }

    /// The encoding that the client wants the answer in: msgpack if it accepts it at all, else JSON.
    pub fn of_answer(headers: &HeaderMap) -> Self {
        if accepted_msgpack(headers).is_some() { Self::Msgpack } else { Self::Json }
    }

    /// The content type of an answer in this encoding, to a request with these headers: msgpack by the name that it was asked for by.
    pub fn content_type_for(self, headers: &HeaderMap) -> HeaderValue {
        match self {
            Self::Json => self.content_type(),
            Self::Msgpack => accepted_msgpack(headers).map_or(self.content_type(), HeaderValue::from_static),
        }
    }

    /// The content type of an answer in this encoding.
    pub const fn content_type(self) -> HeaderValue {
        let [msgpack, ..] = MSGPACK;
        HeaderValue::from_static(match self {
            Self::Json => JSON,
            Self::Msgpack => msgpack,
        })
    }

    /// Decodes a whole body: nothing may follow the value.
    ///
    /// # Errors
    /// [`WireError::MalformedBody`], saying what is wrong and where; [`WireError::Invalid`] for a value in a record that would not
    /// come back to every client as it was sent.
    pub fn decode<'de, T: Deserialize<'de>>(self, body: &'de [u8]) -> Result<T, WireError> {
        match self {
            Self::Json => {
                // All of it, because the decoder does not look into strings that it skips.
                let text = std::str::from_utf8(body).map_err(|error| malformed("", error))?;
                // Some editors and some languages begin every text with it.
                let text = text.strip_prefix('\u{feff}').unwrap_or(text);
                ROUNDED.set(Rounded::Unmet);
                let decoded = serde_json::from_str(text);
                let is_rounded = ROUNDED.get() == Rounded::Met && has_long_integer(text);
                match decoded {
                    Ok(value) if !is_rounded => return Ok(value),
                    Err(error) if !is_rounded && !is_searched(text.len(), &error) => {
                        return Err(malformed("", describe_json(&error, text)));
                    }
                    _ => {}
                }
                ROUNDED.set(if is_rounded { Rounded::Refused } else { Rounded::Unmet });
                // The place of a fault is tracked in a second pass, because tracking it costs time.
                let mut deserializer = serde_json::Deserializer::from_str(text);
                Err(match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
                    Err(error) => malformed(&error.path().to_string(), describe_json(error.inner(), text)),
                    Ok(_) => malformed("", "something follows the end of the JSON value"),
                })
            }
            Self::Msgpack => decode_msgpack(body).map_err(|error| {
                if !is_searched(body.len(), &error) {
                    return malformed("", describe_msgpack(&error));
                }
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
    /// [`WireError::Internal`] when the value cannot be written, which is a fault of the hub's.
    pub fn encode<T: Serialize>(self, value: &T) -> Result<Vec<u8>, WireError> {
        match self {
            Self::Json => serde_json::to_vec(value).map_err(WireError::internal),
            Self::Msgpack => rmp_serde::to_vec_named(value).map_err(WireError::internal),
        }
    }
}

/// The first of the names of msgpack that the client accepts.
fn accepted_msgpack(headers: &HeaderMap) -> Option<&'static str> {
    let accepts = |name: &str| {
        headers.get_all(ACCEPT).iter().any(|value| {
            let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
            value.contains(name)
        })
    };
    MSGPACK.into_iter().find(|name| accepts(name))
}

/// Decodes msgpack that has nothing behind it.
pub(crate) fn decode_msgpack<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    deserializer.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut deserializer)?;
    // At the end there is no further marker to read. Anything else is refused before any of it is read on.
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

fn malformed(path: &str, reason: impl std::fmt::Display) -> WireError {
    let text = reason.to_string();
    if let Some((_, why)) = text.split_once(NOT_KEPT) {
        // The path of a map's entry has its key in it, and that may be the whole body.
        let path: String = path.chars().take(100).collect();
        return WireError::invalid(&path, format_args!("{NOT_KEPT}{why}"));
    }
    let place = match path {
        // The decoder does not know where it was.
        "" | "." | "?" => "the body".to_owned(),
        path => format!("at {path}"),
    };
    // A decoder may quote the value that it did not expect, and that may be the whole body.
    WireError::MalformedBody(format!("{place}: {text}").chars().take(300).collect())
}

fn describe_json(error: &serde_json::Error, text: &str) -> String {
    let described = error.to_string();
    if described.contains(NOT_KEPT) {
        // It is about the value; where that is, its path says.
        let place = format!(" at line {} column {}", error.line(), error.column());
        return described.strip_suffix(&place).unwrap_or(&described).to_owned();
    }
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let rest = line.get(error.column().saturating_sub(1)..).unwrap_or_default();
    if rest.starts_with("NaN") || rest.starts_with("Infinity") {
        return format!("JSON has no NaN and no infinities; leave the value out, or send null: {described}");
    }
    described
}

/// Whether a JSON text has an integer that 64 bits do not hold.
fn has_long_integer(text: &str) -> bool {
    let mut rest = text;
    while let Some(start) = rest.find(|character: char| matches!(character, '"' | '-' | '0'..='9')) {
        rest = rest.get(start..).unwrap_or_default();
        if let Some(string) = rest.strip_prefix('"') {
            rest = behind_string(string);
            continue;
        }
        let end = rest.find(|character: char| !matches!(character, '-' | '+' | '.' | 'e' | 'E' | '0'..='9'));
        let (number, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let is_integer = !number.contains(['.', 'e', 'E']);
        if is_integer && number.parse::<u64>().is_err() && number.parse::<i64>().is_err() {
            return true;
        }
        rest = behind;
    }
    false
}

/// What follows a JSON string of which this is the rest.
fn behind_string(mut text: &str) -> &str {
    while let Some(at) = text.find(['"', '\\']) {
        let is_end = text.as_bytes().get(at) == Some(&b'"');
        // What is escaped may be a quote; anything longer than one byte has none in it.
        let next = if is_end { at + 1 } else { at + 2 };
        text = text.get(next..).unwrap_or_default();
        if is_end {
            return text;
        }
    }
    ""
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
