//! The head of a table: how many entries its sections have, and where their pages begin.

use std::ops::Range;

use bytes::Bytes;
use twox_hash::XxHash3_64;

use super::{CHECKSUM_BYTES, Key, MAGIC, Section, TableError};

const COUNTS: usize = Section::ALL.len();
/// Bytes of a head before its directories.
pub(super) const FIXED_BYTES: usize = MAGIC.len() + COUNTS * 8;
/// What a directory has for each page.
const STEP: usize = 4;

/// The head of a table, read in place.
#[derive(Debug, Clone)]
pub struct Head {
    bytes: Bytes,
    counts: [u64; COUNTS],
}

/// Whether the bytes of a page have their checksum, which is behind them.
pub fn page_checksum_holds(section: Section, page: u64, stored: &[u8]) -> bool {
    stored
        .split_last_chunk::<CHECKSUM_BYTES>()
        .is_some_and(|(entries, checksum)| page_checksum(section, page, entries) == u64::from_le_bytes(*checksum))
}

pub(super) fn page_checksum(section: Section, page: u64, entries: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(section.seed(page), entries)
}

impl Head {
    /// Reads the head of a table from its bytes, if they have this checksum.
    ///
    /// # Errors
    /// When they are not what was written.
    pub fn read(bytes: Bytes, checksum: u64) -> Result<Self, TableError> {
        if XxHash3_64::oneshot(&bytes) != checksum {
            return Err(TableError::Checksum("the head of its table".to_owned()));
        }
        let rest = bytes.strip_prefix(MAGIC);
        let rest =
            rest.ok_or_else(|| TableError::malformed("the head of its table is of a version that is not known"))?;
        let mut counts = [0; COUNTS];
        let (words, _) = rest.as_chunks::<8>();
        for (count, word) in counts.iter_mut().zip(words) {
            *count = u64::from_le_bytes(*word);
        }
        let head = Self { bytes, counts };
        let directories = Section::ALL.into_iter().filter(|section| section.is_keyed());
        let pages = directories.map(|section| head.pages(section)).fold(0, u64::saturating_add);
        let expected = (FIXED_BYTES as u64).saturating_add(pages.saturating_mul(STEP as u64));
        if head.bytes.len() as u64 != expected {
            return Err(TableError::malformed(format!("the head of its table has {} bytes", head.bytes.len())));
        }
        Ok(head)
    }

    /// Bytes of a whole table whose sections have these numbers of entries.
    pub fn table_length(counts: &[u64; COUNTS]) -> u64 {
        let sections = || Section::ALL.into_iter().zip(counts.iter().copied());
        let directories = sections().filter(|(section, _)| section.is_keyed());
        let steps = directories.map(|(section, count)| section.pages(count)).sum::<u64>();
        let pages = sections().map(|(section, count)| section.bytes(count)).sum::<u64>();
        pages.saturating_add(FIXED_BYTES as u64).saturating_add(steps.saturating_mul(STEP as u64))
    }

    /// How many entries a section has.
    pub fn count(&self, section: Section) -> u64 {
        self.counts.get(section as usize).copied().unwrap_or(0)
    }

    /// How many pages a section has.
    pub fn pages(&self, section: Section) -> u64 {
        section.pages(self.count(section))
    }

    /// Bytes of the table before its head.
    pub fn sections_length(&self) -> u64 {
        self.offset_after(COUNTS)
    }

    /// Bytes of the head.
    pub fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The bytes of the table that a page of a section is in, its checksum included.
    pub fn page_range(&self, section: Section, page: u64) -> Range<u64> {
        let full = section.entries_a_page();
        let before = page.saturating_mul(full).min(self.count(section));
        let here = self.count(section).saturating_sub(before).min(full);
        let start = self.offset_after(section as usize).saturating_add(section.bytes(before));
        start..start.saturating_add(if here == 0 { 0 } else { section.bytes(here) })
    }

