//! Histories as a client of the second generation sends them, with the ids that it gives.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::Failure;

/// A SHA-256.
pub type Hash = [u8; 32];

/// A commit as it is sent.
#[derive(Serialize)]
pub struct Commit {
    /// Its id.
    pub commit_id: String,
    /// The branch that it was made on.
    pub branch: String,
    /// The tree.
    pub snapshot_id: String,
    /// What was done.
    pub message: String,
    /// When.
    pub committed_at: String,
    /// What it builds upon.
    pub parent_commit_id: Option<String>,
    /// What it merges with that.
    pub parent2_commit_id: Option<String>,
    author: &'static str,
}

/// A snapshot as it is sent.
#[derive(Serialize)]
pub struct Snapshot {
    /// Its id.
    pub snapshot_id: String,
    /// The id of the object of each path.
    pub manifest: BTreeMap<String, String>,
    created_at: String,
}

/// An object as it is sent.
#[derive(Serialize)]
pub struct Object {
    /// Its id.
    pub object_id: String,
    /// Its bytes.
    pub content: ByteBuf,
    /// The path that holds it.
    pub path: String,
}

impl Object {
    /// These bytes, and their hash.
    pub fn new(path: String, content: Vec<u8>) -> (Hash, Self) {
        let hash: Hash = Sha256::digest(&content).into();
        (hash, Self { object_id: hex::encode(hash), content: content.into(), path })
    }
}

impl Snapshot {
    /// The text that its id is the hash of. No path is the beginning of another, so the order of paths is that of the entries.
    pub fn text(&self) -> String {
        let entries: Vec<String> = self.manifest.iter().map(|(path, object)| format!("{path}\0{object}")).collect();
        entries.join("\0")
    }
}

/// The body of a push whose objects are staged.
#[derive(Serialize)]
struct Push<'a> {
    bundle: Bundle<'a>,
    branch: &'a str,
    force: bool,
}

#[derive(Serialize)]
struct Bundle<'a> {
    commits: &'a [Commit],
    snapshots: &'a [Snapshot],
    objects: [(); 0],
    branch_heads: BTreeMap<&'a str, String>,
}

/// What is said of a commit beside its files.
pub struct Said<'a> {
    /// The branch.
    pub branch: &'a str,
    /// What was done.
    pub message: String,
    /// When.
    pub committed_at: String,
    /// None, one or two.
    pub parents: &'a [Hash],
}

/// Some commits in a row, with all that they bring.
#[derive(Default)]
pub struct Stretch {
    /// The ids of the commits.
    pub ids: Vec<Hash>,
    /// The objects that they bring.
    pub objects: Vec<Object>,
    /// The commits.
    pub commits: Vec<Commit>,
    /// A snapshot for each.
    pub snapshots: Vec<Snapshot>,
    /// Which of the objects each brings.
    pub brought: Vec<Range<usize>>,
}

impl Stretch {
    /// The next commit. It brings the objects that were added since the one before.
    pub fn commit(&mut self, said: Said<'_>, manifest: BTreeMap<String, String>) -> Hash {
        let Said { branch, message, committed_at, parents } = said;
        let mut snapshot = Snapshot { snapshot_id: String::new(), manifest, created_at: committed_at.clone() };
        snapshot.snapshot_id = hex::encode(Sha256::digest(snapshot.text()));
        let named: Vec<String> = parents.iter().map(hex::encode).collect();
        let mut sorted = named.clone();
        sorted.sort_unstable();
        let parts = [sorted.join("\0"), snapshot.snapshot_id.clone(), message.clone(), committed_at.clone()];
        let id: Hash = Sha256::digest(parts.join("\0")).into();

        let mut named = named.into_iter();
        self.commits.push(Commit {
            commit_id: hex::encode(id),
            branch: branch.to_owned(),
            snapshot_id: snapshot.snapshot_id.clone(),
            message,
            committed_at,
            parent_commit_id: named.next(),
            parent2_commit_id: named.next(),
            author: "ada",
        });
        self.snapshots.push(snapshot);
        self.ids.push(id);
        let from = self.brought.last().map_or(0, |brought| brought.end);
        self.brought.push(from..self.objects.len());
        id
    }

    /// The body of the push, whose objects are staged.
    pub fn push(&self) -> Result<Vec<u8>, Failure> {
        let tip = self.commits.last().ok_or("a commit")?;
        let bundle = Bundle {
            commits: &self.commits,
            snapshots: &self.snapshots,
            objects: [],
            branch_heads: BTreeMap::from([(tip.branch.as_str(), tip.commit_id.clone())]),
        };
        Ok(rmp_serde::to_vec_named(&Push { bundle, branch: &tip.branch, force: false })?)
    }
}

/// The body of `POST /push/objects`.
pub fn objects_body(objects: &[Object]) -> Result<Vec<u8>, Failure> {
    Ok(rmp_serde::to_vec_named(&BTreeMap::from([("objects", objects)]))?)
}
