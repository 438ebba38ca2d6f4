//! A long history, made commit by commit with the ids that clients give, so that nothing but its end is in memory.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::Failure;

/// Files of every snapshot.
pub const FILES: usize = 20;
const BRANCH: &str = "main";
const BEGAN: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// A SHA-256.
pub type Hash = [u8; 32];

/// A commit as it is sent.
#[derive(Serialize)]
pub struct Commit {
    commit_id: String,
    branch: &'static str,
    snapshot_id: String,
    message: String,
    committed_at: String,
    parent_commit_id: Option<String>,
    parent2_commit_id: Option<String>,
    author: &'static str,
}

/// A snapshot as it is sent.
#[derive(Serialize)]
pub struct Snapshot {
    snapshot_id: String,
    manifest: BTreeMap<String, String>,
    created_at: String,
}

/// An object as it is sent.
#[derive(Serialize)]
pub struct Object {
    object_id: String,
    content: ByteBuf,
    path: String,
}

/// The body of a push whose objects are staged.
#[derive(Serialize)]
struct Push<'a> {
    bundle: Bundle<'a>,
    branch: &'static str,
    force: bool,
}

#[derive(Serialize)]
struct Bundle<'a> {
    commits: &'a [Commit],
    snapshots: &'a [Snapshot],
    objects: [(); 0],
    branch_heads: BTreeMap<&'static str, String>,
}

/// Some commits in a row, with all that they bring.
#[derive(Default)]
pub struct Stretch {
    /// The ids of the commits.
    pub ids: Vec<Hash>,
    /// The objects that they bring.
    pub objects: Vec<Object>,
    commits: Vec<Commit>,
    snapshots: Vec<Snapshot>,
}

impl Stretch {
    /// The body of the push.
    pub fn push(&self) -> Result<Vec<u8>, Failure> {
        let tip = self.ids.last().ok_or("a commit")?;
        let bundle = Bundle {
            commits: &self.commits,
            snapshots: &self.snapshots,
            objects: [],
            branch_heads: BTreeMap::from([(BRANCH, hex::encode(tip))]),
        };
        Ok(rmp_serde::to_vec_named(&Push { bundle, branch: BRANCH, force: false })?)
    }
}

/// The body of `POST /push/objects`.
pub fn objects_body(objects: &[Object]) -> Result<Vec<u8>, Failure> {
    Ok(rmp_serde::to_vec_named(&BTreeMap::from([("objects", objects)]))?)
}

/// The bytes of the object of this number: 100 to 200, and like no other's.
fn content(number: u64) -> Vec<u8> {
    let mut content = format!("take {number}\n").into_bytes();
    let length = 100 + (number % 100) as usize;
    let mut hash = Sha256::digest(&content);
    while content.len() < length {
        content.extend(hex::encode(hash).bytes());
        hash = Sha256::digest(hash);
    }
    content.truncate(length);
    content
}

/// The id of the object of this number. A history of `n` commits has `n` + 19 of them.
pub fn object(number: u64) -> Hash {
    Sha256::digest(content(number)).into()
}

/// A history that grows: each commit changes one file, one after the other.
pub struct History {
    /// After each this many commits, the one before is made beside its predecessor, and the next merges the two; 0 for never.
    merge_every: u64,
    commits: u64,
    files: Vec<Hash>,
    /// The last ids, the newest last.
    last: Vec<Hash>,
}

impl History {
    /// An empty one.
    pub const fn new(merge_every: u64) -> Self {
        Self { merge_every, commits: 0, files: Vec::new(), last: Vec::new() }
    }

    /// How many commits it has.
    pub const fn commits(&self) -> u64 {
        self.commits
    }

    /// How many objects it has.
    pub const fn objects(&self) -> u64 {
        self.commits.saturating_sub(1) + FILES as u64
    }

    /// What the newest snapshot names.
    pub fn files(&self) -> &[Hash] {
        &self.files
    }

    /// This many commits more, or a few more where the last would be beside the branch or a merge.
    pub fn grow(&mut self, commits: u64) -> Stretch {
        let mut stretch = Stretch::default();
        for _ in 0..commits {
            self.add(&mut stretch);
        }
        while self.is_beside(self.commits.saturating_sub(1)) || self.is_beside(self.commits.saturating_sub(2)) {
            self.add(&mut stretch);
        }
        stretch
    }

    const fn is_beside(&self, number: u64) -> bool {
        self.merge_every >= 4 && number % self.merge_every == self.merge_every - 1
    }

    fn parents(&self) -> Vec<Hash> {
        let back = |steps: usize| self.last.iter().rev().nth(steps).copied();
        let number = self.commits;
        let parents = if self.is_beside(number) {
            [back(1), None]
        } else if number > 0 && self.is_beside(number - 1) {
            [back(1), back(0)]
        } else {
            [back(0), None]
        };
        parents.into_iter().flatten().collect()
    }

    fn add(&mut self, stretch: &mut Stretch) {
        let number = self.commits;
        let first = if number == 0 { 0 } else { number + FILES as u64 - 1 };
        for object in first..number + FILES as u64 {
            let content = content(object);
            let hash: Hash = Sha256::digest(&content).into();
            let file = (object % FILES as u64) as usize;
            match self.files.get_mut(file) {
                Some(known) => *known = hash,
                None => self.files.push(hash),
            }
            stretch.objects.push(Object { object_id: hex::encode(hash), content: content.into(), path: path(file) });
        }

        let manifest: BTreeMap<String, String> =
            self.files.iter().enumerate().map(|(file, hash)| (path(file), hex::encode(hash))).collect();
        // No path is the beginning of another, so the order of paths is that of the entries.
        let entries: Vec<String> = manifest.iter().map(|(path, object)| format!("{path}\0{object}")).collect();
        let snapshot_id = hex::encode(Sha256::digest(entries.join("\0")));
        let committed_at = BEGAN.saturating_add((number as i64).minutes()).unwrap_or(BEGAN).to_string();
        let message = format!("take {number}");
        let parents = self.parents();
        let named: Vec<String> = parents.iter().map(hex::encode).collect();
        let mut sorted = named.clone();
        sorted.sort_unstable();
        let parts = [sorted.join("\0"), snapshot_id.clone(), message.clone(), committed_at.clone()];
        let id: Hash = Sha256::digest(parts.join("\0")).into();

        stretch.ids.push(id);
        stretch.snapshots.push(Snapshot {
            snapshot_id: snapshot_id.clone(),
            manifest,
            created_at: committed_at.clone(),
        });
        let mut named = named.into_iter();
        stretch.commits.push(Commit {
            commit_id: hex::encode(id),
            branch: BRANCH,
            snapshot_id,
            message,
            committed_at,
            parent_commit_id: named.next(),
            parent2_commit_id: named.next(),
            author: "ada",
        });
        self.commits += 1;
        self.last.push(id);
        if self.last.len() > 3 {
            self.last.remove(0);
        }
    }
}

fn path(file: usize) -> String {
    format!("tracks/{file:02}.txt")
}
