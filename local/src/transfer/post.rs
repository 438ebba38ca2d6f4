//! The bodies of requests, in msgpack.

use bytes::Bytes;
use common::wire::Encoding;
use serde::Serialize;

use super::Error;

pub(super) fn body(request: &impl Serialize) -> Result<Bytes, Error> {
    Ok(Encoding::Msgpack.encode(request)?.into())
}
