//! `POST /fetch`: every commit that is wanted and not had, with the snapshots and objects that go with them.
//!
//! Which commits those are is known before the answer begins, from the commit graph alone. The rest is streamed: the
//! records come out of their packs in the answer's order and go out as they come, so memory stays bounded however
//! large the answer is.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod answer;
mod encoder;

use std::collections::{HashMap, HashSet};

use common::answer_size::Held;
use common::id::Ids;
use common::id::{CommitId, SnapshotId};
use common::location::{KnownCommit, RecordLocation};
use common::wire::WireError;
use common::wire::limits::{MAX_FETCH_DEPTH, MAX_FETCH_WANT};
use common::wire::request::{FetchRequest, Heads, NO_OBJECTS, NO_SNAPSHOTS};
use lambda_http::{Request, Response};
use service::Hub;
use service::{Access, AnswerBody, Call, Opened};
use store::read::history::Lacking;
use store::read::view::View;
use store::repo::{Load, Repo};

/// How to get what is too much for one answer.
pub(crate) const IN_PARTS: &str = "'musehub clone URL' fetches in parts; other clients ask with depth or have";

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { fetch(hub, &call).await }).await
}

async fn fetch(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let credential = call.credential(hub).await?;
    let Opened { repo, view, .. } = hub.open(credential.as_ref(), &call.target()?, Access::Read, Load::HISTORY).await?;
    let held = Held::by(repo.packs.iter().map(|(_, pack)| pack));
    hub.settings.anonymous_reads.check(credential.as_ref(), held.clone_bytes(call.answer_encoding()))?;
    let Asked { want, have, depth, sends, branches } = Asked::read(call.decode()?, &repo.heads)?;
    let view = holding(hub, &repo, as_asked(hub, view), &want).await?;
    refuse_condemned(hub, &repo, &view, &want).await?;
    let mut selection = select(hub, repo, view, &want, &have, depth, sends).await?;
    if let Some(branches) = branches {
        selection.repo.heads.retain(|name, _| branches.contains(name));
    }
    let body = answer::stream(hub, selection, call.answer_encoding()).await?;
    Ok(call.respond_streaming(body))
}

/// A request that was checked.
struct Asked {
    /// What is wanted, the heads of branches among it.
    want: Vec<CommitId>,
    have: HashSet<CommitId>,
    depth: Option<usize>,
    sends: Sends,
    /// The branches that the answer is to name, if not all.
    branches: Option<HashSet<String>>,
}

/// What goes with the commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sends {
    SnapshotsAndObjects,
    Snapshots,
    Nothing,
}

impl Asked {
    /// # Errors
    /// 422 for what is too much or no such value, 404 for a branch that is not there.
    fn read(request: FetchRequest<'_>, heads: &Heads) -> Result<Self, WireError> {
        let FetchRequest { want, have, branches, depth, filter } = request;
        let most = MAX_FETCH_WANT.max(heads.len());
        let mut want = match want {
            Some(want) => want.within("ids in want", most)?,
            None if branches.is_some() => Vec::new(),
            // An empty answer would look like one that brings what was wanted.
            None => return Err(WireError::MalformedBody("the body: missing field `want`".to_owned())),
        };
        let have = have.within("ids in have")?;
        let depth = depth.map(|depth| match usize::try_from(depth) {
            Ok(depth) if (1..=MAX_FETCH_DEPTH).contains(&depth) => Ok(depth),
            _ => Err(WireError::invalid("depth", format_args!("it is from 1 to {MAX_FETCH_DEPTH}"))),
        });
        let sends = match filter.as_deref() {
            None => Sends::SnapshotsAndObjects,
            Some(NO_OBJECTS) => Sends::Snapshots,
            Some(NO_SNAPSHOTS) => Sends::Nothing,
            Some(_) => {
                let allowed = format_args!("it is '{NO_OBJECTS}' or '{NO_SNAPSHOTS}', or is left out");
                return Err(WireError::invalid("filter", allowed));
            }
        };
        let branches = match branches {
            Some(branches) => Some(branches.within("names in branches", most)?),
            None => None,
        };
        for name in branches.iter().flatten() {
            match heads.get(&**name) {
                Some(head) => want.push(head.clone()),
                None => return Err(unknown_branch(name)),
            }
        }
        Ok(Self {
            want,
            have: have.iter().filter_map(|id| id.parse().ok()).collect(),
            depth: depth.transpose()?,
            sends,
            branches: branches.map(|names| names.iter().map(|name| name.to_string()).collect()),
        })
    }
}

fn unknown_branch(name: &str) -> WireError {
    match name.parse() {
        Ok(branch) => WireError::BranchNotFound(branch),
        Err(reason) => WireError::invalid("branches", reason),
    }
}