    /// The pages of a section that may hold a key: one, or two where one begins with the key's first bytes.
    pub fn pages_of(&self, section: Section, key: &Key) -> Range<u64> {
        let directory = self.directory(section);
        let prefix = key.prefix();
        let first = directory.partition_point(|step| u32::from_be_bytes(*step) < prefix);
        let end = directory.partition_point(|step| u32::from_be_bytes(*step) <= prefix);
        first.saturating_sub(1) as u64..end as u64
    }

    /// Whether all pages of a table that is in memory as a whole have their checksums.
    ///
    /// # Errors
    /// [`TableError::Checksum`] for the first that has not.
    pub fn check_pages(&self, table: &[u8]) -> Result<(), TableError> {
        for section in Section::ALL {
            for page in 0..self.pages(section) {
                let range = self.page_range(section, page);
                let stored = table.get(range.start as usize..range.end as usize).unwrap_or_default();
                if !page_checksum_holds(section, page, stored) {
                    return Err(TableError::of_page(section, page));
                }
            }
        }
        Ok(())
    }

    fn directory(&self, section: Section) -> &[[u8; STEP]] {
        let before = Section::ALL.into_iter().take(section as usize).filter(|before| before.is_keyed());
        let start = before.map(|before| self.pages(before)).fold(0, u64::saturating_add) as usize;
        let (steps, _) = self.bytes.get(FIXED_BYTES..).unwrap_or_default().as_chunks::<STEP>();
        let end = start.saturating_add(self.pages(section) as usize);
        steps.get(start..end).unwrap_or_default()
    }

    /// Where the section of a number begins.
    fn offset_after(&self, number: usize) -> u64 {
        let before = Section::ALL.into_iter().take(number);
        before.map(|section| section.bytes(self.count(section))).fold(0, u64::saturating_add)
    }
}

/// The entries of a page that begin with a key, given its bytes with the checksum.
pub fn entries_of<'p>(section: Section, page: &'p [u8], key: &Key) -> impl Iterator<Item = Range<usize>> + use<'p> {
    let width = section.width();
    let entries = page.len().saturating_sub(CHECKSUM_BYTES) / width;
    let key = *key;
    let key_at = move |at: usize| page.get(at * width..).and_then(|rest| rest.get(..key.as_bytes().len()));
    let (mut low, mut high) = (0, entries);
    while low < high {
        let middle = low.midpoint(high);
        if key_at(middle) < Some(key.as_bytes().as_slice()) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    (low..entries).take_while(move |at| key_at(*at) == Some(key.as_bytes().as_slice())).map(move |at| {
        let start = at * width;
        start..start + width
    })
}

/// The entry at a position of a section, given the page that it is on.
pub fn entry_at(section: Section, page: &[u8], position: u64) -> Option<&[u8]> {
    let at = usize::try_from(position % section.entries_a_page()).ok()?;
    let start = at * section.width();
    page.get(..page.len().saturating_sub(CHECKSUM_BYTES))?.get(start..start + section.width())
}

/// All entries of a page.
pub fn entries(section: Section, page: &[u8]) -> impl Iterator<Item = &[u8]> {
    page.get(..page.len().saturating_sub(CHECKSUM_BYTES)).unwrap_or_default().chunks_exact(section.width())
}

/// Makes the checksums of the pages of a table and of its head right, as far as its head can be read, and returns that of
/// the head.
#[cfg(test)]
pub fn mend_checksums(stored: &mut [u8], head_length: usize) -> u64 {
    let start = stored.len() - head_length;
    let checksum = XxHash3_64::oneshot(&stored[start..]);
    if let Ok(head) = Head::read(Bytes::copy_from_slice(&stored[start..]), checksum) {
        for section in Section::ALL.into_iter().filter(|_| head.sections_length() == start as u64) {
            for page in 0..head.pages(section) {
                let range = head.page_range(section, page);
                let (from, to) = (range.start as usize, range.end as usize);
                if to <= start {
                    let checksum = page_checksum(section, page, &stored[from..to - CHECKSUM_BYTES]);
                    stored[to - CHECKSUM_BYTES..to].copy_from_slice(&checksum.to_le_bytes());
                }
            }
        }
    }
    checksum
}
