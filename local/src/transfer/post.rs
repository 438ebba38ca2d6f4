//! The bodies of requests, in msgpack.

use std::collections::BTreeSet;

use bytes::Bytes;
use common::id::{CommitId, ObjectKey};
use common::wire;
use rmp::Marker;
use rmp::encode::{ByteBuf, write_array_len, write_bin, write_map_len, write_str};
use serde::Serialize;

use super::Error;

/// An object that is sent inside a request.
pub(super) struct SmallObject {
    pub(super) key: ObjectKey,
    pub(super) path: Box<str>,
    pub(super) content: Bytes,
}

/// A body of which nothing is bytes.
pub(super) fn body(value: &impl Serialize) -> Result<Bytes, Error> {
    Ok(rmp_serde::to_vec_named(value).map_err(wire::Error::internal)?.into())
}

pub(super) fn fetch(want: &[CommitId], have: &[CommitId], depth: Option<u32>) -> Result<Bytes, Error> {
    #[derive(Serialize)]
    struct Body<'a> {
        want: &'a [CommitId],
        have: &'a [CommitId],
        #[serde(skip_serializing_if = "Option::is_none")]
        depth: Option<u32>,
    }
    body(&Body { want, have, depth })
}

/// A push of `branch` to `head`, by a client that knows what was `purged` there.
pub(super) fn push(
    branch: &str,
    head: &CommitId,
    commits: &[Bytes],
    snapshots: &[Bytes],
    purged: &BTreeSet<ObjectKey>,
    force: bool,
) -> Result<Bytes, Error> {
    written(|out| {
        write_map_len(out, 3 + u32::from(!purged.is_empty()))?;
        if !purged.is_empty() {
            write_str(out, "purged")?;
            write_array_len(out, purged.len() as u32)?;
            for key in purged {
                key.as_ref().with_str(|id| write_str(out, id))?;
            }
        }
        write_str(out, "branch")?;
        write_str(out, branch)?;
        write_str(out, "force")?;
        out.as_mut_vec().push(if force { Marker::True } else { Marker::False }.to_u8());
        write_str(out, "bundle")?;
        write_map_len(out, 3)?;
        for (name, records) in [("commits", commits), ("snapshots", snapshots)] {
            write_str(out, name)?;
            write_array_len(out, records.len() as u32)?;
            for record in records {
                out.as_mut_vec().extend_from_slice(record);
            }
        }
        write_str(out, "branch_heads")?;
        write_map_len(out, 1)?;
        write_str(out, branch)?;
        write_str(out, &head.to_string()).map(drop)
    })
}

pub(super) fn objects(objects: &[SmallObject]) -> Result<Bytes, Error> {
    written(|out| {
        write_map_len(out, 1)?;
        write_str(out, "objects")?;
        write_array_len(out, objects.len() as u32)?;
        for SmallObject { key, path, content } in objects {
            write_map_len(out, 3)?;
            write_str(out, "object_id")?;
            key.as_ref().with_str(|id| write_str(out, id))?;
            write_str(out, "path")?;
            write_str(out, path)?;
            write_str(out, "content")?;
            write_bin(out, content)?;
        }
        Ok(())
    })
}

type Write = Result<(), rmp::encode::ValueWriteError<std::convert::Infallible>>;

fn written(write: impl FnOnce(&mut ByteBuf) -> Write) -> Result<Bytes, Error> {
    let mut out = ByteBuf::new();
    write(&mut out).map_err(|error| wire::Error::internal(error.to_string()))?;
    Ok(out.into_vec().into())
}
