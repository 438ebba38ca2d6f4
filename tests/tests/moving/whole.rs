//! A repo that has everything that a repo can have, and all of it as a client sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use client::{Address, Remote as End};
use local::transfer::at_hand::hub_over;
use serde_json::{Value, json};
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{self, Builder, Formula, Object, Pack, Snapshot};
use tests::hub::Hub;

/// What can be seen of a repo.
#[derive(Debug, PartialEq)]
pub struct Whole {
    heads: BTreeMap<String, String>,
    default_branch: String,
    domain: String,
    tags: Value,
    releases: Value,
    commits: BTreeMap<String, Value>,
    snapshots: BTreeMap<String, Snapshot>,
    objects: BTreeMap<String, Bytes>,
}

impl Whole {
    /// Looks at a repo as its owner.
    pub async fn of(remote: &Remote) -> Whole {
        let remote = remote.speaking(Encoding::Msgpack);
        let heads = remote.heads().await;
        let tags = remote.get("tags").await.expect(200);
        let releases = remote.get("releases?include_drafts=1").await.expect(200);
        let mut want: BTreeSet<String> = heads.values().cloned().collect();
        let named = tags["tags"].as_array().unwrap().iter().chain(releases["releases"].as_array().unwrap());
        want.extend(named.map(|named| named["commit_id"].as_str().unwrap().to_owned()));
        let want: Vec<String> = want.into_iter().collect();
        // Not held against its ids, because that of a commit without a time is none of what it is filled in with.
        let pack = Pack::from_value(&remote.ask::<_, &str>(&want, &[]).await.expect(200)).unwrap();
        Whole {
            default_branch: remote.default_branch().await,
            domain: remote.domain().await,
            commits: pack
                .commits
                .iter()
                .map(|commit| (commit.id().to_owned(), Value::Object(commit.0.clone())))
                .collect(),
            snapshots: pack.snapshots.into_iter().map(|snapshot| (snapshot.id.clone(), snapshot)).collect(),
            objects: pack.objects.into_iter().map(|object| (object.id, object.content)).collect(),
            heads,
            tags,
            releases,
        }
    }

    /// The same, without when its commits were made.
    pub fn without_times(&self) -> (Vec<Value>, &BTreeMap<String, String>, &str, &Value, &Value) {
        let mut commits: Vec<Value> = self.commits.values().cloned().collect();
        for commit in &mut commits {
            commit["committed_at"] = Value::Null;
        }
        (commits, &self.heads, &self.default_branch, &self.tags, &self.releases)
    }

    pub fn commits(&self) -> usize {
        self.commits.len()
    }
}

/// A repo with branches and merges, odd fields, large objects, tags, releases, objects that no commit names, and a commit
/// that only a tag names.
pub async fn stocked(hub: &Hub, seed: u64, commits: usize) -> Remote {
    let remote = hub.repo().await.speaking(Encoding::Msgpack);
    let history = history::dag(seed, commits, 12);
    remote.push(&history, "main", history.last()).await.expect(200);
    for (number, head) in history.heads().iter().enumerate() {
        remote.push(&history, &format!("feature/{number} größer"), head).await.expect(200);
    }

    let mut builder = Builder::new(seed ^ 0xb16);
    let mut tree = builder.files(2);
    tree.insert("vocals.wav".to_owned(), builder.bytes(5 << 20));
    tree.insert("drums.wav".to_owned(), builder.bytes(100_000));
    let forgotten = builder.commit(&[], &tree);
    remote.push(builder.history(), "sessions", &forgotten).await.expect(200);
    // A commit without a time, whose id is a hash of that.
    let edit = |fields: &mut serde_json::Map<String, Value>| drop(fields.insert("committed_at".to_owned(), json!("")));
    let timeless = builder.commit_with(&[], &tree, Formula::CommittedAt, edit);
    let other = builder.history().pack_of(&timeless).with_head("sessions", &timeless);
    let other = if seed % 2 == 1 {
        other
    } else {
        let next = builder.child(&[&forgotten]);
        let replaced = builder.child(&[]);
        remote.push(builder.history(), "takes", &next).await.expect(200);
        builder.history().pack_of(&replaced).with_head("takes", &replaced)
    };
    let branch = other.branch_heads.keys().next().unwrap().clone();
    // What the branch was at is named by a tag alone from now on.
    let mut other = other;
    other.objects.retain(|object| object.content.len() < 1 << 20);
    remote.push_pack(&branch, true, &other).await.expect(200);
    remote.push_objects(&[Object::new("an idea that no commit has")]).await.expect(200);

    let tag = |label: &str, commit: &str| json!({"tag": label, "commit_id": commit, "tag_id": format!("t-{label}"), "repo_id": "local", "created_at": "2025-01-01T00:00:00Z"});
    let tags = [tag("v1", history.last()), tag("lost/and found 🎵", &forgotten), tag("first", &history.ids()[0])];
    remote.post("tags", &json!({"tags": tags})).await.expect(200);
    for (number, is_draft) in [(1, false), (2, true), (3, false)] {
        let release = json!({
            "tag": format!("v1.{number}/mono"), "commit_id": history.ids()[number], "is_draft": is_draft, "x_unknown": [1, null],
            "body": "Größer", "created_at": "2025-03-01T12:00:00Z",
        });
        remote.post("releases", &release).await.expect(201);
    }
    remote
}

/// A repo as the commands reach it: over HTTP.
pub fn url(remote: &Remote) -> End {
    let text = format!("{}/{}/{}", remote.hub, remote.owner, remote.slug);
    let Ok(Address::Url(hub, target)) = text.parse() else { panic!("{text} is a URL") };
    End::at(hub, target, remote.token.as_deref()).unwrap()
}

/// The functions over a running hub's stores, as the commands have them that need no hub.
pub fn stores(hub: &Hub) -> service::Hub {
    let running = hub.running().hub();
    hub_over(Arc::clone(&running.store), running.settings.ids).unwrap()
}
