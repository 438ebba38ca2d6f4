//! A body in JSON and in msgpack.
//!
//! The kit holds every body as [`Value`]. Object bytes, which JSON lacks, are held as JSON sends them: base64 under
//! `content_b64` in the items of a list named `objects`. In msgpack the same bytes are a `content` of type bin, and bin
//! or an extension type anywhere else is refused when it is read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

/// One of the two encodings, each of which one generation of clients speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`
    Json,
    /// `application/x-msgpack`
    Msgpack,
}

impl Encoding {
    /// For tests that hold in either.
    pub const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::Msgpack];

    /// The `Content-Type` that clients of this generation send.
    pub fn content_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Msgpack => "application/x-msgpack",
        }
    }

    /// The `Accept` that clients of this generation send.
    pub fn accept(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Msgpack => "application/x-msgpack, application/json",
        }
    }

    /// The encoding that a `Content-Type` header names, its parameters aside.
    pub fn of_content_type(header: &str) -> Option<Encoding> {
        let essence = header.split(';').next().unwrap_or_default().trim();
        Encoding::BOTH.into_iter().find(|encoding| encoding.content_type() == essence)
    }

    /// The bytes of a body.
    pub fn encode(self, body: &Value) -> Vec<u8> {
        match self {
            Encoding::Json => serde_json::to_vec(body).expect("a JSON value encodes"),
            Encoding::Msgpack => encode_msgpack(&to_msgpack(body)),
        }
    }

    /// A body from its bytes, all of them.
    pub fn decode(self, bytes: &[u8]) -> Result<Value, String> {
        match self {
            Encoding::Json => serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}")),
            Encoding::Msgpack => from_msgpack(decode_msgpack(bytes)?),
        }
    }
}

/// Writes any msgpack value.
pub fn encode_msgpack(value: &rmpv::Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).expect("writing to memory succeeds");
    bytes
}

/// Reads exactly one msgpack value.
pub fn decode_msgpack(mut bytes: &[u8]) -> Result<rmpv::Value, String> {
    let value = rmpv::decode::read_value(&mut bytes).map_err(|error| format!("not msgpack: {error}"))?;
    match bytes.len() {
        0 => Ok(value),
        left => Err(format!("{left} bytes after the msgpack value")),
    }
}

/// The msgpack form of a body.
pub fn to_msgpack(value: &Value) -> rmpv::Value {
    match value {
        Value::Null => rmpv::Value::Nil,
        Value::Bool(flag) => rmpv::Value::Boolean(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(integer), ..) => integer.into(),
            (_, Some(integer), _) => integer.into(),
            (_, _, Some(float)) => rmpv::Value::F64(float),
            _ => unreachable!("a JSON number is an i64, a u64 or a finite f64"),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => rmpv::Value::Array(items.iter().map(to_msgpack).collect()),
        Value::Object(fields) => {
            let entry = |(name, value): (&String, &Value)| {
                let value = match value {
                    Value::Array(items) if name == "objects" => {
                        rmpv::Value::Array(items.iter().map(object_to_msgpack).collect())
                    }
                    other => to_msgpack(other),
                };
                (rmpv::Value::from(name.as_str()), value)
            };
            rmpv::Value::Map(fields.iter().map(entry).collect())
        }
    }
}

fn object_to_msgpack(object: &Value) -> rmpv::Value {
    let Value::Object(fields) = object else { return to_msgpack(object) };
    let entry = |(name, value): (&String, &Value)| match value {
        Value::String(text) if name == "content_b64" => {
            let content = BASE64.decode(text).expect("the kit writes good base64");
            (rmpv::Value::from("content"), rmpv::Value::Binary(content))
        }
        other => (rmpv::Value::from(name.as_str()), to_msgpack(other)),
    };
    rmpv::Value::Map(fields.iter().map(entry).collect())
}

