//! Bodies of requests, made of records that are passed on as they were written.

use common::wire::{Encoding, WireError};
use rmp::encode::{write_array_len, write_map_len, write_str};
use serde::Serialize;

/// A value under way, in either encoding. What it is made of has the lengths that were said.
pub struct Writing {
    encoding: Encoding,
    out: Vec<u8>,
    /// Whether the next key or item is the first of its map or list.
    is_first: bool,
}

impl Writing {
    pub const fn new(encoding: Encoding) -> Self {
        Self { encoding, out: Vec::new(), is_first: true }
    }

    pub fn begin_map(&mut self, fields: usize) -> Result<(), WireError> {
        self.begin(b'{', |out| write_map_len(out, length(fields)?).map(drop).map_err(WireError::internal))
    }

    pub fn begin_list(&mut self, items: usize) -> Result<(), WireError> {
        self.begin(b'[', |out| write_array_len(out, length(items)?).map(drop).map_err(WireError::internal))
    }

    fn begin(
        &mut self,
        bracket: u8,
        msgpack: impl FnOnce(&mut Vec<u8>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        self.is_first = true;
        match self.encoding {
            Encoding::Json => self.out.push(bracket),
            Encoding::Msgpack => msgpack(&mut self.out)?,
        }
        Ok(())
    }

    pub fn end_map(&mut self) {
        self.end(b'}');
    }

    pub fn end_list(&mut self) {
        self.end(b']');
    }

    fn end(&mut self, bracket: u8) {
        if self.encoding == Encoding::Json {
            self.out.push(bracket);
        }
        self.is_first = false;
    }

    fn separate(&mut self) {
        let is_first = std::mem::replace(&mut self.is_first, false);
        if self.encoding == Encoding::Json && !is_first {
            self.out.push(b',');
        }
    }

    pub fn key(&mut self, name: &str) -> Result<(), WireError> {
        self.separate();
        match self.encoding {
            Encoding::Json => {
                self.out.extend(serde_json::to_vec(name).map_err(WireError::internal)?);
                self.out.push(b':');
            }
            Encoding::Msgpack => write_str(&mut self.out, name).map_err(WireError::internal)?,
        }
        Ok(())
    }

    /// A field whose value is in this encoding.
    pub fn written(&mut self, name: &str, value: &[u8]) -> Result<(), WireError> {
        self.key(name)?;
        self.out.extend_from_slice(value);
        Ok(())
    }

    pub fn field(&mut self, name: &str, value: &impl Serialize) -> Result<(), WireError> {
        let value = self.encoding.encode(value)?;
        self.written(name, &value)
    }

    /// An item of a list, in this encoding.
    pub fn item(&mut self, item: &[u8]) {
        self.separate();
        self.out.extend_from_slice(item);
    }

    pub fn finish(self) -> Vec<u8> {
        self.out
    }
}

fn length(length: usize) -> Result<u32, WireError> {
    u32::try_from(length).map_err(WireError::internal)
}
