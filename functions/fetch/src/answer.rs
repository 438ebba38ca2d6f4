//! Makes the answer while it is sent.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use common::answer_size::answer_bytes;
use common::id::{ObjectId, ObjectKey, RepoId};
use common::location::{LargeObject, ObjectLocation, RecordLocation};
use common::pack::RawBytes;
use common::purged::Purged;
use common::wire::manifests::ManifestReader;
use common::wire::{Encoding, WireError};
use service::streaming::{self, CHUNK, Sender};
use service::{AnswerBody, Hub, Settings};
use store::Store;
use store::read::permit::LetGo;
use store::read::reader::RecordReader;
use store::read::view::View;

use crate::encoder::Encoder;
use crate::{Had, IN_PARTS, Selection};

/// Begins the answer.
///
/// # Errors
/// Errors before the first bytes are there, which can still be a status.
pub async fn stream(hub: &Hub, selection: Selection, encoding: Encoding) -> Result<AnswerBody, WireError> {
    let (store, settings) = (Arc::clone(&hub.store), hub.settings.clone());
    let make = |sender| async move {
        let mut answer = Encoded { encoder: Encoder::new(encoding), encoding, sender, settings };
        answer.make(&store, selection).await
    };
    streaming::stream(&hub.store, "POST fetch, half way", make).await
}

struct Encoded {
    encoder: Encoder,
    encoding: Encoding,
    sender: Sender,
    settings: Settings,
}

impl Encoded {
    async fn make(&mut self, store: &Arc<Store>, selection: Selection) -> Result<(), WireError> {
        let Selection { repo, view, commits, snapshots, objects, cut } = selection;
        let (sends_objects, had) = (objects.is_some(), objects.map_or_else(Vec::new, |Had(had)| had));
        let tells_purged = sends_objects && !repo.purged.is_empty();
        self.encoder.begin(u32::from(cut.is_some()) + u32::from(tells_purged));
        let length = |place: &RecordLocation| u64::from(place.length);
        let records = commits.iter().chain(&snapshots).map(length).sum();
        self.check(RawBytes { records, content: 0 }, 0)?;
        // One reader for all of these, so that the first snapshots are on their way while commits are sent.
        let places: Vec<RecordLocation> = [commits.as_slice(), &had, &snapshots].concat();
        let mut reader = store.read_places(&repo.id, &view, &places).await?;

        self.encoder.begin_list("commits", commits.len())?;
        self.send_records(&mut reader, commits.len(), |_| Ok(())).await?;

        let mut objects = Objects { purged: Arc::clone(&repo.purged), ..Objects::default() };
        for _ in &had {
            objects.exclude(next(&mut reader).await?)?;
        }
        self.encoder.begin_list("snapshots", snapshots.len())?;
        self.send_records(&mut reader, snapshots.len(), |record| {
            if sends_objects { objects.want(record.clone()) } else { Ok(()) }
        })
        .await?;

        let Located { packed, large, purged } = objects.locate(store, &repo.id, &view).await?;
        let places: Vec<RecordLocation> = packed.iter().map(|object| object.place).collect();
        // Before the first byte, if there are few records.
        let content =
            places.iter().map(length).sum::<u64>() + large.iter().map(|object| object.place.size).sum::<u64>();
        self.check(RawBytes { records, content }, (packed.len() + large.len()) as u64)?;
        let mut records = store.read_places(&repo.id, &view, &places).await?;
        self.encoder.begin_list("objects", packed.len() + large.len())?;
        for ToSend { id, path, place } in &packed {
            self.encoder.begin_object(id, path, place.length.into())?;
            let mut is_last = false;
            while !is_last {
                let piece = records.piece().await?.ok_or_else(too_early)?;
                self.encoder.content(&piece.bytes);
                is_last = piece.is_last;
                drop(piece);
                self.flush(CHUNK, &mut records).await?;
            }
            self.encoder.end_object();
        }
        for ToSend { id, path, place } in &large {
            let mut content = store.read_large(&repo.id, &id.key(), place, 0..place.size);
            self.encoder.begin_object(id, path, place.size)?;
            while let Some(bytes) = content.next().await? {
                for piece in bytes.chunks(CHUNK) {
                    self.encoder.content(piece);
                    self.flush(CHUNK, &mut content).await?;
                }
            }
            self.encoder.end_object();
        }
        self.encoder.end_list();

        self.encoder.end(&repo.heads, cut.as_deref(), tells_purged.then_some(&purged))?;
        self.flush(0, &mut records).await
    }

