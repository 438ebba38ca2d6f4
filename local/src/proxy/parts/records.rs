//! The records of a push that is too large for memory: each as the client wrote it, in a file, and in memory only what they are
//! ordered by.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;

use common::id::{CommitId, SnapshotId};
use common::wire::Encoding;
use common::wire::limits::{MAX_DEPTH, MAX_REFERENCED_BODY};
use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// What an editor may begin a JSON text with.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Where a record lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    offset: u64,
    /// Its bytes.
    pub length: usize,
}

/// A commit, as far as its place in history goes.
#[derive(Debug, Clone)]
pub struct CommitEntry {
    pub id: CommitId,
    pub parents: Vec<CommitId>,
    pub snapshot: Option<SnapshotId>,
    pub branch: Box<str>,
    pub place: Place,
}

/// A field of a map: its name, and its value as the client wrote it.
pub type Field = (String, Vec<u8>);

/// What a push brings, in the order sent.
pub struct Records {
    pub encoding: Encoding,
    file: BufWriter<File>,
    end: u64,
    pub commits: Vec<CommitEntry>,
    pub snapshots: Vec<(SnapshotId, Place)>,
    pub objects: Vec<Place>,
    /// What the disk said when it took no more.
    failed: Option<io::Error>,
    /// The fields of the bundle and of the request, but for those lists and for the bundle.
    pub of_bundle: Vec<Field>,
    pub of_request: Vec<Field>,
}

impl Records {
    /// Reads a push to its end.
    ///
    /// # Errors
    /// What is wrong with it, with [`io::ErrorKind::InvalidData`]; or with the disk.
    pub fn read(body: File, encoding: Encoding) -> io::Result<Self> {
        let mut records = Self {
            encoding,
            file: BufWriter::new(tempfile::tempfile()?),
            end: 0,
            commits: Vec::new(),
            snapshots: Vec::new(),
            objects: Vec::new(),
            failed: None,
            of_bundle: Vec::new(),
            of_request: Vec::new(),
        };
        let last = RefCell::new(Last::default());
        let mut reader = Tee { from: BufReader::new(body), last: &last };
        let map = Map { level: Level::Request, last: &last, records: &mut records };
        let malformed = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
        let read = match encoding {
            Encoding::Json => {
                reader.skip_byte_order_mark()?;
                let mut decoder = serde_json::Deserializer::from_reader(reader);
                map.deserialize(&mut decoder).and_then(|()| decoder.end()).map_err(|error| error.to_string())
            }
            Encoding::Msgpack => {
                last.borrow_mut().is_kept = true;
                let mut decoder = rmp_serde::Deserializer::new(&mut reader);
                decoder.set_max_depth(MAX_DEPTH);
                let read = map.deserialize(&mut decoder).map_err(|error| error.to_string());
                match reader.from.read(&mut [0])? {
                    0 => read,
                    _ => read.and(Err("something follows the end of the msgpack value".to_owned())),
                }
            }
        };
        if let Some(error) = records.failed.take() {
            return Err(error);
        }
        read.map_err(malformed)?;
        records.file.flush()?;
        Ok(records)
    }

    /// A record, as the client wrote it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn record(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut record = vec![0; place.length];
        self.file.get_ref().read_exact_at(&mut record, place.offset)?;
        Ok(record)
    }

    fn keep(&mut self, record: &[u8]) -> io::Result<Place> {
        self.file.write_all(record)?;
        let place = Place { offset: self.end, length: record.len() };
        self.end += record.len() as u64;
        Ok(place)
    }

    fn add(&mut self, list: List, head: Head, record: &[u8]) -> Result<(), String> {
        let place = match self.keep(record) {
            Ok(place) => place,
            Err(error) => {
                let reason = error.to_string();
                self.failed = Some(error);
                return Err(reason);
            }
        };
        match list {
            List::Commits => self.commits.push(CommitEntry {
                id: parsed("commit_id", head.commit_id)?.ok_or("a commit has no commit_id")?,
                parents: [head.parent_commit_id, head.parent2_commit_id]
                    .into_iter()
                    .filter_map(|parent| parsed("a parent of a commit", parent).transpose())
                    .collect::<Result<_, _>>()?,
                snapshot: parsed("the snapshot_id of a commit", head.snapshot_id)?,
                branch: head.branch.unwrap_or_default().into(),
                place,
            }),
            List::Snapshots => {
                let id = parsed("snapshot_id", head.snapshot_id)?.ok_or("a snapshot has no snapshot_id")?;
                self.snapshots.push((id, place));
            }
            List::Objects => self.objects.push(place),
        }
        Ok(())
    }
}

