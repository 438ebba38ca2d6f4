//! Writes the answer to a fetch piece by piece, in either encoding.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::id::{CommitId, ObjectId};
use common::wire::request::Heads;
use common::wire::{Encoding, WireError, recode};
use rmp::encode::{ByteBuf, write_array_len, write_bin_len, write_map_len, write_str};
use serde::Serialize;

/// An answer under way: `{commits, snapshots, objects, branch_heads}`, in this order, and perhaps `cut` and `purged` behind that.
///
/// A list of msgpack begins with its length, so the caller says how long each will be, and keeps its word.
pub struct Encoder {
    encoding: Encoding,
    out: Vec<u8>,
    is_first: bool,
    /// Bytes of an object that do not fill a group of base64's yet: fewer than three.
    ungrouped: Vec<u8>,
}

impl Encoder {
    /// An answer in `encoding`, not yet begun.
    pub fn new(encoding: Encoding) -> Self {
        Self { encoding, out: Vec::new(), is_first: true, ungrouped: Vec::new() }
    }

    /// Begins the answer, which will have `more` fields behind those that each has.
    pub fn begin(&mut self, more: u32) {
        match self.encoding {
            Encoding::Json => self.out.push(b'{'),
            Encoding::Msgpack => self.msgpack(|out| write_map_len(out, 4 + more).map(drop)),
        }
    }

    /// How many bytes wait to be taken.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// The bytes written since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Begins a list of `length` records.
    pub fn begin_list(&mut self, name: &str, length: usize) -> Result<(), WireError> {
        self.key(name)?;
        self.is_first = true;
        match self.encoding {
            Encoding::Json => self.out.push(b'['),
            Encoding::Msgpack => {
                let length = u32::try_from(length).map_err(WireError::internal)?;
                self.msgpack(|out| write_array_len(out, length).map(drop));
            }
        }
        Ok(())
    }

    /// Writes a commit or a snapshot from its record, which is msgpack.
    pub fn record(&mut self, record: &[u8]) -> Result<(), WireError> {
        self.separate();
        match self.encoding {
            Encoding::Json => recode::to_json(record, &mut self.out)?,
            Encoding::Msgpack => self.out.extend_from_slice(record),
        }
        Ok(())
    }

    /// Begins an object of `size` bytes. The caller keeps its word.
    pub fn begin_object(&mut self, id: &ObjectId, path: &str, size: u64) -> Result<(), WireError> {
        self.separate();
        match self.encoding {
            Encoding::Json => {
                self.out.extend_from_slice(b"{\"object_id\":");
                self.json(id)?;
                self.out.extend_from_slice(b",\"path\":");
                self.json(&path)?;
                self.out.extend_from_slice(b",\"content_b64\":\"");
            }
            Encoding::Msgpack => {
                let size = u32::try_from(size).map_err(|_| {
                    WireError::internal(format!("object '{id}' has {size} bytes, and msgpack carries less than 4 GiB"))
                })?;
                self.msgpack(|out| {
                    write_map_len(out, 3)?;
                    write_str(out, "object_id")?;
                    id.as_ref().with_str(|id| write_str(out, id))?;
                    write_str(out, "path")?;
                    write_str(out, path)?;
                    write_str(out, "content")?;
                    write_bin_len(out, size).map(drop)
                });
            }
        }
        Ok(())
    }

    /// Writes the next bytes of an object.
    pub fn content(&mut self, mut bytes: &[u8]) {
        const GROUP: usize = 3;
        if self.encoding == Encoding::Msgpack {
            self.out.extend_from_slice(bytes);
            return;
        }
        if !self.ungrouped.is_empty() {
            let (filling, rest) = bytes.split_at(bytes.len().min(GROUP - self.ungrouped.len()));
            self.ungrouped.extend_from_slice(filling);
            bytes = rest;
            if self.ungrouped.len() < GROUP {
                return;
            }
            let group = std::mem::take(&mut self.ungrouped);
            self.base64(&group);
        }
        let (groups, rest) = bytes.split_at(bytes.len() - bytes.len() % GROUP);
        self.base64(groups);
        self.ungrouped.extend_from_slice(rest);
    }

    /// Ends an object.
    pub fn end_object(&mut self) {
        if self.encoding == Encoding::Json {
            let rest = std::mem::take(&mut self.ungrouped);
            self.base64(&rest);
            self.out.extend_from_slice(b"\"}");
        }
    }

    fn base64(&mut self, bytes: &[u8]) {
        let start = self.out.len();
        // Four characters for each three bytes begun, which is what the encoder wants to find.
        self.out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        let written = self.out.get_mut(start..).and_then(|place| BASE64_STANDARD.encode_slice(bytes, place).ok());
        debug_assert_eq!(written, Some(self.out.len() - start));
    }

    /// Ends a list.
    pub fn end_list(&mut self) {
        self.is_first = false;
        if self.encoding == Encoding::Json {
            self.out.push(b']');
        }
    }

