//! Reads the answer to a fetch while it comes, in bounded memory for any length of the answer and of its objects. Each step
//! fails when the hub does not answer, or not as it should.

use bytes::{Buf, Bytes, BytesMut};
use common::id::{CommitId, ObjectId};
use common::wire::Text;
use common::wire::request::{FetchRequest, NO_OBJECTS, NO_SNAPSHOTS};
use rmp::Marker;
use serde::de::DeserializeOwned;

use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::http::Body;
use crate::remote::{Remote, is_json, next_piece};

/// Bytes of one commit or snapshot: no hub takes a larger one in.
const MAX_RECORD: usize = 256 << 20;
/// Bytes of an object that are handed on at once.
const PIECE: usize = 256 << 10;

/// Fields that each answer has.
const FIELDS: u64 = 4;

/// What a fetch is bounded by. A hub that knows of no such bounds sends all, or refuses them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Within {
    /// How many commits are wanted on each way back.
    pub depth: Option<u32>,
    /// What is not wanted of them.
    pub leaves_out: Option<LeavesOut>,
}

/// What is not wanted of commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeavesOut {
    /// The objects of their snapshots.
    Objects,
    /// Their snapshots, and so the objects too.
    Snapshots,
}

/// An answer under way: `{commits, snapshots, objects, branch_heads}`, in this order, in msgpack.
pub struct Fetching<'a> {
    remote: &'a Remote,
    body: Body,
    arrived: BytesMut,
    /// Bytes of the current object's content that did not come yet, and its fields behind that.
    content_left: u64,
    fields_left: u64,
    /// Fields of the answer behind those that each has.
    more_fields: u64,
}

/// An object on its way.
pub struct Arriving {
    /// Its id, as the hub says.
    pub id: ObjectId,
    /// Its bytes.
    pub size: u64,
}

impl<'a> Fetching<'a> {
    /// Asks for all that `want` reaches and `have` does not.
    pub async fn begin(remote: &'a Remote, want: &[CommitId], have: &[CommitId]) -> Result<Self, ClientError> {
        Self::begin_within(remote, want, have, Within::default()).await
    }

    /// The same within bounds.
    pub async fn begin_within(
        remote: &'a Remote,
        want: &[CommitId],
        have: &[CommitId],
        within: Within,
    ) -> Result<Self, ClientError> {
        let have: Vec<Text<'_>> = have.iter().map(|id| id.to_string().into()).collect();
        let request = FetchRequest {
            want: Some(want.to_vec().into()),
            have: have.into(),
            branches: None,
            depth: within.depth.map(i64::from),
            filter: within.leaves_out.map(|leaves_out| match leaves_out {
                LeavesOut::Objects => NO_OBJECTS.into(),
                LeavesOut::Snapshots => NO_SNAPSHOTS.into(),
            }),
        };
        let answer = remote.post(Endpoint::Fetch, &request).await?;
        if is_json(&answer) {
            return Err(ClientError::Refused(format!(
                "{remote} answers a fetch in JSON, and this reads msgpack alone"
            )));
        }
        let body = answer.into_body();
        let (arrived, content_left, fields_left) = (BytesMut::new(), 0, 0);
        let mut fetching = Self { remote, body, arrived, content_left, fields_left, more_fields: 0 };
        fetching.more_fields = fetching.length_of_map().await?.saturating_sub(FIELDS);
        Ok(fetching)
    }

    /// Begins the next list, which has to have this name. How many records it has.
    pub async fn list(&mut self, name: &str) -> Result<u64, ClientError> {
        let key: String = self.value().await?;
        if key != name {
            return Err(self.not_understood(&format!("there is {key:?} in the place of {name:?}")));
        }
        match self.marker().await? {
            Marker::FixArray(length) => Ok(length.into()),
            Marker::Array16 => Ok(self.number::<2>().await?),
            Marker::Array32 => Ok(self.number::<4>().await?),
            _ => Err(self.not_understood(&format!("{name} is no list"))),
        }
    }