    /// Refuses an answer that would be cut off on its way. It is said if nothing was sent yet. Else the answer ends here, so that no
    /// client waits for what does not come.
    fn check(&self, raw: RawBytes, objects: u64) -> Result<(), WireError> {
        self.settings.check_streamed(answer_bytes(raw, objects, self.encoding), IN_PARTS)
    }

    async fn send_records(
        &mut self,
        records: &mut RecordReader,
        count: usize,
        mut look_at: impl FnMut(&Bytes) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        for _ in 0..count {
            let record = next(records).await?;
            look_at(&record)?;
            self.encoder.record(&record)?;
            drop(record);
            self.flush(CHUNK, records).await?;
        }
        self.encoder.end_list();
        Ok(())
    }

    /// Sends what has gathered, if it is `enough`.
    async fn flush(&mut self, enough: usize, holds: &mut impl LetGo) -> Result<(), WireError> {
        if self.encoder.waiting() < enough {
            return Ok(());
        }
        self.sender.send(self.encoder.take().into(), holds).await
    }
}

async fn next(records: &mut RecordReader) -> Result<Bytes, WireError> {
    records.next().await?.ok_or_else(too_early)
}

fn too_early() -> WireError {
    WireError::internal("the reader ended too early")
}

/// The objects that the snapshots sent name and the client cannot have.
#[derive(Default)]
struct Objects {
    had: HashSet<ObjectKey>,
    wanted: HashMap<ObjectKey, Wanted>,
    /// What no client is sent.
    purged: Arc<Purged>,
    /// What would be sent otherwise, as manifests spell it.
    left_out: BTreeSet<ObjectId>,
    manifests: ManifestReader,
}

/// How an object is to be sent: in each spelling that some manifest has, because clients compare ids as text.
struct Wanted {
    bare: bool,
    prefixed: bool,
    path: Box<str>,
}

/// An object to be sent.
struct ToSend<P> {
    place: P,
    id: ObjectId,
    path: Box<str>,
}

/// All objects to be sent.
struct Located {
    /// Those in packs in the order of the packs, so that each frame is read once.
    packed: Vec<ToSend<RecordLocation>>,
    large: Vec<ToSend<LargeObject>>,
    /// Those that were purged, and are not sent.
    purged: BTreeSet<ObjectId>,
}

impl Objects {
    /// The snapshots that the client has come before any that it wants.
    fn exclude(&mut self, record: Bytes) -> Result<(), WireError> {
        let Self { had, manifests, .. } = self;
        let see = |_: &str, object: ObjectId| {
            had.insert(object.key());
        };
        manifests.entries(record, see).map_err(WireError::internal)
    }

    fn want(&mut self, record: Bytes) -> Result<(), WireError> {
        let Self { had, wanted, purged, left_out, manifests } = self;
        let see = |path: &str, object: ObjectId| {
            let key = object.key();
            if had.contains(&key) {
                return;
            }
            if purged.has(&key) {
                left_out.insert(object);
                return;
            }
            let prefixed = object.as_ref().is_prefixed();
            match wanted.entry(key) {
                Entry::Occupied(mut known) => {
                    known.get_mut().bare |= !prefixed;
                    known.get_mut().prefixed |= prefixed;
                }
                Entry::Vacant(new) => {
                    new.insert(Wanted { bare: !prefixed, prefixed, path: path.into() });
                }
            }
        };
        manifests.entries(record, see).map_err(WireError::internal)
    }

