//! A clone that missing records are restored from: any hub that speaks the wire protocol, asked as a client asks it, or a
//! data folder, whose functions are called in this process.
//!
//! Large objects go through temporary files, in a folder that is gone with the clone. Nothing that comes is believed: see `fsck`.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use client::error::if_there;
use client::object::{Found, Single};
use client::{Address, Fetching, Remote};
use common::id::{CommitId, Ids, ObjectKey};
use common::wire::commit::Commit;
use common::wire::error::Cause;
use common::wire::limits::FETCH_WANT_OF_ANY_HUB;
use common::wire::record::Snapshot;
use fsck::catalog::RecordId;
use fsck::repair::{Restored, Wanted};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use service::Target;
use store::repo::Load;
use tempfile::{NamedTempFile, TempDir};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::data::DataFolder;
use crate::functions;
use crate::stores::{Stores, StoresError, Which};
use crate::transfer::at_hand::hub_over;

/// Bytes of an object that is handed on in memory; a larger one goes by a file.
const SMALL_OBJECT: u64 = 8 << 20;
/// Objects that are asked for at the same time.
const PARALLEL_OBJECTS: usize = 4;
/// Records that wait to be stored.
const WAITING: usize = 8;

/// Why a clone does not give what is missing.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// Neither the URL of a repo nor a data folder.
    #[error(
        "{0:?} is neither a repository's URL, like https://hub.example.com/owner/slug, nor the data folder of a hub"
    )]
    Address(String),
    /// It does not answer, or refuses.
    #[error("the clone does not answer")]
    Asked(#[from] client::ClientError),
    /// What it sends is no record.
    #[error("the clone's answer to POST /fetch: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// What it sends cannot be kept in a temporary file.
    #[error("an answer of the clone cannot be kept in a temporary file")]
    Kept(#[from] std::io::Error),
    /// The data folder cannot be opened.
    #[error(transparent)]
    Stores(#[from] StoresError),
    /// The data folder's stores do not answer.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// Never: the secret is drawn here.
    #[error(transparent)]
    Secret(#[from] service::auth::BadSecret),
    /// There is no such repo in the data folder.
    #[error("the data folder has no repository {0}")]
    NoRepo(Target),
}

/// A clone of one repo.
pub struct Clone {
    asked: Arc<Asked>,
    stores: Option<Stores>,
}

struct Asked {
    remote: Remote,
    folder: TempDir,
}

impl Clone {
    /// A clone at the URL of a repo, or in the data folder of a stopped hub, under the same name there.
    ///
    /// # Errors
    /// When it is neither, or cannot be opened.
    pub async fn open(from: &str, name: Target, token: Option<&str>) -> Result<Self, CloneError> {
        match from.parse() {
            Ok(Address::Url(hub, target)) => Self::of(Remote::at(hub, target, token)?, None),
            _ if !DataFolder::is_at(Path::new(from)) => Err(CloneError::Address(from.to_owned())),
            _ => {
                let stores = Stores::open(&Which::Folder(from.into())).await?;
                match in_stores(&stores, name).await {
                    Ok(remote) => Self::of(remote, Some(stores)),
                    Err(error) => {
                        stores.close().await;
                        Err(error)
                    }
                }
            }
        }
    }

    fn of(remote: Remote, stores: Option<Stores>) -> Result<Self, CloneError> {
        let folder = tempfile::Builder::new().prefix("musehub-").tempdir()?;
        Ok(Self { asked: Arc::new(Asked { remote, folder }), stores })
    }

    /// Asks for what is wanted. The stream ends with the first error.
    pub fn bring(&self, wanted: Wanted) -> BoxStream<'static, Result<Restored, Cause>> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let asked = Arc::clone(&self.asked);
        tokio::spawn(async move {
            if let Err(error) = asked.bring(wanted, &sender).await {
                // If there is no receiver, the caller has gone away.
                let _ = sender.send(Err(error.into())).await;
            }
        });
        stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|restored| (restored, receiver)) })
            .boxed()
    }

    /// Closes the stores of a data folder.
    pub async fn close(self) {
        drop(self.asked);
        if let Some(stores) = self.stores {
            stores.close().await;
        }
    }
}

/// A repo in the stores of a data folder, as its owner sees it.
async fn in_stores(stores: &Stores, name: Target) -> Result<Remote, CloneError> {
    let found = stores.store.find_repo(&name.owner, &name.slug, Load::NOTHING).await?;
    let owner = found.ok_or_else(|| CloneError::NoRepo(name.clone()))?.meta.owner_user_id;
    // It only answers what is there.
    let hub = hub_over(Arc::clone(&stores.store), Ids::Lenient)?;
    Ok(Remote::at_hand(&hub, functions::CALL, name, &owner).await?)
}