    /// The next record of the list, as one msgpack value.
    pub async fn record(&mut self) -> Result<Bytes, ClientError> {
        let mut scan = Scan { at: 0, values: 1 };
        loop {
            match scan.advance(&self.arrived) {
                Some(true) => return Ok(self.arrived.split_to(scan.at).freeze()),
                Some(false) if self.arrived.len() > MAX_RECORD => {
                    return Err(self.not_understood("a record is larger than any that a hub takes"));
                }
                Some(false) => self.read_on().await?,
                None => return Err(self.not_understood("it is no msgpack")),
            }
        }
    }

    async fn value<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        let record = self.record().await?;
        rmp_serde::from_slice(&record).map_err(|error| self.not_understood(&error.to_string()))
    }

    /// Begins the next object of the list. What was not read of the one before is passed over.
    pub async fn object(&mut self) -> Result<Arriving, ClientError> {
        self.end_object().await?;
        let mut fields = self.length_of_map().await?;
        let mut id: Option<ObjectId> = None;
        while fields > 0 {
            fields -= 1;
            let key: String = self.value().await?;
            match (key.as_str(), &id) {
                ("object_id", _) => id = Some(self.value().await?),
                ("content", Some(id)) => {
                    let id = id.clone();
                    let size = match self.marker().await? {
                        Marker::Bin8 => self.number::<1>().await?,
                        Marker::Bin16 => self.number::<2>().await?,
                        Marker::Bin32 => self.number::<4>().await?,
                        _ => return Err(self.not_understood("the content of an object is not bytes")),
                    };
                    (self.content_left, self.fields_left) = (size, fields);
                    return Ok(Arriving { id, size });
                }
                _ => drop(self.record().await?),
            }
        }
        Err(self.not_understood("an object has no id and content, in this order"))
    }

    /// The next bytes of the current object; none at its end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        if self.content_left == 0 {
            return Ok(None);
        }
        if self.arrived.is_empty() {
            self.read_on().await?;
        }
        let length = usize::try_from(self.content_left).unwrap_or(usize::MAX).min(self.arrived.len()).min(PIECE);
        self.content_left -= length as u64;
        Ok(Some(self.arrived.split_to(length).freeze()))
    }

    /// Reads to the end, which says that the answer was all there. The objects that would be in it had they not been purged.
    pub async fn finish(mut self) -> Result<Vec<ObjectId>, ClientError> {
        self.end_object().await?;
        let key: String = self.value().await?;
        if key != "branch_heads" {
            return Err(self.not_understood("it has no branch_heads at its end"));
        }
        self.record().await?;
        let mut purged = Vec::new();
        for _ in 0..self.more_fields {
            match self.value::<String>().await?.as_str() {
                "purged" => purged = self.value().await?,
                _ => drop(self.record().await?),
            }
        }
        Ok(purged)
    }

    async fn end_object(&mut self) -> Result<(), ClientError> {
        while self.piece().await?.is_some() {}
        while self.fields_left > 0 {
            self.fields_left -= 1;
            self.record().await?;
            self.record().await?;
        }
        Ok(())
    }

    async fn length_of_map(&mut self) -> Result<u64, ClientError> {
        match self.marker().await? {
            Marker::FixMap(length) => Ok(length.into()),
            Marker::Map16 => Ok(self.number::<2>().await?),
            Marker::Map32 => Ok(self.number::<4>().await?),
            _ => Err(self.not_understood("there is no map where one should be")),
        }
    }

    async fn marker(&mut self) -> Result<Marker, ClientError> {
        while self.arrived.is_empty() {
            self.read_on().await?;
        }
        Ok(Marker::from_u8(self.arrived.get_u8()))
    }

    async fn number<const BYTES: usize>(&mut self) -> Result<u64, ClientError> {
        while self.arrived.len() < BYTES {
            self.read_on().await?;
        }
        Ok(self.arrived.get_uint(BYTES))
    }

    async fn read_on(&mut self) -> Result<(), ClientError> {
        match next_piece(&mut self.body).await {
            Ok(Some(piece)) => {
                self.arrived.extend_from_slice(&piece);
                Ok(())
            }
            Ok(None) => Err(self.remote.broken("the answer to a fetch ended too early")),
            Err(reason) => Err(self.remote.broken(format!("the answer to a fetch broke off: {reason}"))),
        }
    }

    fn not_understood(&self, reason: &str) -> ClientError {
        self.remote.broken(format!("the answer to a fetch is not what it should be: {reason}"))
    }
}