    /// Where they lie.
    async fn locate(mut self, store: &Arc<Store>, repo: &RepoId, view: &View) -> Result<Located, WireError> {
        let known = view.objects(self.wanted.keys()).await?;
        if self.wanted.len() > known.len() {
            // What was purged since this request began may be in no pack of those that it lists.
            let purged = store.purged_now(repo).await?;
            self.wanted.retain(|key, _| known.contains_key(key) || !purged.has(key));
        }
        let (mut packed, mut large) = (Vec::with_capacity(self.wanted.len()), Vec::new());
        for (key, Wanted { bare, prefixed, path }) in self.wanted {
            let object = known.get(&key);
            let place = object.ok_or_else(|| WireError::internal(format!("object {key:?} is in no pack")))?.place;
            for spelling in [bare.then_some(false), prefixed.then_some(true)].into_iter().flatten() {
                let (id, path) = (key.spelled(spelling), path.clone());
                match place {
                    ObjectLocation::Packed(place) => packed.push(ToSend { place, id, path }),
                    ObjectLocation::Large(place) => large.push(ToSend { place, id, path }),
                }
            }
        }
        packed.sort_unstable_by(|a, b| (a.place, &a.id).cmp(&(b.place, &b.id)));
        large.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(Located { packed, large, purged: self.left_out })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A snapshot whose paths hold objects: each a number, and whether its id has the prefix.
    fn snapshot(entries: &[(u8, bool)]) -> Bytes {
        let manifest: std::collections::BTreeMap<String, ObjectId> = entries
            .iter()
            .enumerate()
            .map(|(at, (number, prefixed))| (format!("{at}"), key(*number).spelled(*prefixed)))
            .collect();
        rmp_serde::to_vec_named(&serde_json::json!({"snapshot_id": "s", "manifest": manifest})).unwrap().into()
    }

    fn key(number: u8) -> ObjectKey {
        ObjectId::of(&[number]).key()
    }

    fn entries() -> impl Strategy<Value = Vec<(u8, bool)>> {
        prop::collection::vec((0_u8..8, any::<bool>()), 0..6)
    }

    proptest! {
        /// An object is sent in each spelling that a snapshot sent has, if no snapshot that the client has names it in any, and
        /// it was not purged; what was purged is named in its spellings.
        #[test]
        fn what_is_sent_is_what_snapshots_name_and_the_client_cannot_have(
            had in prop::collection::vec(entries(), 0..3), sent in prop::collection::vec(entries(), 0..4),
            purged in prop::collection::hash_set(0_u8..8, 0..3),
        ) {
            let purged_keys: Purged = purged.iter().map(|number| key(*number)).collect();
            let mut objects = Objects { purged: Arc::new(purged_keys), ..Objects::default() };
            had.iter().for_each(|entries| objects.exclude(snapshot(entries)).unwrap());
            sent.iter().for_each(|entries| objects.want(snapshot(entries)).unwrap());

            let has = |number: u8| had.iter().flatten().any(|(had, _)| *had == number);
            let lacked: BTreeSet<(u8, bool)> = sent.iter().flatten().copied().filter(|(number, _)| !has(*number)).collect();
            let spelled = |is_purged: bool| -> BTreeSet<ObjectId> {
                let those = lacked.iter().filter(|(number, _)| purged.contains(number) == is_purged);
                those.map(|(number, prefixed)| key(*number).spelled(*prefixed)).collect()
            };
            let wanted = objects.wanted.iter().flat_map(|(key, Wanted { bare, prefixed, .. })| {
                let spellings = [bare.then_some(false), prefixed.then_some(true)];
                spellings.into_iter().flatten().map(|spelling| key.spelled(spelling))
            });
            prop_assert_eq!(wanted.collect::<BTreeSet<_>>(), spelled(false));
            prop_assert_eq!(objects.left_out, spelled(true));
        }
    }

    #[test]
    fn an_object_is_sent_with_a_path_that_holds_it() {
        let mut objects = Objects::default();
        objects.want(snapshot(&[(1, false), (2, false), (1, true)])).unwrap();
        assert_eq!((&*objects.wanted[&key(1)].path, &*objects.wanted[&key(2)].path), ("0", "1"));
    }

    #[test]
    fn a_record_that_is_no_snapshot_is_a_fault_of_the_hubs() {
        let mut objects = Objects::default();
        assert_eq!(objects.want(Bytes::from_static(b"\x01")).unwrap_err().code(), "internal_error");
        assert_eq!(objects.exclude(Bytes::from_static(b"\x01")).unwrap_err().code(), "internal_error");
    }
}
