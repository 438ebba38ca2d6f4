//! Histories of text, as people and their tools write it: each commit changes a line in each of a few files.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use crate::wire::{Hash, Object, Said, Stretch};

const BEGAN: Timestamp = Timestamp::constant(1_800_000_000, 0);
/// How the stock client writes a time, which sends no other form as it was.
const WRITTEN: &str = "%Y-%m-%dT%H:%M:%S+00:00";
/// What lines are made of.
const WORDS: [&str; 32] = [
    "verse", "chorus", "bridge", "tempo", "measure", "note", "rest", "chord", "minor", "major", "piano", "drums",
    "bass", "strings", "louder", "softer", "repeat", "from", "until", "with", "under", "the", "a", "of", "and",
    "quarter", "eighth", "half", "whole", "sharp", "flat", "again",
];

/// What a history looks like.
#[derive(Clone, Copy, Serialize)]
pub struct Shape {
    /// Files of each commit.
    pub files: usize,
    /// Files that each commit changes.
    pub changes: usize,
    /// Lines of each file, of some 60 bytes.
    pub lines: usize,
}

/// A line of development. Another that begins where it is, is a clone of it with another name.
#[derive(Clone)]
pub struct Line {
    shape: Shape,
    /// The name of the branch.
    pub branch: String,
    /// What its own commits are told apart by from those of other lines.
    seed: u64,
    commits: u64,
    tip: Option<Hash>,
    files: Vec<File>,
}

#[derive(Clone)]
struct File {
    /// Which version each of its lines is of.
    lines: Vec<u64>,
    id: String,
}

impl Line {
    /// One without commits.
    pub fn new(shape: Shape, branch: &str) -> Self {
        Self { shape, branch: branch.to_owned(), seed: 0, commits: 0, tip: None, files: Vec::new() }
    }

    /// Another that begins where this one is.
    pub fn fork(&self, number: u64) -> Self {
        Self { branch: format!("agent-{number:03}"), seed: number + 1, ..self.clone() }
    }

    /// This many commits more.
    pub fn grow(&mut self, commits: u64) -> Stretch {
        let mut stretch = Stretch::default();
        for _ in 0..commits {
            self.add(&mut stretch);
        }
        stretch
    }

    fn add(&mut self, stretch: &mut Stretch) {
        let number = self.commits;
        let version = (self.seed << 32) + number;
        let Shape { files, changes, lines } = self.shape;
        if number == 0 {
            self.files = vec![File { lines: vec![0; lines], id: String::new() }; files];
        }
        let first = if number == 0 { 0 } else { (number as usize).wrapping_mul(changes) };
        let changed = if number == 0 { files } else { changes.min(files) };
        for file in (first..first + changed).map(|file| file % files) {
            let Some(known) = self.files.get_mut(file) else { continue };
            let line = (number as usize * 7 + file) % lines;
            if let Some(line) = known.lines.get_mut(line) {
                *line = version;
            }
            let content = known.lines.iter().enumerate().map(|(line, version)| text(file, line, *version));
            let (hash, object) = Object::new(path(file), content.collect::<String>().into_bytes());
            known.id = hex::encode(hash);
            stretch.objects.push(object);
        }
        let manifest: BTreeMap<String, String> =
            self.files.iter().enumerate().map(|(number, file)| (path(number), file.id.clone())).collect();
        let parents: Vec<Hash> = self.tip.into_iter().collect();
        let said = Said {
            branch: &self.branch,
            message: format!("take {number}: another line in {changed} files"),
            committed_at: BEGAN
                .saturating_add((number as i64).minutes())
                .unwrap_or(BEGAN)
                .strftime(WRITTEN)
                .to_string(),
            parents: &parents,
        };
        self.tip = Some(stretch.commit(said, manifest));
        self.commits += 1;
    }
}

fn path(file: usize) -> String {
    format!("songs/{:02}/part-{file:04}.txt", file % 32)
}

/// A line of a file, as a version left it.
fn text(file: usize, line: usize, version: u64) -> String {
    let mut random = StdRng::seed_from_u64(version ^ ((file as u64) << 48) ^ ((line as u64) << 40));
    let mut text = format!("{line:03}");
    for _ in 0..9 {
        text.push(' ');
        text.push_str(WORDS.get(random.random_range(0..WORDS.len())).copied().unwrap_or_default());
    }
    text.push('\n');
    text
}