    /// Ends the answer, with where history is cut and which objects were purged, if that was said at its beginning.
    pub fn end(
        &mut self,
        heads: &Heads,
        cut: Option<&[CommitId]>,
        purged: Option<&BTreeSet<ObjectId>>,
    ) -> Result<(), WireError> {
        self.key("branch_heads")?;
        let heads = self.encoding.encode(heads)?;
        self.out.extend_from_slice(&heads);
        if let Some(cut) = cut {
            self.key("cut")?;
            let cut = self.encoding.encode(&cut)?;
            self.out.extend_from_slice(&cut);
        }
        if let Some(purged) = purged {
            self.key("purged")?;
            let purged = self.encoding.encode(purged)?;
            self.out.extend_from_slice(&purged);
        }
        if self.encoding == Encoding::Json {
            self.out.push(b'}');
        }
        Ok(())
    }

    fn key(&mut self, name: &str) -> Result<(), WireError> {
        match self.encoding {
            Encoding::Json => {
                self.separate();
                self.json(&name)?;
                self.out.push(b':');
            }
            Encoding::Msgpack => self.msgpack(|out| write_str(out, name)),
        }
        Ok(())
    }

    /// Puts a comma between JSON elements.
    fn separate(&mut self) {
        if self.encoding == Encoding::Json && !std::mem::replace(&mut self.is_first, false) {
            self.out.push(b',');
        }
    }

    fn json(&mut self, value: &impl Serialize) -> Result<(), WireError> {
        serde_json::to_writer(&mut self.out, value).map_err(WireError::internal)
    }

    /// Writing to memory does not fail, which the type of the error says.
    fn msgpack<E>(&mut self, write: impl FnOnce(&mut ByteBuf) -> Result<(), rmp::encode::ValueWriteError<E>>)
    where
        E: rmp::encode::RmpWriteErr,
        std::convert::Infallible: From<E>,
    {
        let mut buffer = ByteBuf::from_vec(self.take());
        let _: Result<(), rmp::encode::ValueWriteError<E>> = write(&mut buffer);
        self.out = buffer.into_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::wire::value::Value;
    use serde_json::json;

    fn answer(encoding: Encoding) -> Vec<u8> {
        let mut encoder = Encoder::new(encoding);
        encoder.begin(2);
        let record = rmp_serde::to_vec_named(&json!({"commit_id": "c", "n": [1, null, "ü"]})).unwrap();
        encoder.begin_list("commits", 2).unwrap();
        encoder.record(&record).unwrap();
        encoder.record(&record).unwrap();
        encoder.end_list();
        encoder.begin_list("snapshots", 0).unwrap();
        encoder.end_list();
        encoder.begin_list("objects", 2).unwrap();
        encoder.begin_object(&ObjectId::of(b""), "a\"b", 0).unwrap();
        encoder.content(b"");
        encoder.end_object();
        encoder.begin_object(&ObjectId::of(b"x"), "p", 9).unwrap();
        for piece in ["", "x", "xx", "x", "xxxx", "x"] {
            encoder.content(piece.as_bytes());
        }
        encoder.end_object();
        encoder.end_list();
        encoder
            .end(
                &Heads::from([("main".to_owned(), "c".parse().unwrap())]),
                Some(&["d".parse().unwrap()]),
                Some(&BTreeSet::from(["e".parse().unwrap()])),
            )
            .unwrap();
        encoder.take()
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_decodes_in_neither_encoding() {
        for encoding in [Encoding::Json, Encoding::Msgpack] {
            let whole = answer(encoding);
            assert!(encoding.decode::<Value>(&whole).is_ok());
            for length in 0..whole.len() {
                assert!(encoding.decode::<Value>(&whole[..length]).is_err(), "{encoding:?} {length}");
            }
        }
    }

    #[test]
    fn both_encodings_say_the_same() {
        let json: serde_json::Value = serde_json::from_slice(&answer(Encoding::Json)).unwrap();
        let commit = json!({"commit_id": "c", "n": [1, null, "ü"]});
        let [empty, x] = [ObjectId::of(b"").to_string(), ObjectId::of(b"x").to_string()];
        assert_eq!(
            json,
            json!({
                "commits": [commit, commit],
                "snapshots": [],
                "objects": [
                    {"object_id": empty, "path": "a\"b", "content_b64": ""},
                    {"object_id": x, "path": "p", "content_b64": "eHh4eHh4eHh4"},
                ],
                "branch_heads": {"main": "c"},
                "cut": ["d"], "purged": ["e"],
            })
        );
        let msgpack: Value = rmp_serde::from_slice(&answer(Encoding::Msgpack)).unwrap();
        let mut msgpack = serde_json::to_value(&msgpack).unwrap();
        for object in msgpack["objects"].as_array_mut().unwrap() {
            object["content_b64"] = object["content"].take();
            object.as_object_mut().unwrap().remove("content");
        }
        assert_eq!(msgpack, json, "bytes are shown as base64 by this comparison");
    }
}
