//! A push that has more bytes than a request may have goes in parts: its objects, then its commits with their snapshots, parents
//! first, and in the last part all else that the client said.
//!
//! Records pass as the client wrote them, byte for byte. So the hub reads and checks each as it would have in the whole.

mod plan;
mod records;
mod writing;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};

use common::id::CommitId;
use common::wire::limits::MAX_OBJECTS;
use common::wire::request::Heads;
use common::wire::{Encoding, WireError};
use serde::Deserialize;

use plan::Push;
use records::{Field, Place, Records};
use writing::Writing;

/// Why a push cannot be sent in parts.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartsError {
    /// It cannot be read, and the hub would not take it either.
    #[error("{0}")]
    Malformed(String),
    /// The disk has no room for its records, or does not give them back.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// A part cannot be written.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// A request that is a part of a push.
pub(super) enum Part {
    /// `POST /push/objects`.
    Objects(Vec<Place>),
    /// `POST /push`.
    Push { part: plan::Part, is_last: bool },
}

/// A branch that moves with the last part.
#[derive(Deserialize)]
struct Named {
    branch: String,
}

/// A push that goes in parts.
pub(super) struct Parts {
    records: Records,
    branch: String,
    /// Where the client says that its branch is.
    claimed: Option<CommitId>,
    /// Where the branch has to be before the next part, if the client said where it has to be.
    expected: Option<String>,
    /// Whether other branches move with the last part.
    moves_others: bool,
    /// Bytes of the records of a part.
    bytes: usize,
}

impl Parts {
    /// Reads a push. It blocks.
    ///
    /// # Errors
    /// When it is malformed, or the disk fails.
    pub(super) fn read(body: File, encoding: Encoding, bytes: usize) -> Result<Self, PartsError> {
        let records = Records::read(body, encoding).map_err(|error| match error.kind() {
            ErrorKind::InvalidData => PartsError::Malformed(error.to_string()),
            _ => PartsError::Disk(error),
        })?;
        let branch: Option<String> = decoded(encoding, &records.of_request, "branch")?;
        let branch = branch.ok_or_else(|| {
            let reason = "missing field `branch`: a push this large goes in parts, which move one branch on, so name it beside `updates`";
            PartsError::Malformed(reason.to_owned())
        })?;
        let heads: Option<BTreeMap<String, Option<String>>> = decoded(encoding, &records.of_bundle, "branch_heads")?;
        let claimed = heads.and_then(|mut heads| heads.remove(&branch)?.filter(|head| !head.is_empty()));
        let expected = decoded(encoding, &records.of_request, "expected_head")?;
        let claimed = claimed.and_then(|head| head.parse().ok());
        let updates: Option<Vec<Named>> = decoded(encoding, &records.of_request, "updates")?;
        let updates = updates.unwrap_or_default();
        if updates.iter().any(|update| update.branch == branch) {
            let reason = format!(
                "updates: names '{branch}', and a push this large goes in parts, so say by `branch_heads` of the bundle where `branch` goes"
            );
            return Err(PartsError::Malformed(reason));
        }
        let moves_others = !updates.is_empty();
        Ok(Self { claimed, branch, expected, moves_others, bytes, records })
    }

    /// Whether the branch is where the client says that it has to be, as far as is known before anything is sent.
    pub(super) fn is_expected(&self, heads: &Heads) -> bool {
        let now = heads.get(&self.branch);
        let is_there = |expected: &String| *expected == now.map(ToString::to_string).unwrap_or_default();
        // The push may have landed, and its answer was lost.
        let is_done = now.is_some() && now == self.claimed.as_ref();
        self.expected.as_ref().is_none_or(is_there) || is_done
    }