/// The view as a fetch looks into it: what is asked for is there, and most often new. Where ids are opaque, copies of a record
/// may differ, and the first counts.
fn as_asked(hub: &Hub, view: View) -> View {
    if hub.settings.ids.are_checked() { view.newest_first() } else { view }
}

/// The view, or a newer one, in which all that is wanted is there.
async fn holding(hub: &Hub, repo: &Repo, view: View, want: &[CommitId]) -> Result<View, WireError> {
    let present = view.present_commits(want).await?;
    if want.iter().all(|id| present.contains(id)) {
        return Ok(view);
    }
    // A push may have landed between the two lists, its branch in the one and its pack not in the other.
    let view = as_asked(hub, hub.store.view_listed_again(&repo.id, &[], &repo.purged).await?);
    let present = view.present_commits(want).await?;
    match want.iter().find(|id| !present.contains(*id)) {
        Some(unknown) => Err(WireError::UnknownCommit(unknown.clone())),
        None => Ok(view),
    }
}

/// Refuses commits that are there only until they are dropped as garbage: no branch, tag, release or line of the push log that is kept
/// reaches them. A push that began before they were condemned may have put a branch there since; then they are revived.
async fn refuse_condemned(hub: &Hub, repo: &Repo, view: &View, want: &[CommitId]) -> Result<(), WireError> {
    let kept = repo.packs.iter().filter(|(_, pack)| pack.condemned_at.is_none());
    let kept: Vec<_> = kept.copied().collect();
    if kept.len() == repo.packs.len() {
        return Ok(());
    }
    let kept = as_asked(hub, hub.store.view_of(&repo.id, &kept, &repo.purged)).present_commits(want).await?;
    let condemned: Vec<&CommitId> = want.iter().filter(|id| !kept.contains(*id)).collect();
    if condemned.is_empty() {
        return Ok(());
    }
    let mut named = hub.store.labeled_commits(&repo.id).await?;
    named.extend(repo.heads.values().cloned());
    let mut history = view.history();
    for id in condemned {
        if !history.is_ancestor(id, &named).await? {
            return Err(WireError::UnknownCommit(id.clone()));
        }
    }
    Ok(())
}

/// What an answer is made of, but for the objects, which the snapshots name.
struct Selection {
    repo: Repo,
    view: View,
    /// The commits to send, parents first.
    commits: Vec<RecordLocation>,
    /// The snapshots to send.
    snapshots: Vec<RecordLocation>,
    /// Which of their objects to send; none if the client wants none.
    objects: Option<Had>,
    /// Where a depth has cut the history off, if one was asked for.
    cut: Option<Vec<CommitId>>,
}

/// Snapshots that the client has: what they hold is not sent.
struct Had(Vec<RecordLocation>);

async fn select(
    hub: &Hub,
    repo: Repo,
    mut view: View,
    want: &[CommitId],
    have: &HashSet<CommitId>,
    depth: Option<usize>,
    sends: Sends,
) -> Result<Selection, WireError> {
    let ids = hub.settings.ids;
    let mut lacking = view.history().difference_within(want, have, depth).await?;
    if !lacking.lost.is_empty() && ids.are_checked() {
        // A list of several pages may have a pack and not the one that it builds upon, which came in behind the reader.
        view = as_asked(hub, hub.store.view_listed_again(&repo.id, &[], &repo.purged).await?);
        lacking = view.history().difference_within(want, have, depth).await?;
    }
    let Lacking { commits, boundary, cut, lost } = lacking;
    if let Some((parent, id)) = lost.first().filter(|_| ids.are_checked()) {
        return Err(WireError::internal(format!("commit {parent}, a parent of {id}, is in no pack")));
    }
    let objects = match sends {
        Sends::SnapshotsAndObjects => Some(Had(snapshots_of(&view, &boundary, ids).await?)),
        Sends::Snapshots | Sends::Nothing => None,
    };
    let snapshots = match sends {
        Sends::Nothing => Vec::new(),
        Sends::Snapshots | Sends::SnapshotsAndObjects => snapshots_of(&view, &commits, ids).await?,
    };
    let commits = commits.into_iter().map(|(_, commit)| commit.place).collect();
    let cut = depth.map(|_| cut);
    Ok(Selection { repo, view, commits, snapshots, objects, cut })
}

