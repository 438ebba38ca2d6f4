//! What happened in a run, line by line: all of it as a hash, and the last of it as text.

use std::collections::VecDeque;

use sha2::{Digest, Sha256};

/// The lines of one run.
pub struct Trace {
    kept: usize,
    hash: Sha256,
    count: u64,
    last: VecDeque<String>,
}

impl Trace {
    /// A trace that keeps this many of its last lines, for the reader of a failure.
    pub fn keeping(kept: usize) -> Trace {
        Trace { kept, hash: Sha256::new(), count: 0, last: VecDeque::new() }
    }

    /// Adds a line.
    pub fn note(&mut self, line: String) {
        self.hash.update(line.as_bytes());
        self.hash.update(b"\n");
        self.count += 1;
        if self.last.len() >= self.kept {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// The SHA-256 of all lines, how many there were, and the last of them.
    pub fn finish(&self) -> (String, u64, Vec<String>) {
        (hex::encode(self.hash.clone().finalize()), self.count, self.last.iter().cloned().collect())
    }
}