type Sender = mpsc::Sender<Result<Restored, Cause>>;

impl Asked {
    async fn bring(&self, wanted: Wanted, sender: &Sender) -> Result<(), CloneError> {
        let mut restored: HashSet<ObjectKey> = HashSet::new();
        // What the clone does not have is left out, which is found by asking for halves.
        let mut asking: Vec<Vec<CommitId>> =
            wanted.commits.chunks(FETCH_WANT_OF_ANY_HUB).map(<[CommitId]>::to_vec).collect();
        while let Some(mut want) = asking.pop() {
            match if_there(Fetching::begin(&self.remote, &want, &wanted.have).await)? {
                Some(fetching) => self.read(fetching, sender, &mut restored).await?,
                None => {
                    // The repo itself may be what is not found.
                    self.remote.repo_id().await?;
                    if want.len() > 1 {
                        let rest = want.split_off(want.len() / 2);
                        asking.extend([want, rest]);
                    }
                }
            }
        }
        let left: Vec<ObjectKey> = wanted.objects.into_iter().filter(|key| !restored.contains(key)).collect();
        if left.is_empty() {
            return Ok(());
        }
        let repo_id = self.remote.repo_id().await?;
        let mut coming = stream::iter(left).map(|key| self.object(&repo_id, key)).buffer_unordered(PARALLEL_OBJECTS);
        while let Some(object) = coming.next().await {
            if let Some(object) = object?
                && sender.send(Ok(object)).await.is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Hands on the records of a fetch's answer, one by one, until the receiver wants no more.
    async fn read(
        &self,
        mut fetching: Fetching<'_>,
        sender: &Sender,
        restored: &mut HashSet<ObjectKey>,
    ) -> Result<(), CloneError> {
        for list in ["commits", "snapshots"] {
            for _ in 0..fetching.list(list).await? {
                let record = fetching.record().await?;
                let id = match list {
                    "commits" => RecordId::Commit(rmp_serde::from_slice::<Commit>(&record)?.id),
                    _ => RecordId::Snapshot(rmp_serde::from_slice::<Snapshot<'_>>(&record)?.snapshot_id),
                };
                if sender.send(Ok(Restored::Record { id, record })).await.is_err() {
                    return Ok(());
                }
            }
        }
        for _ in 0..fetching.list("objects").await? {
            let object = fetching.object().await?;
            let key = object.id.key();
            if restored.insert(key.clone()) {
                let object = self.keep(key, object.size, Pieces::Listed(&mut fetching)).await?;
                if sender.send(Ok(object)).await.is_err() {
                    return Ok(());
                }
            }
        }
        fetching.finish().await?;
        Ok(())
    }

    /// One object; none when the clone does not have it.
    async fn object(&self, repo_id: &str, key: ObjectKey) -> Result<Option<Restored>, CloneError> {
        match self.remote.object(&key.spelled(false), repo_id).await? {
            Found::Here(mut object) => Ok(Some(self.keep(key, object.size, Pieces::Single(&mut object)).await?)),
            Found::Missing(_) | Found::Purged => Ok(None),
        }
    }

    /// An object of this many bytes, in memory or in a file.
    async fn keep(&self, object: ObjectKey, size: u64, mut pieces: Pieces<'_, '_>) -> Result<Restored, CloneError> {
        if size <= SMALL_OBJECT {
            let mut content = Vec::new();
            while let Some(piece) = pieces.next().await? {
                content.extend_from_slice(&piece);
            }
            return Ok(Restored::Record { id: RecordId::Object(object), record: content.into() });
        }
        // It is not called as the clone says: that may be no name of a file.
        let (file, path) = NamedTempFile::new_in(&self.folder)?.keep().map_err(|kept| kept.error)?;
        let mut file = tokio::fs::File::from_std(file);
        while let Some(piece) = pieces.next().await? {
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        Ok(Restored::File { object, path })
    }
}

/// The bytes of an object on its way, among those of a fetch or by itself.
enum Pieces<'p, 'r> {
    Listed(&'p mut Fetching<'r>),
    Single(&'p mut Single<'r>),
}

impl Pieces<'_, '_> {
    async fn next(&mut self) -> Result<Option<Bytes>, client::ClientError> {
        match self {
            Self::Listed(fetching) => fetching.piece().await,
            Self::Single(object) => object.piece().await,
        }
    }
}
