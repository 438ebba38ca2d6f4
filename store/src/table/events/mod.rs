//! Events: what happened in a repo, as EventBridge and webhooks get it. `docs/events.md` is for their receivers.
//!
//! An event is made from an item of the table and from nothing else ([`StoredEvent::of`]): in a deployment, from the
//! image of the item in the table's stream; in `musehub serve`, from the item that was just written; after a restart,
//! from what a query finds ([`Store::events_since`](crate::Store::events_since)). So an event that is published again
//! has the same id.

mod since;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::StoreError;
use crate::deletion::{DELETED_AT, KEPT};
use crate::table::items::{
    CHANGE_PREFIX, ChangeItem, FORKED, Item, LOG_PREFIX, LogItem, META, MetaItem, PK, RELEASE_PREFIX, SK, TAG_PREFIX,
    TagItem, Visibility, decode, repo_of,
};
use common::id::{BranchName, CommitId, Label, RepoId, Slug};
use common::time;
use common::wire::domain::Domain;

use crate::upkeep::purge::CHANGED as PURGE_NOTED;

/// The version of the schema that events are written in. Fields may be added to a version; none is taken away or changed.
pub const VERSION: u32 = 1;
/// Characters of [`Event::sequence`] in a deployment. The numbers of a DynamoDB stream have at most as many digits.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html>
pub const SEQUENCE_LENGTH: usize = 40;

/// Something that happened in a repo. As JSON it is the `detail` of an event of EventBridge and the body of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// [`VERSION`].
    pub version: u32,
    /// A ULID, drawn for what happened. It is the same each time that the event is published.
    pub id: String,
    /// What happened: `type`, which is also the detail type in EventBridge, and `data`.
    #[serde(flatten)]
    pub details: Details,
    /// When, by the hub's clock: ISO 8601, UTC, to the millisecond.
    pub time: String,
    /// Of two events of one repo the one with the greater text happened later. In a deployment it is the number in the
    /// table's stream, with zeros before it, [`SEQUENCE_LENGTH`] characters; in `musehub serve` it is the event's id.
    pub sequence: String,
    /// Where it happened.
    pub repo: EventRepo,
    /// The id of the user who did it. Absent where that was not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Event {
    /// One of [`Details::KINDS`].
    pub const fn kind(&self) -> &'static str {
        self.details.kind()
    }
}

/// The repo that an event is about, with the name that it has when the event is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRepo {
    /// Its id, which it has for ever.
    pub id: RepoId,
    /// The owner's handle.
    pub owner: Slug,
    /// Its name under the owner.
    pub slug: Slug,
    /// Who may know of it.
    pub visibility: Visibility,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Details {
    /// A push has moved a branch, or made it.
    RefUpdated {
        /// The branch.
        branch: BranchName,
        /// Its head before; null for a new branch.
        before: Option<CommitId>,
        /// Its head after.
        after: CommitId,
        /// Whether the pusher forced the move.
        forced: bool,
        /// Whether the branch was restored to where it was before. Older hubs did not have it.
        #[serde(default)]
        restored: bool,
    },
    /// A branch was deleted.
    RefDeleted {
        /// The branch.
        branch: BranchName,
        /// The head that it had.
        before: CommitId,
    },
    /// A tag was made, or leads elsewhere, or what is said of it has changed.
    TagUpdated {
        /// What it is called.
        tag: Label,
        /// The commit that it leads to now.
        commit: CommitId,
        /// The tag's own id, the client's or the hub's.
        tag_id: String,
        /// When it was made, as the client says.
        created_at: String,
    },
    /// A commit was given to the world under a name.
    ReleasePublished {
        /// The name.
        tag: Label,
        /// The commit.
        commit: CommitId,
        /// `stable`, `beta`, `alpha` or `nightly`.
        channel: String,
        /// Whether it is only listed for those who ask for drafts.
        is_draft: bool,
        /// When it was made, as the client says.
        created_at: String,
    },
    /// A repo was made, by a request for it or by the first push to its name.
    RepoCreated {
        /// Its name for people.
        name: String,
        /// A sentence about it.
        description: String,
        /// What kind of content it holds, as far as is known then.
        domain: String,
        /// The branch that a clone checks out.
        default_branch: String,
    },
    /// The owner has changed what a repo is: its name, who may know of it, what is said of it.
    RepoChanged {
        /// Each field that is different.
        changed: BTreeMap<String, FieldChange>,
    },
    /// A repo was deleted: no request finds it any more.
    RepoDeleted {
        /// Until when it can be undeleted.
        kept_until: String,
    },
    /// A repo that was deleted is there again, as it was.
    RepoRestored {
        /// When it was deleted.
        deleted_at: String,
    },
}

