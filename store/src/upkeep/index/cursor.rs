//! Reads tables from front to back, one section at a time: the section of one table, of several one after the other, or
//! of several in the order of their keys. Only some pages of each are in memory.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use bytes::Bytes;
use ulid::Ulid;

use crate::StoreError;
use crate::bucket::{Bucket, Part};
use crate::read::view::WHOLE_BYTES;
use common::pack::index::of_pack;
use common::pack::{PackId, PackSummary, TableExtent};
use common::table::{self, Head, Key, Section, page_checksum_holds};

/// The most bytes of pages that the cursors of one merge read ahead, together.
const AHEAD_BYTES: u64 = 16 << 20;
/// The fewest and the most pages that a cursor reads at once.
const PAGES_A_READ: (u64, u64) = (8, 128);
const PAGE_BYTES: u64 = 8 << 10;

/// A table, in a pack or in an index.
pub(crate) struct TableFile<'s> {
    bucket: &'s Bucket,
    key: String,
    file: Ulid,
    extent: TableExtent,
    head: Head,
    /// The whole table, if it is small.
    whole: Option<Bytes>,
    pages_a_read: u64,
}

impl<'s> TableFile<'s> {
    /// Opens the table of a file. `beside` is how many tables are read at the same time.
    pub(super) async fn open(
        bucket: &'s Bucket,
        key: String,
        file: Ulid,
        extent: TableExtent,
        beside: usize,
    ) -> Result<Self, StoreError> {
        let is_small = extent.length <= WHOLE_BYTES;
        let part = if is_small { (Part::Table, extent.range()) } else { (Part::Head, extent.head_range()) };
        let read = match bucket.remembered(file, part.0) {
            Some(read) => read,
            None => bucket.get_range(&key, None, part.1).await?,
        };
        let head_start = (read.len() as u64).saturating_sub(extent.head_length) as usize;
        let head = Head::read(read.slice(head_start..), extent.head_checksum).map_err(|error| of_pack(file, error))?;
        if head.sections_length().saturating_add(head.length()) != extent.length {
            let reason = "its table has another length than its head says".to_owned();
            return Err(of_pack(file, table::TableError::Malformed(reason)).into());
        }
        let (least, most) = PAGES_A_READ;
        let pages_a_read = (AHEAD_BYTES / PAGE_BYTES / beside.max(1) as u64).clamp(least, most);
        Ok(Self { bucket, key, file, extent, head, whole: is_small.then_some(read), pages_a_read })
    }

    /// How many entries a section has.
    pub(crate) fn count(&self, section: Section) -> u64 {
        self.head.count(section)
    }

    /// Begins to read a section.
    pub(crate) async fn section(&self, section: Section) -> Result<Cursor<'_>, StoreError> {
        let mut cursor = Cursor { table: self, section, next: 0, ahead: VecDeque::new(), page: Bytes::new(), at: 0 };
        cursor.turn_page().await?;
        Ok(cursor)
    }

    pub(crate) fn malformed(&self, reason: &str) -> StoreError {
        of_pack(self.file, table::TableError::Malformed(reason.to_owned())).into()
    }

    /// Reads some pages of a section, and returns the entries of each under a checksum that holds.
    async fn pages(&self, section: Section, first: u64, end: u64) -> Result<VecDeque<Bytes>, StoreError> {
        let range = |page| self.head.page_range(section, page);
        let start = range(first).start;
        let all = start..range(end.saturating_sub(1)).end;
        let bytes = match &self.whole {
            Some(whole) => whole.slice(all.start as usize..all.end as usize),
            None => {
                let offset = self.extent.offset;
                self.bucket.get_range(&self.key, None, offset + all.start..offset + all.end).await?
            }
        };
        let mut pages = VecDeque::new();
        for page in first..end {
            let range = range(page);
            let stored = bytes.slice((range.start - start) as usize..(range.end - start) as usize);
            if !page_checksum_holds(section, page, &stored) {
                return Err(of_pack(self.file, table::TableError::of_page(section, page)).into());
            }
            pages.push_back(stored.slice(..stored.len().saturating_sub(table::CHECKSUM_BYTES)));
        }
        Ok(pages)
    }
}

/// A position in a section.
pub(crate) struct Cursor<'t> {
    table: &'t TableFile<'t>,
    section: Section,
    /// The page to read next.
    next: u64,
    ahead: VecDeque<Bytes>,
    page: Bytes,
    at: usize,
}

