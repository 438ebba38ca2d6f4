//! The plan, function by function, and against a model: [`model`] says in sets what a push comes to.

use std::collections::BTreeSet;

use crate::id::Id;
use crate::wire::Encoding;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;

mod model;

const PLACE: RecordLocation = RecordLocation { table: 0, frame: 0, start: 0, length: 1 };

/// The hash of these texts with a zero byte between each, as clients make ids.
fn hash(parts: &[String]) -> String {
    hex::encode(Sha256::digest(parts.join("\0")))
}

fn object_id(content: &str) -> String {
    hash(&[content.to_owned()])
}

fn key(content: &str) -> ObjectKey {
    object_id(content).parse::<ObjectId>().unwrap().key()
}

fn object(content: &str) -> Value {
    json!({"object_id": object_id(content), "content": content_b64(content)})
}

/// Content in base64, which of these letters is short to say.
fn content_b64(content: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = content.as_bytes().chunks(3).map(|group| {
        let number = (0..3).fold(0_usize, |number, at| number << 8 | usize::from(*group.get(at).unwrap_or(&0)));
        (0..=group.len()).map(|at| DIGITS[number >> (18 - 6 * at) & 63] as char).collect::<String>()
    });
    groups.collect()
}

/// A snapshot of files: each a path and its content.
fn snapshot(files: &[(&str, &str)]) -> (String, Value) {
    let mut files = files.to_vec();
    files.sort_unstable();
    let entries: Vec<String> = files.iter().map(|(path, content)| format!("{path}\0{}", object_id(content))).collect();
    let id = hash(&entries);
    let manifest: serde_json::Map<String, Value> =
        files.iter().map(|(path, content)| ((*path).to_owned(), object_id(content).into())).collect();
    (id.clone(), json!({"snapshot_id": id, "manifest": manifest, "created_at": "then"}))
}

/// A commit whose id is its hash.
fn commit(message: &str, parents: &[&str], snapshot: Option<&str>) -> (String, Value) {
    let mut sorted = parents.to_vec();
    sorted.sort_unstable();
    let id = hash(&[sorted.join("\0"), snapshot.unwrap_or_default().to_owned(), message.to_owned(), "then".to_owned()]);
    let commit = json!({
        "commit_id": id, "branch": "main", "snapshot_id": snapshot, "message": message, "committed_at": "then",
        "author": "ada", "parent_commit_id": parents.first(), "parent2_commit_id": parents.get(1),
    });
    (id, commit)
}

/// A push of this, to `main`.
fn push(commits: &[Value], snapshots: &[Value], objects: &[Value]) -> Value {
    json!({"bundle": {"commits": commits, "snapshots": snapshots, "objects": objects}, "branch": "main"})
}

/// The same with another field, of the request or of its bundle (`bundle.…`).
fn with(mut request: Value, field: &str, value: impl Into<Value>) -> Value {
    match field.strip_prefix("bundle.") {
        Some(field) => request["bundle"][field] = value.into(),
        None => request[field] = value.into(),
    }
    request
}

/// A request as it is checked. Its text lives as long as the test.
fn checked_as(request: &Value, ids: Ids) -> Result<ValidatedBundle<'static>, WireError> {
    let body: &'static [u8] = request.to_string().into_bytes().leak();
    validate(Encoding::Json.decode(body)?, ids)
}

fn checked(request: &Value) -> ValidatedBundle<'static> {
    checked_as(request, Ids::Strict).unwrap()
}

fn refused(request: &Value) -> WireError {
    match checked_as(request, Ids::Strict) {
        Ok(_) => panic!("{request} is taken"),
        Err(error) => error,
    }
}

fn commit_id(text: &str) -> CommitId {
    text.parse().unwrap()
}

fn snapshot_id(text: &str) -> SnapshotId {
    text.parse().unwrap()
}

fn heads(heads: &[(&str, &str)]) -> Heads {
    heads.iter().map(|(name, head)| ((*name).to_owned(), commit_id(head))).collect()
}

/// What a repo has: its commits with their parents and generations, its snapshots and objects; of each, whether a branch has
/// reached it.
#[derive(Default)]
struct Repo {
    commits: Vec<(CommitId, crate::location::KnownCommit)>,
    snapshots: Vec<(SnapshotId, crate::location::KnownSnapshot)>,
    objects: Vec<(ObjectKey, bool)>,
}

impl Repo {
    fn commit(mut self, id: &str, parents: &[&str], snapshot: Option<&str>, generation: Option<u32>) -> Self {
        let commit = crate::location::KnownCommit {
            parents: parents.iter().map(|parent| commit_id(parent)).collect(),
            generation,
            is_reached: true,
            snapshot: snapshot.map(snapshot_id),
            snapshot_place: None,
            place: PLACE,
        };
        self.commits.push((commit_id(id), commit));
        self
    }

    fn snapshot(self, id: &str, is_reached: bool) -> Self {
        self.snapshot_at(id, is_reached, PLACE)
    }