fn parsed<T: std::str::FromStr<Err: fmt::Display>>(what: &str, id: Option<String>) -> Result<Option<T>, String> {
    let id = id.filter(|id| !id.is_empty());
    id.map(|id| id.parse().map_err(|reason| format!("{what}: {reason}"))).transpose()
}

/// What is read of a record. The hub reads all of it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    commit_id: Option<String>,
    parent_commit_id: Option<String>,
    parent2_commit_id: Option<String>,
    snapshot_id: Option<String>,
    branch: Option<String>,
}

/// The bytes of the value that was begun last.
#[derive(Default)]
struct Last {
    bytes: Vec<u8>,
    count: usize,
    /// Whether they are kept here. A decoder of JSON reads one byte ahead, and keeps them itself.
    is_kept: bool,
}

/// A reader that keeps what was read.
struct Tee<'l, R> {
    from: R,
    last: &'l RefCell<Last>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        let mut last = self.last.borrow_mut();
        last.count += read;
        if last.count > MAX_REFERENCED_BODY {
            return Err(io::Error::other(format!("a value has more than {MAX_REFERENCED_BODY} bytes")));
        }
        if last.is_kept {
            last.bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
        }
        Ok(read)
    }
}

impl<R: Read + Seek> Tee<'_, BufReader<R>> {
    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        let mut first = [0; BYTE_ORDER_MARK.len()];
        let mut read = 0;
        while read < first.len() {
            match self.from.read(first.get_mut(read..).unwrap_or_default())? {
                0 => break,
                some => read += some,
            }
        }
        if first != *BYTE_ORDER_MARK {
            self.from.seek(SeekFrom::Start(0))?;
        }
        Ok(())
    }
}

/// A value with the bytes that it was written as.
struct Written<'l, T> {
    last: &'l RefCell<Last>,
    of: PhantomData<T>,
}

impl<'l, T> Written<'l, T> {
    const fn new(last: &'l RefCell<Last>) -> Self {
        Self { last, of: PhantomData }
    }
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Written<'_, T> {
    type Value = (T, Vec<u8>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let is_kept = {
            let mut last = self.last.borrow_mut();
            last.bytes.clear();
            last.count = 0;
            last.is_kept
        };
        if is_kept {
            let value = T::deserialize(deserializer)?;
            return Ok((value, std::mem::take(&mut self.last.borrow_mut().bytes)));
        }
        let written = Box::<RawValue>::deserialize(deserializer)?;
        let value = serde_json::from_str(written.get()).map_err(D::Error::custom)?;
        Ok((value, String::from(Box::<str>::from(written)).into_bytes()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Request,
    Bundle,
}

#[derive(Clone, Copy)]
enum List {
    Commits,
    Snapshots,
    Objects,
}

/// A request, or the bundle in it.
struct Map<'r> {
    level: Level,
    last: &'r RefCell<Last>,
    records: &'r mut Records,
}

impl<'de> DeserializeSeed<'de> for Map<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Map<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { level, last, records } = self;
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let list = match (level, key.as_str()) {
                (Level::Request, "bundle") => None,
                (Level::Bundle, "commits") => Some(List::Commits),
                (Level::Bundle, "snapshots") => Some(List::Snapshots),
                (Level::Bundle, "objects") => Some(List::Objects),
                _ => {
                    let (_, written) = map.next_value_seed(Written::<IgnoredAny>::new(last))?;
                    let fields = match level {
                        Level::Request => &mut records.of_request,
                        Level::Bundle => &mut records.of_bundle,
                    };
                    fields.push((key, written));
                    continue;
                }
            };
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format!("duplicate field `{key}`")));
            }
            match list {
                None => map.next_value_seed(Map { level: Level::Bundle, last, records })?,
                Some(list) => map.next_value_seed(Items { list, last, records })?,
            }
        }
        Ok(())
    }
}

/// One of the three lists of a bundle.
struct Items<'r> {
    list: List,
    last: &'r RefCell<Last>,
    records: &'r mut Records,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some((head, written)) = items.next_element_seed(Written::<Head>::new(self.last))? {
            self.records.add(self.list, head, &written).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
