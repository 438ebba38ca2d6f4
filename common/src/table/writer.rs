//! Writes tables, section by section, so that the bytes can go out before all of them are there.

use twox_hash::XxHash3_64;

use super::entry::write_name;
use super::head::page_checksum;
use super::{Filter, Key, MAGIC, PAGE_BYTES, Section};

/// The end of a table that was written, and what is kept of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes that were not taken before.
    pub bytes: Vec<u8>,
    /// Bytes of the whole table.
    pub length: u64,
    /// Bytes of its head, which is at its end.
    pub head_length: u64,
    /// The checksum of its head.
    pub head_checksum: u64,
}

/// How many keys the sections with filters will have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keys {
    /// Commits.
    pub commits: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Objects.
    pub objects: u64,
}

/// Writes a table. Sections come in their order, and the entries of each in theirs.
pub struct Builder {
    out: Vec<u8>,
    taken: u64,
    counts: [u64; Section::ALL.len()],
    directories: Vec<u8>,
    section: Section,
    page: Vec<u8>,
    pages: u64,
    filters: [Filter; 3],
}

impl Builder {
    /// A table that will have these numbers of keys.
    pub fn new(keys: Keys) -> Self {
        Self {
            out: Vec::new(),
            taken: 0,
            counts: [0; Section::ALL.len()],
            directories: Vec::new(),
            section: Section::Commits,
            page: Vec::new(),
            pages: 0,
            filters: [keys.commits, keys.snapshots, keys.objects].map(Filter::for_keys),
        }
    }

    /// Adds an entry, which `write` appends. One of a section that is over is not added.
    pub fn add(&mut self, section: Section, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(section >= self.section, "sections come in their order");
        if section > self.section {
            self.close_page();
            (self.section, self.pages) = (section, 0);
        }
        if self.page.len() + section.width() > PAGE_BYTES {
            self.close_page();
        }
        let start = self.page.len();
        write(&mut self.page);
        debug_assert_eq!(self.page.len() - start, section.width(), "every entry of a section has its width");
        if let Some(count) = self.counts.get_mut(section as usize) {
            *count += 1;
        }
        let key = self.page.get(start..).and_then(key_of);
        if let Some((filter, key)) = self.filter(section).zip(key) {
            filter.insert(&key);
        }
    }

    /// Adds a key with the text of an id that is no hash.
    pub fn add_name(&mut self, key: &Key, text: &str) {
        self.add(Section::Names, |out| write_name(key, text, out));
    }

    /// How many entries a section has so far.
    pub fn count(&self, section: Section) -> u64 {
        self.counts.get(section as usize).copied().unwrap_or(0)
    }

    /// Bytes that are ready and were not taken.
    pub const fn ready(&self) -> usize {
        self.out.len()
    }

    /// Takes the bytes that are ready: what is taken next follows them.
    pub fn take(&mut self) -> Vec<u8> {
        self.taken += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }

    /// Ends the table.
    pub fn finish(mut self) -> Encoded {
        let filters = std::mem::take(&mut self.filters);
        let sections = [Section::CommitFilter, Section::SnapshotFilter, Section::ObjectFilter];
        for (section, filter) in sections.into_iter().zip(filters) {
            for byte in filter.as_bytes() {
                self.add(section, |out| out.push(*byte));
            }
        }
        self.close_page();
        let mut head = MAGIC.to_vec();
        for count in self.counts {
            head.extend_from_slice(&count.to_le_bytes());
        }
        head.extend_from_slice(&self.directories);
        let head_checksum = XxHash3_64::oneshot(&head);
        self.out.extend_from_slice(&head);
        Encoded {
            length: self.taken + self.out.len() as u64,
            bytes: self.out,
            head_length: head.len() as u64,
            head_checksum,
        }
    }

    fn filter(&mut self, section: Section) -> Option<&mut Filter> {
        let [commits, snapshots, objects] = &mut self.filters;
        match section {
            Section::Commits => Some(commits),
            Section::Snapshots => Some(snapshots),
            Section::Objects => Some(objects),
            _ => None,
        }
    }

    fn close_page(&mut self) {
        if self.page.is_empty() {
            return;
        }
        if self.section.is_keyed() {
            self.directories.extend_from_slice(self.page.get(..4).unwrap_or_default());
        }
        let checksum = page_checksum(self.section, self.pages, &self.page);
        self.out.extend_from_slice(&self.page);
        self.out.extend_from_slice(&checksum.to_le_bytes());
        self.page.clear();
        self.pages += 1;
    }
}

fn key_of(entry: &[u8]) -> Option<Key> {
    entry.first_chunk().map(|key| Key::from(*key))
}