    fn snapshot_at(mut self, id: &str, is_reached: bool, place: RecordLocation) -> Self {
        self.snapshots.push((snapshot_id(id), crate::location::KnownSnapshot { place, is_reached }));
        self
    }

    fn object(mut self, content: &str, is_reached: bool) -> Self {
        self.objects.push((key(content), is_reached));
        self
    }

    fn known(self) -> Known {
        Known::with(self.commits, self.snapshots, self.objects)
    }
}

fn nothing() -> Known {
    Known::default()
}

/// Plans a push that goes forward, with nothing recalled.
fn planned<'c>(checked: &'c ValidatedBundle<'_>, known: &Known) -> Result<PushPlan<'c>, WireError> {
    checked.plan(known, &with_forward(true, checked.reach(known, &Heads::new())), HashSet::new())
}

/// What is looked up elsewhere: whether the branches go forward.
fn with_forward(is_forward: bool, mut reach: Reach) -> Reach {
    reach.ends.iter_mut().for_each(|end| end.is_forward = is_forward);
    reach
}

fn ids<'i, T: ToString + 'i>(items: impl IntoIterator<Item = &'i T>) -> Vec<String> {
    items.into_iter().map(ToString::to_string).collect()
}

fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    items.into_iter().collect::<BTreeSet<T>>().into_iter().collect()
}

/// One commit with one file, and all that it needs.
fn one() -> (String, Value) {
    let (snapshot, record) = snapshot(&[("a", "one")]);
    let (id, commit) = commit("first", &[], Some(&snapshot));
    (id, push(&[commit], &[record], &[object("one")]))
}

#[test]
fn ids_that_are_no_hashes_are_refused_and_each_is_named() {
    let (_, good) = one();
    assert!(checked_as(&good, Ids::Strict).is_ok());
    for (part, field) in [("commits", "commit_id"), ("snapshots", "snapshot_id"), ("objects", "object_id")] {
        let mut forged = good.clone();
        forged["bundle"][part][0][field] = object_id("other").into();
        let (error, code) = match (part, refused(&forged)) {
            ("commits", error @ WireError::CommitHashMismatch(_)) => (error, "commit_hash_mismatch"),
            ("snapshots", error @ WireError::SnapshotHashMismatch(_)) => (error, "snapshot_hash_mismatch"),
            ("objects", error @ WireError::ObjectHashMismatch(_)) => (error, "object_hash_mismatch"),
            (_, other) => panic!("{part}: {other}"),
        };
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(&object_id("other")), "{error}");
        assert!(checked_as(&forged, Ids::Lenient).is_ok(), "{part}: opaque ids are taken as they are");
    }
    let mut empty = good.clone();
    empty["bundle"]["snapshots"][0]["manifest"] = json!({"../a": object_id("one")});
    assert_eq!(refused(&empty).code(), "invalid", "a path is checked before its snapshot is hashed");
}

#[test]
fn a_branch_has_to_be_one() {
    let (_, good) = one();
    let refusal = refused(&with(good, "branch", "a..b"));
    assert!(refusal.to_string().starts_with("branch: "), "{refusal}");
}

#[test]
fn commits_are_checked_parents_first_and_otherwise_in_the_order_sent() {
    let (first, first_commit) = commit("first", &[], None);
    let (second, second_commit) = commit("second", &[&first], None);
    let (other, other_commit) = commit("other", &[], None);
    let checked = checked(&push(&[second_commit, other_commit, first_commit.clone(), first_commit], &[], &[]));
    assert_eq!(ids(checked.commits.iter().map(|commit| &commit.id)), [other, first, second]);
    assert_eq!(checked.sent_commits, 4, "what comes twice was sent twice");
}

#[test]
fn a_commit_that_would_be_its_own_ancestor_is_refused() {
    let cycle =
        [json!({"commit_id": "a", "parent_commit_id": "b"}), json!({"commit_id": "b", "parent_commit_id": "a"})];
    let Err(error) = checked_as(&push(&cycle, &[], &[]), Ids::Lenient) else {
        panic!("a cycle is taken");
    };
    assert!(error.to_string().starts_with("bundle.commits: "), "{error}");
}