/// Looks for the end of a msgpack value, from where the last look ended.
struct Scan {
    /// Where the next value begins, or where the bytes of the last one end.
    at: usize,
    /// Values that are still to come.
    values: u64,
}

impl Scan {
    /// Whether the value is all there; none if it is no msgpack.
    fn advance(&mut self, bytes: &[u8]) -> Option<bool> {
        while self.values > 0 {
            let Some((marker, rest)) = bytes.get(self.at..).and_then(<[u8]>::split_first) else {
                return Some(false);
            };
            let number = |length: usize| {
                let number = rest.get(..length)?;
                Some(number.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
            };
            // How many bytes its length takes, how many bytes follow it at any length, and how many values.
            let (length_bytes, more_bytes, content, children) = match Marker::from_u8(*marker) {
                Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => (0, 0, false, 0),
                Marker::U8 | Marker::I8 => (0, 1, false, 0),
                Marker::U16 | Marker::I16 => (0, 2, false, 0),
                Marker::U32 | Marker::I32 | Marker::F32 => (0, 4, false, 0),
                Marker::U64 | Marker::I64 | Marker::F64 => (0, 8, false, 0),
                Marker::FixStr(length) => (0, usize::from(length), false, 0),
                Marker::Str8 | Marker::Bin8 => (1, 0, true, 0),
                Marker::Str16 | Marker::Bin16 => (2, 0, true, 0),
                Marker::Str32 | Marker::Bin32 => (4, 0, true, 0),
                Marker::Ext8 => (1, 1, true, 0),
                Marker::Ext16 => (2, 1, true, 0),
                Marker::Ext32 => (4, 1, true, 0),
                Marker::FixExt1 => (0, 2, false, 0),
                Marker::FixExt2 => (0, 3, false, 0),
                Marker::FixExt4 => (0, 5, false, 0),
                Marker::FixExt8 => (0, 9, false, 0),
                Marker::FixExt16 => (0, 17, false, 0),
                Marker::FixArray(length) => {
                    self.values += u64::from(length);
                    (0, 0, false, 0)
                }
                Marker::FixMap(length) => {
                    self.values += 2 * u64::from(length);
                    (0, 0, false, 0)
                }
                Marker::Array16 => (2, 0, false, 1),
                Marker::Array32 => (4, 0, false, 1),
                Marker::Map16 => (2, 0, false, 2),
                Marker::Map32 => (4, 0, false, 2),
                Marker::Reserved => return None,
            };
            let Some(length) = number(length_bytes) else {
                return Some(false);
            };
            self.values = self.values - 1 + length * children;
            let content = if content { usize::try_from(length).ok()? } else { 0 };
            self.at = self.at.checked_add(1 + length_bytes + more_bytes)?.checked_add(content)?;
        }
        Some(self.at <= bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::wire::value::Value;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            any::<u64>().prop_map(Value::Unsigned),
            (i64::MIN..0).prop_map(Value::Signed),
            any::<f64>().prop_map(Value::Float),
            "\\PC{0,300}".prop_map(|text| Value::Text(text.into())),
            prop::collection::vec(any::<u8>(), 0..70_000).prop_map(|bytes| Value::Bytes(bytes.into())),
        ];
        leaf.prop_recursive(4, 100, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::List),
                prop::collection::vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn the_end_of_a_value_is_found_however_it_comes(value in values(), step in 1_usize..5_000) {
            let mut bytes = rmp_serde::to_vec(&value).unwrap();
            let length = bytes.len();
            bytes.extend_from_slice(b"what follows");
            let mut scan = Scan { at: 0, values: 1 };
            let mut there = 0;
            loop {
                match scan.advance(&bytes[..there]) {
                    Some(true) => break,
                    Some(false) => {
                        prop_assert!(there < length, "not found in {} of {}", there, length);
                        there = (there + step).min(bytes.len());
                    }
                    None => prop_assert!(false, "no msgpack"),
                }
            }
            prop_assert_eq!(scan.at, length);
        }
    }
}