impl Cursor<'_> {
    /// The entry at this position; none at the end.
    pub(super) fn entry(&self) -> Option<&[u8]> {
        self.page.get(self.at..self.at + self.section.width())
    }

    /// Goes to the next entry.
    pub(super) async fn advance(&mut self) -> Result<(), StoreError> {
        self.at += self.section.width();
        if self.at >= self.page.len() { self.turn_page().await } else { Ok(()) }
    }

    async fn turn_page(&mut self) -> Result<(), StoreError> {
        if self.ahead.is_empty() {
            let pages = self.table.head.pages(self.section);
            let end = pages.min(self.next.saturating_add(self.table.pages_a_read));
            if self.next < end {
                self.ahead = self.table.pages(self.section, self.next, end).await?;
                self.next = end;
            }
        }
        (self.page, self.at) = (self.ahead.pop_front().unwrap_or_default(), 0);
        Ok(())
    }
}

/// One of several tables that are read together.
pub(crate) struct Input<'s> {
    pub(crate) table: TableFile<'s>,
    /// The pack that has this table; none for the table of an index.
    pub(crate) pack: Option<(PackId, PackSummary)>,
}

impl Input<'_> {
    /// How many packs the table covers.
    pub(super) fn packs(&self) -> u64 {
        if self.pack.is_some() { 1 } else { self.table.count(Section::Packs) }
    }

    /// A pack by its name in this table.
    pub(crate) fn named(&self, pack: PackId) -> PackId {
        match self.pack {
            Some((own, _)) if pack.is_nil() => own,
            _ => pack,
        }
    }
}

/// The entries of a section, table after table.
pub(crate) struct InOrder<'t> {
    inputs: &'t [Input<'t>],
    section: Section,
    input: usize,
    cursor: Option<Cursor<'t>>,
}

impl<'t> InOrder<'t> {
    /// Begins with the first entry of the first table.
    pub(crate) async fn open(inputs: &'t [Input<'t>], section: Section) -> Result<Self, StoreError> {
        let mut entries = Self { inputs, section, input: 0, cursor: None };
        entries.open_table().await?;
        Ok(entries)
    }

    /// The input that has the next entry, and the entry.
    pub(crate) fn first(&self) -> Option<(usize, &[u8])> {
        Some((self.input, self.cursor.as_ref()?.entry()?))
    }

    /// Goes to the next entry.
    pub(crate) async fn advance(&mut self) -> Result<(), StoreError> {
        if let Some(cursor) = &mut self.cursor {
            cursor.advance().await?;
            if cursor.entry().is_none() {
                self.input += 1;
                self.open_table().await?;
            }
        }
        Ok(())
    }

    /// Opens the current table, or the first one behind it that has an entry.
    async fn open_table(&mut self) -> Result<(), StoreError> {
        self.cursor = None;
        while let Some(input) = self.inputs.get(self.input) {
            let cursor = input.table.section(self.section).await?;
            if cursor.entry().is_some() {
                self.cursor = Some(cursor);
                break;
            }
            self.input += 1;
        }
        Ok(())
    }
}

/// The entries of a section of several tables, in the order of their keys. Entries of one key come in the order of the
/// tables.
pub(crate) struct Sorted<'t> {
    cursors: Vec<Cursor<'t>>,
    waiting: BinaryHeap<Reverse<(Key, usize)>>,
}

impl<'t> Sorted<'t> {
    /// Begins with the entry of the smallest key.
    pub(crate) async fn open(inputs: &'t [Input<'t>], section: Section) -> Result<Self, StoreError> {
        let mut sorted = Self { cursors: Vec::with_capacity(inputs.len()), waiting: BinaryHeap::new() };
        for (number, input) in inputs.iter().enumerate() {
            sorted.cursors.push(input.table.section(section).await?);
            sorted.wait(number);
        }
        Ok(sorted)
    }

    fn wait(&mut self, input: usize) {
        let entry = self.cursors.get(input).and_then(|cursor| cursor.entry()?.first_chunk());
        self.waiting.extend(entry.map(|key| Reverse((Key::from(*key), input))));
    }

    /// The key of the next entry.
    pub(crate) fn key(&self) -> Option<Key> {
        self.waiting.peek().map(|Reverse((key, _))| *key)
    }

    /// The input that has the next entry, and the entry.
    pub(crate) fn first(&self) -> Option<(usize, &[u8])> {
        let Reverse((_, input)) = self.waiting.peek()?;
        Some((*input, self.cursors.get(*input)?.entry()?))
    }

    /// Goes to the next entry.
    pub(crate) async fn advance(&mut self) -> Result<(), StoreError> {
        let Some(Reverse((_, input))) = self.waiting.pop() else { return Ok(()) };
        if let Some(cursor) = self.cursors.get_mut(input) {
            cursor.advance().await?;
        }
        self.wait(input);
        Ok(())
    }
}