#[test]
fn of_a_snapshot_that_comes_twice_the_first_counts() {
    let twice =
        [json!({"snapshot_id": "s", "manifest": {"a": "1"}}), json!({"snapshot_id": "s", "manifest": {"b": "2"}})];
    let checked = checked_as(&push(&[], &twice, &[]), Ids::Lenient).unwrap();
    let entries = &checked.snapshots[&snapshot_id("s")].manifest.entries;
    assert_eq!(entries.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn where_the_branch_is_expected_is_said_in_three_ways() {
    let (_, request) = one();
    let expected =
        |value: Value| checked(&with(request.clone(), "expected_head", value)).updates[0].expected_head.clone();
    assert_eq!(checked(&request).updates[0].expected_head, None);
    assert_eq!(expected("".into()), Some(None));
    assert_eq!(expected("c".into()), Some(Some(commit_id("c"))));
    let refusal = refused(&with(request, "expected_head", "no id!"));
    assert!(refusal.to_string().starts_with("expected_head: "), "{refusal}");
}

#[test]
fn a_list_beyond_its_limit_is_refused_and_named() {
    let (_, request) = one();
    let objects: Vec<Value> = (0..1_001).map(|number| object(&number.to_string())).collect();
    let refusal = refused(&with(request, "bundle.objects", objects));
    assert!(refusal.to_string().starts_with("1001 objects: the limit is 1000"), "{refusal}");
}

#[test]
fn the_head_that_a_client_claims_is_that_of_the_pushed_branch_if_it_is_an_id() {
    let (id, request) = one();
    let claimed =
        |heads: Value| checked(&with(request.clone(), "bundle.branch_heads", heads)).updates[0].named().cloned();
    assert_eq!(claimed(json!({"main": id, "other": "c"})), Some(commit_id(&id)));
    for none in [json!({"other": id}), json!({"main": null}), json!({"main": ""}), json!({"main": "no id!"}), json!({})]
    {
        assert_eq!(claimed(none.clone()), None, "{none}");
    }
}

#[test]
fn a_push_names_its_records_and_what_they_lead_to() {
    let (snapshot, record) = snapshot(&[("a", "one"), ("b", "two")]);
    let (id, own) = commit("own", &["p", "q"], Some("elsewhere"));
    let request = push(&[own], &[record], &[object("three")]);
    let checked = checked_as(&with(request, "bundle.branch_heads", json!({"main": "claimed"})), Ids::Lenient).unwrap();
    let heads = heads(&[("main", "head"), ("other", "unnamed")]);
    assert_eq!(
        sorted(ids(checked.named_commits(&heads))),
        sorted([id, "p".into(), "q".into(), "claimed".into(), "head".into()])
    );
    assert_eq!(ids(checked.parents()), ["p", "q"]);
    assert_eq!(sorted(ids(checked.named_snapshots())), sorted([snapshot, "elsewhere".into()]));
    assert_eq!(checked.named_objects(), HashSet::from(["one", "two", "three"].map(key)));
    assert!(checked.brings_object(&key("three")) && !checked.brings_object(&key("one")));
}

#[test]
fn the_tip_is_the_claimed_head_where_that_is_known() {
    let (first, first_commit) = commit("first", &[], None);
    let (second, second_commit) = commit("second", &[&first], None);
    let request = push(&[first_commit, second_commit], &[], &[]);
    let known = Repo::default().commit("there", &[], None, Some(1)).known();
    let tip = |claimed: Value| {
        let checked = checked(&with(request.clone(), "bundle.branch_heads", claimed));
        checked.reach(&known, &heads(&[("main", "there")])).ends[0].tip.clone()
    };
    assert_eq!(tip(json!({"main": first})), Some(commit_id(&first)), "new, and not the last");
    assert_eq!(tip(json!({"main": "there"})), Some(commit_id("there")), "of the repo");
    assert_eq!(tip(json!({"main": "nowhere"})), Some(commit_id(&second)), "the last commit, if it is not known");
    assert_eq!(tip(json!({})), Some(commit_id(&second)));
}

#[test]
fn of_several_commits_without_children_the_tip_is_the_last_of_the_branch_or_else_the_last() {
    let made_on = |branch: &str, (id, mut commit): (String, Value)| {
        commit["branch"] = branch.into();
        (id, commit)
    };
    let (root, root_commit) = commit("root", &[], None);
    let (own, own_commit) = made_on("main", commit("own", &[&root], None));
    let (other, other_commit) = made_on("side", commit("other", &[&root], None));
    let (later, later_commit) = made_on("main", commit("later", &[&root], None));
    let tip = |commits: &[&Value]| {
        let commits: Vec<Value> = commits.iter().map(|commit| (*commit).clone()).collect();
        checked(&push(&commits, &[], &[])).reach(&nothing(), &Heads::new()).ends[0].tip.clone()
    };
    assert_eq!(tip(&[&root_commit, &own_commit, &other_commit]), Some(commit_id(&own)), "its own branch comes first");
    assert_eq!(tip(&[&root_commit, &own_commit, &later_commit]), Some(commit_id(&later)), "the last of its branch");
    assert_eq!(tip(&[&root_commit, &other_commit]), Some(commit_id(&other)), "a parent is no tip, whatever its branch");
    assert_eq!(tip(&[]), None);
}

#[test]
fn without_commits_the_branch_stays_where_it_is() {
    let checked = checked(&push(&[], &[], &[]));
    let reach = checked.reach(&nothing(), &heads(&[("main", "head"), ("other", "o")]));
    assert_eq!(reach.tips(), [Some(commit_id("head"))]);
    assert_eq!(sorted(ids(reach.foundations())), ["head"]);
    assert!(reach.commits.is_empty() && reach.snapshots.is_empty());
}

#[test]
fn a_push_reaches_new_commits_and_ends_at_those_of_the_repo() {
    let (first, first_commit) = commit("first", &["there"], Some("s1"));
    let (second, second_commit) = commit("second", &[&first, "other"], Some("s2"));
    let (_, aside) = commit("aside", &["there"], Some("s3"));
    let request =
        with(push(&[aside, first_commit, second_commit], &[], &[]), "bundle.branch_heads", json!({"main": second}));
    let known =
        Repo::default().commit("there", &["below"], Some("s0"), Some(2)).commit("other", &[], None, None).known();
    let reach = checked_as(&request, Ids::Lenient).unwrap().reach(&known, &Heads::new());
    assert_eq!(sorted(ids(&reach.commits)), sorted([first, second]));
    assert_eq!(sorted(ids(&reach.snapshots)), ["s1", "s2"]);
    assert_eq!(sorted(ids(reach.foundations())), ["other", "there"]);
    assert!(!reach.ends[0].is_forward, "that is looked up elsewhere");
}

#[test]
fn only_snapshots_that_were_staged_and_are_reached_are_recalled_in_the_order_they_lie_in() {
    let (sent, record) = snapshot(&[("a", "one")]);
    let checked = checked(&push(&[], &[record], &[]));
    let at = |start| RecordLocation { start, ..PLACE };
    let known = Repo::default()
        .snapshot_at("late", false, at(9))
        .snapshot_at("early", false, at(3))
        .snapshot_at("reached", true, at(1))
        .snapshot_at("unasked", false, at(2))
        .snapshot_at(&sent, false, at(4))
        .known();
    let snapshots = ["late", "early", "reached", &sent, "unknown"].map(snapshot_id).into();
    let reach = Reach { snapshots, ..Reach::default() };
    assert_eq!(checked.to_recall(&known, &reach), [at(3), at(9)]);
}

#[test]
fn all_that_is_new_is_stored_once_and_what_is_there_is_not() {
    let (id, request) = one();
    let checked = checked(&request);
    let plan = planned(&checked, &nothing()).unwrap();
    assert_eq!(ids(plan.commits.iter().map(|commit| &commit.id)), std::slice::from_ref(&id));
    assert_eq!((plan.snapshots.len(), plan.objects.len()), (1, 1));
    assert_eq!(plan.named, HashSet::from([key("one")]));
    assert_eq!(plan.reached_snapshots.len(), 1);
    assert!(plan.reached.is_empty(), "nothing was staged");
    assert!(plan.brings_something());

    let snapshot = checked.snapshots.keys().next().unwrap().to_string();
    let there =
        Repo::default().commit(&id, &[], Some(&snapshot), Some(1)).snapshot(&snapshot, true).object("one", true);
    let plan = planned(&checked, &there.known()).unwrap();
    assert!(plan.commits.is_empty() && plan.snapshots.is_empty() && plan.objects.is_empty());
    assert!(!plan.brings_something());
}

#[test]
fn that_something_is_reached_is_something_to_store() {
    let empty = || PushPlan {
        commits: Vec::new(),
        snapshots: Vec::new(),
        objects: Vec::new(),
        reached_snapshots: HashSet::new(),
        named: HashSet::from([key("named")]),
        reached: Vec::new(),
        generations: Vec::new(),
    };
    assert!(!empty().brings_something());
    assert!(PushPlan { reached: vec![key("one")], ..empty() }.brings_something());
    let checked = checked(&one().1);
    let (commit, snapshot) = (&checked.commits[0], checked.snapshots.values().next().unwrap());
    assert!(PushPlan { commits: vec![commit], ..empty() }.brings_something());
    assert!(PushPlan { snapshots: vec![snapshot], ..empty() }.brings_something());
    assert!(PushPlan { objects: checked.objects.values().collect(), ..empty() }.brings_something());
}

#[test]
fn each_reference_that_leads_nowhere_is_counted_and_named() {
    let (incomplete, record) = snapshot(&[("a/b", "absent")]);
    let (first, first_commit) = commit("first", &["nowhere"], Some(&incomplete));
    let (_, second_commit) = commit("second", &[&first], Some("no snapshot"));
    let Err(_) = checked_as(&push(&[second_commit], &[], &[]), Ids::Strict) else {
        panic!("a snapshot's id has no spaces");
    };
    let (second, second_commit) = commit("second", &[&first], Some("missing"));
    let checked = checked(&push(&[first_commit, second_commit], &[record], &[]));
    let Err(WireError::MissingReferences(detail)) = planned(&checked, &nothing()) else {
        panic!("it is taken");
    };
    assert!(detail.contains("3 reference(s)"), "{detail}");
    for named in [
        format!("parent 'nowhere' of commit '{first}'"),
        format!("snapshot 'missing' of commit '{second}'"),
        format!("object '{}' at 'a/b' in snapshot '{incomplete}'", object_id("absent")),
    ] {
        assert!(detail.contains(&named), "{detail}");
    }
}

#[test]
fn opaque_ids_may_name_parents_and_snapshots_that_are_not_there_and_no_objects() {
    let commits = [json!({"commit_id": "c", "parent_commit_id": "nowhere", "snapshot_id": "nothing"})];
    let checked = checked_as(&push(&commits, &[], &[]), Ids::Lenient).unwrap();
    assert_eq!(planned(&checked, &nothing()).unwrap().commits.len(), 1);
    let snapshots = [json!({"snapshot_id": "nothing", "manifest": {"a": "absent"}})];
    let checked = checked_as(&push(&commits, &snapshots, &[]), Ids::Lenient).unwrap();
    assert!(matches!(planned(&checked, &nothing()), Err(WireError::MissingReferences(_))));
    assert!(planned(&checked, &Known::with([], [], [("absent".parse::<Id>().unwrap().into(), false)])).is_ok());
}

#[test]
fn with_opaque_ids_all_that_comes_is_reached() {
    let snapshots = [json!({"snapshot_id": "unnamed", "manifest": {"a": "there"}})];
    let checked = checked_as(&push(&[], &snapshots, &[]), Ids::Lenient).unwrap();
    let there: ObjectKey = "there".parse::<Id>().unwrap().into();
    let plan_of = |is_reached| {
        let known = Known::with([], [], [(there.clone(), is_reached)]);
        planned(&checked, &known).unwrap().reached
    };
    assert_eq!(plan_of(false), std::slice::from_ref(&there));
    assert!(plan_of(true).is_empty());
}

#[test]
fn a_snapshot_that_no_commit_names_is_staged_if_it_is_complete() {
    let (complete, complete_record) = snapshot(&[("a", "one"), ("b", "there")]);
    let (_, incomplete_record) = snapshot(&[("a", "absent")]);
    let (_, stored_record) = snapshot(&[("c", "there")]);
    let stored = stored_record["snapshot_id"].as_str().unwrap().to_owned();
    let checked = checked(&push(&[], &[incomplete_record, complete_record, stored_record], &[object("one")]));
    let known = Repo::default().object("there", false).snapshot(&stored, false).known();
    let plan = planned(&checked, &known).unwrap();
    assert_eq!(ids(plan.snapshots.iter().map(|snapshot| &snapshot.snapshot_id)), [complete]);
    assert!(plan.reached_snapshots.is_empty() && plan.named.is_empty() && plan.reached.is_empty());
    assert_eq!(plan.objects.len(), 1, "the object is stored, and nothing names it yet");
}

#[test]
fn what_was_staged_is_stored_once_more_when_a_branch_reaches_it() {
    let (snapshot, record) = snapshot(&[("a", "staged"), ("b", "reached")]);
    let (_, commit) = commit("first", &[], Some(&snapshot));
    let repo = || Repo::default().object("staged", false).object("reached", true);
    let sent_again = checked(&push(std::slice::from_ref(&commit), &[record], &[]));
    let staged = repo().snapshot(&snapshot, false).known();
    let plan = planned(&sent_again, &staged).unwrap();
    assert_eq!((plan.snapshots.len(), plan.reached_snapshots.len()), (1, 1));
    assert_eq!(plan.reached, [key("staged")]);

    let plan = planned(&sent_again, &repo().snapshot(&snapshot, true).known()).unwrap();
    assert!(plan.snapshots.is_empty(), "a snapshot that is reached already is not");

    let named_only = checked(&push(&[commit], &[], &[]));
    let reach = with_forward(true, named_only.reach(&staged, &Heads::new()));
    assert_eq!(named_only.to_recall(&staged, &reach), [PLACE]);
    let plan = named_only.plan(&staged, &reach, HashSet::from(["staged", "reached"].map(key))).unwrap();
    assert!(plan.snapshots.is_empty());
    assert_eq!(plan.reached, [key("staged")], "what it names is known from its record");
}

#[test]
fn snapshots_are_stored_in_the_order_of_their_commits_and_the_others_behind_them() {
    let content = |number: usize| number.to_string();
    let snapshots: Vec<(String, Value)> = (0..6).map(|number| snapshot(&[("a", &content(number))])).collect();
    let (first, first_commit) = commit("first", &[], Some(&snapshots[4].0));
    let (_, second_commit) = commit("second", &[&first], Some(&snapshots[1].0));
    let (_, third_commit) = commit("third", &[&first], Some(&snapshots[4].0));
    let objects: Vec<Value> = (0..6).map(|number| object(&content(number))).collect();
    let records: Vec<Value> = snapshots.iter().map(|(_, record)| record.clone()).collect();
    let checked = checked(&push(&[first_commit, second_commit, third_commit], &records, &objects));
    let plan = planned(&checked, &nothing()).unwrap();
    let mut expected = vec![snapshots[4].0.clone(), snapshots[1].0.clone()];
    expected.extend(sorted([0, 2, 3, 5].map(|number: usize| snapshots[number].0.clone())));
    assert_eq!(ids(plan.snapshots.iter().map(|snapshot| &snapshot.snapshot_id)), expected);
}

#[test]
fn a_branch_goes_forward_or_is_forced_and_what_is_missing_is_said_first() {
    let (_, request) = one();
    let plan_of = |request: &Value, known: &Known, is_forward| {
        let checked = checked(request);
        let reach = with_forward(is_forward, checked.reach(known, &Heads::new()));
        checked.plan(known, &reach, HashSet::new()).map(|_| ())
    };
    assert!(plan_of(&request, &nothing(), true).is_ok());
    let Err(WireError::NonFastForward(branch)) = plan_of(&request, &nothing(), false) else {
        panic!("it is taken");
    };
    assert_eq!(branch.as_str(), "main");
    assert!(plan_of(&with(request.clone(), "force", true), &nothing(), false).is_ok());
    let incomplete = with(request, "bundle.objects", json!([]));
    assert!(matches!(plan_of(&incomplete, &nothing(), false), Err(WireError::MissingReferences(_))));
}

/// What a push of several branches says of where they go.
fn updates(updates: Value) -> Value {
    let (_, request) = one();
    with(request, "updates", updates)
}

#[test]
fn the_branch_of_a_push_comes_before_the_others_and_may_be_one_of_them() {
    let (tip, _) = one();
    let names = |request: &Value| {
        let updates = checked(request).updates;
        updates.iter().map(|update| update.branch.to_string()).collect::<Vec<_>>()
    };
    let others = json!([{"branch": "a", "tip": tip}, {"branch": "b", "tip": "there"}]);
    assert_eq!(names(&updates(others)), ["main", "a", "b"]);

    let own = json!([{"branch": "a", "tip": tip}, {"branch": "main", "tip": "there", "expected_head": "c"}]);
    let both = with(with(updates(own), "force", true), "expected_head", "d");
    let said = &checked(&both).updates[0];
    assert_eq!((names(&both), said.force), (vec!["main".to_owned(), "a".to_owned()], true));
    assert_eq!(said.named(), Some(&commit_id("there")));
    assert_eq!(said.expected_head, Some(Some(commit_id("c"))));

    let mut alone = updates(json!([{"branch": "a", "tip": tip, "force": true}, {"branch": "b", "tip": "there"}]));
    alone.as_object_mut().unwrap().remove("branch");
    assert_eq!(names(&alone), ["a", "b"]);
    assert_eq!(checked(&alone).updates.iter().map(|update| update.force).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn what_is_said_of_several_branches_has_to_make_sense() {
    let update = |name: &str| json!({"branch": name, "tip": "there"});
    let without_branch = |mut request: Value| {
        request.as_object_mut().unwrap().remove("branch");
        request
    };
    let many = |count: usize| json!((0..count).map(|number| update(&format!("b{number}"))).collect::<Vec<_>>());
    for (request, refusal) in [
        (updates(json!([update("a"), update("a")])), "updates: branch 'a' is there twice"),
        (updates(json!([update("a..b")])), "updates.branch: "),
        (updates(json!([{"branch": "a", "tip": "there", "expected_head": "no id!"}])), "updates.expected_head: "),
        (updates(many(21)), "21 updates: the limit is 20"),
        (updates(many(20)), "21 branches in one push: the limit is 20"),
        (without_branch(updates(json!([]))), "missing field `branch`"),
        (without_branch(with(updates(many(1)), "force", true)), "force: is about 'branch'"),
        (without_branch(with(updates(many(1)), "expected_head", "")), "expected_head: is about 'branch'"),
    ] {
        let said = refused(&request).to_string();
        assert!(said.contains(refusal), "{said}");
    }
    assert_eq!(checked(&without_branch(updates(many(20)))).updates.len(), 20);
}

#[test]
fn each_of_several_branches_goes_where_it_is_said_or_none_does() {
    let (first, first_commit) = commit("first", &["there"], None);
    let (second, second_commit) = commit("second", &[&first], None);
    let (third, third_commit) = commit("third", &["other"], None);
    let known = Repo::default().commit("there", &[], None, Some(1)).commit("other", &[], None, Some(1)).known();
    let request = push(&[first_commit, second_commit, third_commit], &[], &[]);
    let own = with(request.clone(), "bundle.branch_heads", json!({"main": second}));
    let to = |tips: &[&str]| {
        let updates = tips.iter().enumerate().map(|(at, tip)| json!({"branch": format!("b{at}"), "tip": tip}));
        checked(&with(own.clone(), "updates", updates.collect::<Vec<_>>()))
    };
    let good = to(&[&first, &third, "there"]);
    let reach = good.reach(&known, &Heads::new());
    assert_eq!(reach.tips(), [&second, &first, &third, "there"].map(|tip| Some(commit_id(tip))));
    let foundations: Vec<Vec<String>> = (0..4).map(|end| ids(reach.foundations_of(end))).collect();
    assert_eq!(foundations, [["there"], ["there"], ["other"], ["there"]], "each its own");
    assert_eq!(sorted(ids(&reach.commits)), sorted([first.clone(), second, third]));
    assert!(good.plan(&known, &with_forward(true, reach), HashSet::new()).is_ok());

    let lost = to(&[&first, "nowhere"]);
    let reach = with_forward(true, lost.reach(&known, &heads(&[("b1", "there")])));
    assert_eq!(reach.ends[2].tip, None, "it does not stay where it is either");
    let refusal = lost.plan(&known, &reach, HashSet::new()).map(|_| ()).unwrap_err();
    assert!(matches!(&refusal, WireError::UnknownCommit(tip) if *tip == commit_id("nowhere")), "{refusal}");

    let mut back = with_forward(true, good.reach(&known, &Heads::new()));
    back.ends[2].is_forward = false;
    let refusal = good.plan(&known, &back, HashSet::new()).map(|_| ()).unwrap_err();
    assert!(matches!(&refusal, WireError::NonFastForward(branch) if branch.as_str() == "b1"), "{refusal}");

    let leases = json!([{"branch": "b0", "tip": first, "expected_head": ""}, {"branch": "b1", "tip": "other", "expected_head": "there"}]);
    let leased = checked(&with(own, "updates", leases));
    let stale = |heads: Heads| match leased.check_expected(&leased.reach(&known, &heads), &heads) {
        Ok(()) => None,
        Err(WireError::StaleHead { branch, .. }) => Some(branch.to_string()),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(stale(heads(&[("b1", "there")])), None);
    assert_eq!(stale(heads(&[("b0", "there"), ("b1", "there")])).as_deref(), Some("b0"));
    assert_eq!(stale(heads(&[("b0", &first), ("b1", "there")])), None, "it is there already");
    assert_eq!(stale(heads(&[])).as_deref(), Some("b1"));
}

#[test]
fn generations_count_from_the_parents_in_the_bundle_or_in_the_repo() {
    let (root, root_commit) = commit("root", &[], None);
    let (child, child_commit) = commit("child", &[&root, "deep"], None);
    let (_, grandchild) = commit("grandchild", &[&child, &root], None);
    let (lost, lost_commit) = commit("lost", &["unknown"], None);
    let (_, of_lost) = commit("of lost", &[&root, &lost], None);
    let checked = checked(&push(&[root_commit, child_commit, grandchild, lost_commit, of_lost], &[], &[]));
    let known = Repo::default().commit("deep", &[], None, Some(7)).commit("unknown", &[], None, None).known();
    let plan = planned(&checked, &known).unwrap();
    assert_eq!(plan.generations, [1, 8, 9, UNKNOWN_GENERATION, UNKNOWN_GENERATION]);
}

#[test]
fn a_push_that_expects_its_branch_elsewhere_is_refused_unless_it_is_done_already() {
    let (tip, request) = one();
    let plan = |request: &Value, head: Option<&str>| {
        let checked = checked(request);
        let head = head.map(commit_id);
        let heads: Heads = head.iter().map(|head| ("main".to_owned(), head.clone())).collect();
        let reach = checked.reach(&nothing(), &heads);
        match checked.check_expected(&reach, &heads) {
            Ok(()) => None,
            Err(WireError::StaleHead { branch, head }) => {
                assert_eq!(branch.as_str(), "main");
                Some(head.map_or("none".to_owned(), |head| head.to_string()))
            }
            Err(other) => panic!("{other}"),
        }
    };
    let expects = |head: &str| with(request.clone(), "expected_head", head);
    let empty = |head: &str| with(push(&[], &[], &[]), "expected_head", head);
    for (request, head, refusal) in [
        (request.clone(), Some("anywhere"), None),
        (expects("there"), Some("there"), None),
        (expects("there"), Some("elsewhere"), Some("elsewhere")),
        (expects("there"), None, Some("none")),
        (expects(""), None, None),
        (expects(""), Some("there"), Some("there")),
        (expects("there"), Some(tip.as_str()), None),
        // A push of nothing is not done because nothing moves.
        (empty("there"), Some("elsewhere"), Some("elsewhere")),
        (empty("there"), Some("there"), None),
    ] {
        assert_eq!(plan(&request, head).as_deref(), refusal, "{request} with the branch at {head:?}");
    }
    let claims = with(empty("there"), "bundle.branch_heads", json!({"main": "elsewhere"}));
    assert_eq!(plan(&claims, Some("elsewhere")), None, "a push of a head that is there is done");
}

#[test]
fn a_purged_object_is_refused_wherever_it_comes_and_the_first_is_named() {
    let mut contents = ["one", "two", "three"];
    contents.sort_unstable_by_key(|content| object_id(content));
    let checked = checked(&push(&[], &[], &contents.map(object)));
    let purged = |contents: &[&str]| contents.iter().map(|content| key(content)).collect::<Purged>();
    assert!(checked.refuse_purged_objects(&purged(&[])).is_ok());
    assert!(checked.refuse_purged_objects(&purged(&["another"])).is_ok());
    let refusal = checked.refuse_purged_objects(&purged(&contents[1..])).unwrap_err();
    assert_eq!(refusal.code(), "object_purged");
    assert!(refusal.to_string().contains(&object_id(contents[1])), "{refusal}");
}

#[test]
fn a_purged_object_is_refused_in_new_snapshots_alone_and_the_first_path_is_named() {
    let (id, record) = snapshot(&[("b", "gone"), ("a", "gone too"), ("0", "there")]);
    let request = push(&[], &[record], &[]);
    let purged: Purged = ["gone", "gone too"].map(key).into_iter().collect();
    let refusal = checked(&request).refuse_purged_names(&nothing(), &purged).unwrap_err();
    assert!(refusal.to_string().contains(&format!("'{}' at 'a'", object_id("gone too"))), "{refusal}");
    assert!(checked(&request).refuse_purged_names(&nothing(), &Purged::default()).is_ok());
    let there = |is_reached| Repo::default().snapshot(&id, is_reached).known();
    assert!(checked(&request).refuse_purged_names(&there(true), &purged).is_ok(), "as it was");
    assert!(checked(&request).refuse_purged_names(&there(false), &purged).is_err(), "staged is new");
    let knows = with(request, "purged", json!([object_id("gone too")]));
    let refusal = checked(&knows).refuse_purged_names(&nothing(), &purged).unwrap_err();
    assert!(refusal.to_string().contains("at 'b'"), "the pusher knows of the other: {refusal}");
}

#[test]
fn what_the_pusher_takes_for_purged_is_not_missing_unless_it_was_not_purged() {
    let (snapshot, record) = snapshot(&[("a", "gone"), ("b", "never there")]);
    let (_, commit) = commit("first", &[], Some(&snapshot));
    let request = with(push(&[commit], &[record], &[]), "purged", json!(["gone", "never there"].map(object_id)));
    let mut checked = checked(&request);
    assert!(planned(&checked, &nothing()).is_ok());
    assert!(checked.absent_objects(&nothing()).is_empty());
    checked.forget_unpurged(&["gone"].map(key).into_iter().collect());
    assert!(checked.has_object(&nothing(), &key("gone")) && !checked.has_object(&nothing(), &key("never there")));
    assert_eq!(checked.absent_objects(&nothing()), HashSet::from([key("never there")]));
    assert!(matches!(planned(&checked, &nothing()), Err(WireError::MissingReferences(_))));
}

#[test]
fn absent_objects_are_those_that_are_named_and_neither_sent_nor_there() {
    let (_, record) = snapshot(&[("a", "sent"), ("b", "there"), ("c", "absent"), ("d", "absent")]);
    let checked = checked(&push(&[], &[record], &[object("sent")]));
    let known = Repo::default().object("there", false).known();
    assert_eq!(checked.absent_objects(&known), HashSet::from([key("absent")]));
}

#[test]
fn a_push_needs_more_than_a_view_that_lacks_any_of_what_it_names() {
    let (_, record) = snapshot(&[("a", "object")]);
    let (own, commit) = commit("own", &["parent"], Some("snapshot"));
    let checked = checked(&push(&[commit], &[record], &[object("sent")]));
    let reach = Reach {
        foundations: [(commit_id("foundation"), 1), (commit_id(&own), 1)].into(),
        snapshots: [snapshot_id("reached")].into(),
        ..Reach::default()
    };
    let built_upon = [commit_id("built")];
    let all = || {
        Repo::default()
            .commit("parent", &[], None, Some(1))
            .commit("foundation", &[], None, Some(1))
            .commit("built", &[], None, Some(1))
            .commit("unasked", &[], None, Some(1))
            .snapshot("snapshot", true)
            .snapshot("reached", true)
            .snapshot("unasked", true)
            .object("object", true)
            .object("sent", true)
            .object("unasked", true)
    };
    let needs = |less: Repo, more: Repo| checked.needs_more_than(&less.known(), &more.known(), &reach, &built_upon);
    assert!(!needs(all(), all()));
    assert!(!needs(Repo::default(), Repo::default()), "what neither has is not in the one");
    for lacked in ["parent", "foundation", "built"] {
        let mut less = all();
        less.commits.retain(|(id, _)| *id != commit_id(lacked));
        assert!(needs(less, all()), "{lacked}");
    }
    for lacked in ["snapshot", "reached"] {
        let mut less = all();
        less.snapshots.retain(|(id, _)| *id != snapshot_id(lacked));
        assert!(needs(less, all()), "{lacked}");
    }
    let without_object = |content: &str| {
        let mut less = all();
        less.objects.retain(|(object, _)| *object != key(content));
        less
    };
    assert!(needs(without_object("object"), all()));
    let mut unasked = all();
    unasked.commits.retain(|(id, _)| *id != commit_id("unasked"));
    unasked.snapshots.retain(|(id, _)| *id != snapshot_id("unasked"));
    unasked.objects.retain(|(object, _)| *object != key("unasked") && *object != key("sent"));
    let more = all().commit(&own, &[], None, Some(1));
    assert!(!needs(unasked, more), "what is not named, or is sent, is not needed");
}