    /// The body of a push that says where the branch has to be, and brings nothing. It blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn question(&mut self) -> Result<Vec<u8>, PartsError> {
        self.body(&Part::Push { part: plan::Part::default(), is_last: false })
    }

    /// The parts, in the order in which they have to go, in a repository whose branches are at these commits.
    ///
    /// # Errors
    /// When a commit is its own ancestor.
    pub(super) fn plan(&self, heads: &Heads) -> Result<Vec<Part>, PartsError> {
        let push = Push {
            commits: &self.records.commits,
            snapshots: &self.records.snapshots,
            branch: &self.branch,
            claimed: self.claimed.as_ref(),
            now: heads.get(&self.branch),
            is_moved_at_once: self.expected.is_some() || self.moves_others,
            bytes: self.bytes,
        };
        let pushes = push.parts().map_err(PartsError::Malformed)?;
        let mut parts = Vec::new();
        let mut objects = Vec::new();
        let mut bytes = 0;
        for place in &self.records.objects {
            if objects.len() == MAX_OBJECTS || bytes > 0 && bytes + place.length > self.bytes {
                parts.push(Part::Objects(std::mem::take(&mut objects)));
                bytes = 0;
            }
            bytes += place.length;
            objects.push(*place);
        }
        if !objects.is_empty() {
            parts.push(Part::Objects(objects));
        }
        let last = pushes.len().saturating_sub(1);
        parts.extend(pushes.into_iter().enumerate().map(|(at, part)| Part::Push { part, is_last: at == last }));
        Ok(parts)
    }

    /// The body of a part. It blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn body(&mut self, part: &Part) -> Result<Vec<u8>, PartsError> {
        let mut body = Writing::new(self.records.encoding);
        match part {
            Part::Objects(objects) => {
                body.begin_map(1)?;
                self.list(&mut body, "objects", objects)?;
            }
            Part::Push { part, is_last } => self.push(&mut body, part, *is_last)?,
        }
        body.end_map();
        Ok(body.finish())
    }

    fn push(&mut self, body: &mut Writing, part: &plan::Part, is_last: bool) -> Result<(), PartsError> {
        // What this says by itself; and no part but the last moves a branch to where it does not build on, or moves others.
        let is_passed_on =
            |(name, _): &&Field| name != "expected_head" && (is_last || !["force", "updates"].contains(&name.as_str()));
        let of_request: Vec<&Field> = self.records.of_request.iter().filter(is_passed_on).collect();
        let of_bundle: Vec<&Field> = self.records.of_bundle.iter().filter(|(name, _)| name != "branch_heads").collect();
        let commits: Vec<Place> =
            part.commits.iter().filter_map(|at| Some(self.records.commits.get(*at)?.place)).collect();

        body.begin_map(1 + of_request.len() + usize::from(self.expected.is_some()))?;
        body.key("bundle")?;
        body.begin_map(2 + of_bundle.len() + usize::from(part.head.is_some()))?;
        self.list(body, "commits", &commits)?;
        self.list(body, "snapshots", &part.snapshots)?;
        for (name, value) in of_bundle {
            body.written(name, value)?;
        }
        if let Some(head) = &part.head {
            body.field("branch_heads", &BTreeMap::from([(&self.branch, head)]))?;
        }
        body.end_map();
        for (name, value) in of_request {
            body.written(name, value)?;
        }
        if let Some(expected) = &self.expected {
            body.field("expected_head", expected)?;
            // The next part finds the branch where this one puts it. Where it stays, the client's own word holds.
            if let Some(head) = part.head.as_ref().filter(|_| part.is_moved) {
                self.expected = Some(head.to_string());
            }
        }
        Ok(())
    }

    fn list(&self, body: &mut Writing, name: &str, places: &[Place]) -> Result<(), PartsError> {
        body.key(name)?;
        body.begin_list(places.len())?;
        for place in places {
            body.item(&self.records.record(*place)?);
        }
        body.end_list();
        Ok(())
    }
}

/// The field of this name, which is the last of that name.
fn decoded<T: for<'de> Deserialize<'de>>(
    encoding: Encoding,
    fields: &[Field],
    name: &str,
) -> Result<Option<T>, PartsError> {
    let field = fields.iter().rev().find(|(key, _)| key == name);
    let value = field.map(|(_, value)| encoding.decode::<Option<T>>(value)).transpose();
    let value = value.map_err(|error| PartsError::Malformed(format!("`{name}`: {error}")))?;
    Ok(value.flatten())
}

#[cfg(test)]
mod tests;
