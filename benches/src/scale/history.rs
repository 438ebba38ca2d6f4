//! A long history, made commit by commit with the ids that clients give, so that nothing but its end is in memory.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan};
use sha2::{Digest, Sha256};

use crate::wire::{Hash, Object, Said, Stretch};

/// Files of every snapshot.
pub const FILES: usize = 20;
const BRANCH: &str = "main";
const BEGAN: Timestamp = Timestamp::constant(1_800_000_000, 0);

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
            let file = (object % FILES as u64) as usize;
            let (hash, object) = Object::new(path(file), content(object));
            match self.files.get_mut(file) {
                Some(known) => *known = hash,
                None => self.files.push(hash),
            }
            stretch.objects.push(object);
        }

        let manifest: BTreeMap<String, String> =
            self.files.iter().enumerate().map(|(file, hash)| (path(file), hex::encode(hash))).collect();
        let parents = self.parents();
        let said = Said {
            branch: BRANCH,
            message: format!("take {number}"),
            committed_at: BEGAN.saturating_add((number as i64).minutes()).unwrap_or(BEGAN).to_string(),
            parents: &parents,
        };
        let id = stretch.commit(said, manifest);
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