/// What a field was, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Before.
    pub before: String,
    /// After.
    pub after: String,
}

impl Details {
    /// What [`Event::kind`] has.
    pub const KINDS: [&'static str; 8] = [
        "RefUpdated",
        "TagUpdated",
        "ReleasePublished",
        "RepoCreated",
        "RefDeleted",
        "RepoChanged",
        "RepoDeleted",
        "RepoRestored",
    ];

    /// One of [`Self::KINDS`].
    pub const fn kind(&self) -> &'static str {
        let [r#ref, tag, release, repo, ref_deleted, changed, deleted, restored] = Self::KINDS;
        match self {
            Self::RefUpdated { .. } => r#ref,
            Self::TagUpdated { .. } => tag,
            Self::ReleasePublished { .. } => release,
            Self::RepoCreated { .. } => repo,
            Self::RefDeleted { .. } => ref_deleted,
            Self::RepoChanged { .. } => changed,
            Self::RepoDeleted { .. } => deleted,
            Self::RepoRestored { .. } => restored,
        }
    }
}

/// What an item of the table says has happened. The item does not know what its repo is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The repo.
    pub repo: RepoId,
    /// The event's id, which also says when it was drawn: at most a request's length before the item was written.
    pub id: Ulid,
    /// The user who did it, where that was kept.
    pub by: Option<String>,
    /// What happened.
    pub details: Details,
}

impl StoredEvent {
    /// When it happened, as its id says.
    pub fn at(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(i64::try_from(self.id.timestamp_ms()).ok()?).ok()
    }

    /// What an item says has happened: nothing, if it is of another kind, or was written by a version of the hub that
    /// gave it no id of its own.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it cannot be read.
    pub fn of(item: Item) -> Result<Option<Self>, StoreError> {
        let text = |name| item.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
        let (pk, sk) = (text(PK), text(SK));
        let Some(repo) = repo_of(&pk) else {
            return Ok(None);
        };
        let damaged = |why: &dyn std::fmt::Display| StoreError::Damaged(format!("item {pk} / {sk}: {why}"));
        let ulid = |text: &str| Ulid::from_string(text).map_err(|error| damaged(&error));
        let label = |text: &str| text.parse::<Label>().map_err(|error| damaged(&error));
        if item.contains_key(FORKED) {
            // It was published where it was written.
            return Ok(None);
        }
        if let Some(line) = sk.strip_prefix(LOG_PREFIX) {
            let LogItem { branch, before, after, deleted, forced, restored, by, .. } = decode(item)?;
            let details = match deleted {
                true => Details::RefDeleted { branch, before: after },
                false => Details::RefUpdated { branch, before, after, forced, restored },
            };
            return Ok(Some(Self { repo, id: ulid(line)?, by: Some(by), details }));
        }
        if let Some(tag) = sk.strip_prefix(TAG_PREFIX) {
            let TagItem { tag_id, commit_id, created_at, write_id, written_by, .. } = decode(item)?;
            let Some(write_id) = write_id else {
                return Ok(None);
            };
            let details = Details::TagUpdated { tag: label(tag)?, commit: commit_id, tag_id, created_at };
            return Ok(Some(Self { repo, id: ulid(&write_id)?, by: written_by, details }));
        }
        if let Some(tag) = sk.strip_prefix(RELEASE_PREFIX) {
            // Not the record, which may be large and says no more that is wanted here.
            let PublishedItem { write_id, commit_id, channel, is_draft, created_at, written_by } = decode(item)?;
            let tag = label(tag)?;
            let details = Details::ReleasePublished { tag, commit: commit_id, channel, is_draft, created_at };
            return Ok(Some(Self { repo, id: ulid(&write_id)?, by: written_by, details }));
        }
        if let Some(line) = sk.strip_prefix(CHANGE_PREFIX) {
            let ChangeItem { mut changed, by, .. } = decode(item)?;
            if changed.contains_key(PURGE_NOTED) {
                // What has leaked is named to no more receivers.
                return Ok(None);
            }
            let details = match changed.remove(DELETED_AT) {
                Some((_, deleted_at)) if !deleted_at.is_empty() => {
                    let at: Timestamp = deleted_at.parse().map_err(|error| damaged(&error))?;
                    Details::RepoDeleted { kept_until: time::iso(time::after(at, KEPT)) }
                }
                Some((deleted_at, _)) => Details::RepoRestored { deleted_at },
                None => {
                    let field = |(name, (before, after))| (name, FieldChange { before, after });
                    Details::RepoChanged { changed: changed.into_iter().map(field).collect() }
                }
            };
            return Ok(Some(Self { repo, id: ulid(line)?, by: Some(by), details }));
        }
        if sk == META {
            let MetaItem { name, description, domain, default_branch, owner_user_id, .. } = decode(item)?;
            let domain = Domain::of_stored(&domain).as_str().to_owned();
            let details = Details::RepoCreated { name, description, domain, default_branch };
            return Ok(Some(Self { id: ulid(repo.own())?, repo, by: Some(owner_user_id), details }));
        }
        Ok(None)
    }