fn from_msgpack(value: rmpv::Value) -> Result<Value, String> {
    Ok(match value {
        rmpv::Value::Nil => Value::Null,
        rmpv::Value::Boolean(flag) => flag.into(),
        rmpv::Value::Integer(integer) => match (integer.as_i64(), integer.as_u64()) {
            (Some(integer), _) => integer.into(),
            (_, Some(integer)) => integer.into(),
            _ => unreachable!("a msgpack integer is an i64 or a u64"),
        },
        rmpv::Value::F32(float) => finite(f64::from(float))?,
        rmpv::Value::F64(float) => finite(float)?,
        rmpv::Value::String(text) => text.into_str().ok_or("a msgpack string that is not UTF-8")?.into(),
        rmpv::Value::Array(items) => Value::Array(items.into_iter().map(from_msgpack).collect::<Result<_, _>>()?),
        rmpv::Value::Map(entries) => Value::Object(fields_from_msgpack(entries, |name, value| match value {
            rmpv::Value::Array(items) if name == "objects" => {
                Ok(Value::Array(items.into_iter().map(object_from_msgpack).collect::<Result<_, _>>()?))
            }
            other => from_msgpack(other),
        })?),
        rmpv::Value::Binary(_) => return Err("bin that is not an object's content".to_owned()),
        rmpv::Value::Ext(kind, _) => return Err(format!("extension type {kind}")),
    })
}

fn object_from_msgpack(value: rmpv::Value) -> Result<Value, String> {
    let rmpv::Value::Map(entries) = value else { return from_msgpack(value) };
    let mut fields = fields_from_msgpack(entries, |name, value| match (name, value) {
        ("content", rmpv::Value::Binary(content)) => Ok(BASE64.encode(content).into()),
        ("content", other) => Err(format!("content is {other}, not bin")),
        ("content_b64", _) => Err("content_b64 in a msgpack answer".to_owned()),
        (_, other) => from_msgpack(other),
    })?;
    if let Some(content) = fields.remove("content") {
        fields.insert("content_b64".to_owned(), content);
    }
    Ok(Value::Object(fields))
}

fn fields_from_msgpack(
    entries: Vec<(rmpv::Value, rmpv::Value)>,
    convert: impl Fn(&str, rmpv::Value) -> Result<Value, String>,
) -> Result<Map<String, Value>, String> {
    let mut fields = Map::new();
    for (name, value) in entries {
        let name = name.as_str().ok_or_else(|| format!("{name} as a key"))?.to_owned();
        let value = convert(&name, value)?;
        if fields.insert(name.clone(), value).is_some() {
            return Err(format!("the key {name} twice"));
        }
    }
    Ok(fields)
}

fn finite(float: f64) -> Result<Value, String> {
    serde_json::Number::from_f64(float).map(Value::Number).ok_or_else(|| format!("{float} has no JSON form"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_survives_either_encoding() {
        let body = json!({
            "objects": [{"object_id": "a", "content_b64": BASE64.encode([0, 255, 1]), "path": "x"}],
            "numbers": [i64::MIN, -1, 0, 127, 128, i64::MAX, u64::MAX, 0.5, 1.0],
            "nested": {"": [null, true, "grüße 🎵", {}]},
        });
        for encoding in Encoding::BOTH {
            assert_eq!(encoding.decode(&encoding.encode(&body)), Ok(body.clone()), "{encoding:?}");
        }
    }

    #[test]
    fn object_bytes_are_bin_in_msgpack_and_nothing_else_is() {
        let body = to_msgpack(&json!({"objects": [{"content_b64": "AP8="}]}));
        assert_eq!(body["objects"][0]["content"], rmpv::Value::Binary(vec![0, 255]));
        let stray = encode_msgpack(&rmpv::Value::Map(vec![("x".into(), rmpv::Value::Binary(vec![1]))]));
        assert!(Encoding::Msgpack.decode(&stray).is_err());
        let as_base64 = rmpv::Value::Map(vec![("content_b64".into(), "AP8=".into())]);
        let pack = rmpv::Value::Map(vec![("objects".into(), rmpv::Value::Array(vec![as_base64]))]);
        assert!(Encoding::Msgpack.decode(&encode_msgpack(&pack)).is_err());
    }

    #[test]
    fn a_cut_or_overlong_body_does_not_decode() {
        for encoding in Encoding::BOTH {
            let whole = encoding.encode(&json!({"want": ["a"], "have": []}));
            for end in 0..whole.len() {
                assert!(encoding.decode(&whole[..end]).is_err(), "{encoding:?} cut at {end}");
            }
            assert!(encoding.decode(&[&whole[..], &whole[..]].concat()).is_err(), "{encoding:?} twice");
        }
    }
}