/// The snapshots of commits, each once, in the order in which they lie in their packs, so that each frame is read once.
/// Where ids are opaque a commit may name one that was never pushed.
async fn snapshots_of(
    view: &View,
    commits: &[(CommitId, KnownCommit)],
    ids: Ids,
) -> Result<Vec<RecordLocation>, WireError> {
    let mut places: HashMap<&SnapshotId, Option<RecordLocation>> = HashMap::with_capacity(commits.len());
    for (_, commit) in commits {
        if let Some(snapshot) = &commit.snapshot {
            let place = places.entry(snapshot).or_default();
            *place = place.or(commit.snapshot_place);
        }
    }
    // Most came with their commits.
    let elsewhere: Vec<&SnapshotId> = places.iter().filter(|(_, place)| place.is_none()).map(|(id, _)| *id).collect();
    let found = view.snapshots(elsewhere.iter().copied()).await?;
    for id in elsewhere {
        match found.get(id) {
            Some(snapshot) => drop(places.insert(id, Some(snapshot.place))),
            None if ids.are_checked() => return Err(WireError::internal(format!("snapshot {id} is in no pack"))),
            None => {}
        }
    }
    let mut places: Vec<RecordLocation> = places.into_values().flatten().collect();
    places.sort_unstable();
    Ok(places)
}

#[cfg(test)]
mod tests {
    use common::wire::Encoding;
    use serde_json::{Value, json};

    use super::*;

    fn asked(request: &Value) -> Result<Asked, WireError> {
        let heads = [("main", "m"), ("side", "s")].map(|(name, head)| (name.to_owned(), head.parse().unwrap()));
        Asked::read(Encoding::Json.decode(request.to_string().as_bytes())?, &Heads::from(heads))
    }

    fn refusal(request: &Value) -> (String, String) {
        match asked(request) {
            Ok(_) => panic!("{request} is taken"),
            Err(error) => (error.code().to_owned(), error.to_string()),
        }
    }

    #[test]
    fn what_is_wanted_is_named_by_commits_or_by_branches_or_by_both() {
        let want = |request: Value| asked(&request).unwrap().want.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(want(json!({"want": ["a", "b", "a"]})), ["a", "b"]);
        assert_eq!(want(json!({"branches": ["side", "main"]})), ["s", "m"]);
        assert_eq!(want(json!({"want": ["a"], "branches": ["main"]})), ["a", "m"]);
        assert!(want(json!({"want": []})).is_empty());
        assert_eq!(refusal(&json!({"have": ["a"]})).0, "malformed_body", "an empty answer would look like a full one");
        assert_eq!(refusal(&json!({"branches": ["main", "gone"]})).0, "branch_not_found");
        assert_eq!(refusal(&json!({"branches": ["a..b"]})).0, "invalid");
    }

    #[test]
    fn only_branches_that_were_named_are_answered_and_all_where_none_was() {
        assert_eq!(asked(&json!({"want": ["a"]})).unwrap().branches, None);
        let named = asked(&json!({"branches": ["main", "main"]})).unwrap().branches.unwrap();
        assert_eq!(named, HashSet::from(["main".to_owned()]));
    }

    #[test]
    fn ids_that_a_client_has_and_that_are_none_are_passed_over() {
        let have = asked(&json!({"want": [], "have": ["a", "no id!", "", "b"]})).unwrap().have;
        assert_eq!(have, HashSet::from(["a".parse().unwrap(), "b".parse().unwrap()]));
    }

    #[test]
    fn a_depth_is_at_least_one_and_at_most_what_the_contract_says() {
        let depth = |depth: Value| asked(&json!({"want": [], "depth": depth}));
        assert_eq!(depth(Value::Null).unwrap().depth, None);
        assert_eq!(depth(1.into()).unwrap().depth, Some(1));
        assert_eq!(depth(MAX_FETCH_DEPTH.into()).unwrap().depth, Some(MAX_FETCH_DEPTH));
        for depth in [0, -1, MAX_FETCH_DEPTH as i64 + 1, i64::MIN, i64::MAX] {
            assert!(refusal(&json!({"want": [], "depth": depth})).1.starts_with("depth: it is from 1 to "), "{depth}");
        }
    }

    #[test]
    fn there_is_one_filter() {
        let sends = |filter: Value| asked(&json!({"want": [], "filter": filter})).unwrap().sends;
        assert_eq!(sends(Value::Null), Sends::SnapshotsAndObjects);
        assert_eq!((sends(NO_OBJECTS.into()), sends(NO_SNAPSHOTS.into())), (Sends::Snapshots, Sends::Nothing));
        assert!(refusal(&json!({"want": [], "filter": "blob:none"})).1.contains(NO_OBJECTS));
    }

    #[test]
    fn more_may_be_wanted_than_named_branches_have() {
        let many: Vec<String> = (0..=MAX_FETCH_WANT).map(|number| number.to_string()).collect();
        assert_eq!(refusal(&json!({"want": many})).0, "too_many");
        assert!(asked(&json!({"want": many.get(1..)})).is_ok());
    }
}