    /// The event, with what is known of its repo.
    pub fn event(self, meta: &MetaItem, sequence: String) -> Event {
        Event {
            version: VERSION,
            id: self.id.to_string(),
            details: self.details,
            time: time::iso(time::drawn(self.id)),
            sequence,
            repo: EventRepo {
                id: self.repo,
                owner: meta.owner.clone(),
                slug: meta.slug.clone(),
                visibility: meta.visibility,
            },
            by: self.by,
        }
    }

    /// The event as `musehub serve` publishes it. There is no stream with numbers, so the id gives the order.
    pub fn numbered_by_id(self, meta: &MetaItem) -> Event {
        let sequence = self.id.to_string();
        self.event(meta, sequence)
    }
}

/// What is wanted of a release's item.
#[derive(Deserialize)]
struct PublishedItem {
    write_id: String,
    commit_id: CommitId,
    channel: String,
    is_draft: bool,
    created_at: String,
    written_by: Option<String>,
}

/// The attributes that [`StoredEvent::of`] reads of a release's item, beside its key.
pub(crate) const PUBLISHED: [&str; 7] =
    ["write_id", "commit_id", "channel", "is_draft", "created_at", "written_by", FORKED];

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::{MAX_ID_LENGTH, MAX_LABEL_LENGTH, MAX_SLUG_LENGTH};
    use common::wire::limits::{MAX_AUTHORIZATION, MAX_TEXT_LENGTH};
    use std::collections::BTreeSet;

    #[test]
    fn the_largest_event_is_far_smaller_than_what_a_bus_or_a_queue_takes() {
        // What takes most bytes as JSON: six for one. A token says it in as many.
        let long = |characters: usize| "\u{1}".repeat(characters);
        let meta = MetaItem {
            owner: "o".repeat(MAX_SLUG_LENGTH).parse().unwrap(),
            slug: "s".repeat(MAX_SLUG_LENGTH).parse().unwrap(),
            name: long(MAX_TEXT_LENGTH),
            owner_user_id: long(MAX_AUTHORIZATION / 6),
            visibility: Visibility::Private,
            domain: long(MAX_TEXT_LENGTH),
            description: long(MAX_TEXT_LENGTH),
            default_branch: "\u{1f941}".repeat(255),
            default_is_chosen: true,
            created_at: String::new(),
            first_pushed_at: None,
            is_made_by_push: false,
            first_head: None,
            purged: None,
            former_slugs: BTreeSet::new(),
            quota_bytes: None,
            counted_bytes: None,
            deleted_at: None,
            removing_since: None,
            forked_from: None,
        };
        let repo: RepoId = Ulid::nil().into();
        let item = crate::table::items::encode(&crate::table::items::Key::meta(&repo), &meta).unwrap();
        let made = StoredEvent::of(item).unwrap().unwrap().event(&meta, "0".repeat(SEQUENCE_LENGTH));
        let details = Details::ReleasePublished {
            tag: long(MAX_LABEL_LENGTH).parse().unwrap(),
            commit: "c".repeat(MAX_ID_LENGTH).parse().unwrap(),
            channel: "nightly".to_owned(),
            is_draft: false,
            created_at: long(MAX_LABEL_LENGTH),
        };
        let field = |text: String| FieldChange { before: text.clone(), after: text };
        let fields = [
            ("name", long(MAX_TEXT_LENGTH)),
            ("description", long(MAX_TEXT_LENGTH)),
            ("default_branch", meta.default_branch.clone()),
            ("slug", meta.slug.to_string()),
            ("domain", "scaffold".to_owned()),
            ("visibility", "private".to_owned()),
        ];
        let changed = fields.into_iter().map(|(name, text)| (name.to_owned(), field(text))).collect();
        let changed = Event { details: Details::RepoChanged { changed }, ..made.clone() };
        for event in [Event { details, ..made.clone() }, changed, made] {
            let size = serde_json::to_string(&event).unwrap().len();
            assert!(size <= 40_000, "{size} bytes");
        }
    }

    #[test]
    fn what_has_no_id_of_its_own_and_what_is_another_kind_is_no_event() {
        let item = |sk: &str, fields: &[(&str, &str)]| -> Item {
            let repo = format!("REPO#{}", Ulid::nil());
            let keys = [(PK, repo.as_str()), (SK, sk)];
            let fields = keys.iter().chain(fields);
            fields
                .map(|(name, text)| {
                    ((*name).to_owned(), aws_sdk_dynamodb::types::AttributeValue::S((*text).to_owned()))
                })
                .collect()
        };
        let tag = [("tag_id", "t"), ("repo_id", "r"), ("commit_id", "c"), ("created_at", "")];
        let written = [&tag[..], &[("write_id", "01JXT21Q2PYJYZGM06QYMWFQRX")]].concat();
        assert_eq!(StoredEvent::of(item("TAG#v1", &tag)).unwrap(), None, "of before there were events");
        let event = StoredEvent::of(item("TAG#v1", &written)).unwrap().unwrap();
        assert_eq!((event.details.kind(), event.by), ("TagUpdated", None));
        for other in ["PACK#01JXT21Q2PYJYZGM06QYMWFQRX", "REF#main", "UPLOADS", "HOOK#01JXT21Q2PYJYZGM06QYMWFQRX"] {
            assert_eq!(StoredEvent::of(item(other, &[])).unwrap(), None, "{other}");
        }
        let moved = [("branch", "main"), ("after", "c"), ("by", "u"), ("at", "")];
        let mut moved = item("LOG#01JXT21Q2PYJYZGM06QYMWFQRX", &moved);
        moved.insert("forced".to_owned(), aws_sdk_dynamodb::types::AttributeValue::Bool(false));
        let event = StoredEvent::of(moved).unwrap().unwrap();
        assert!(matches!(event.details, Details::RefUpdated { restored: false, .. }), "of before there was restoring");
        let line = |field: &str, was: &str, is: &str| {
            let changed = BTreeMap::from([(field.to_owned(), (was.to_owned(), is.to_owned()))]);
            let change = ChangeItem { changed, by: "u".to_owned(), at: String::new() };
            let key = crate::table::items::Key::change(&Ulid::nil().into(), Ulid::nil());
            StoredEvent::of(crate::table::items::encode(&key, &change).unwrap()).unwrap()
        };
        assert_eq!(line("purged", "", "an-id"), None, "what has leaked is not told on");
        let deleted = line(DELETED_AT, "", "2025-06-15T15:06:40.000Z").unwrap().details;
        assert_eq!(deleted, Details::RepoDeleted { kept_until: "2025-07-15T15:06:40.000Z".to_owned() });
        let restored = line(DELETED_AT, "then", "").unwrap().details;
        assert_eq!(restored, Details::RepoRestored { deleted_at: "then".to_owned() });
        assert_eq!(line("slug", "a", "b").unwrap().details.kind(), "RepoChanged");
        for damaged in
            [item("TAG#v1", &written[..2]), item("TAG#", &written), item("LOG#1", &written), item("META", &[])]
        {
            assert!(StoredEvent::of(damaged).is_err());
        }
    }
}
