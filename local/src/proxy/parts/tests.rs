use std::collections::{BTreeSet, HashSet};
use std::io::{Seek, SeekFrom, Write};

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::*;

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
    name.parse().unwrap()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

fn read(body: &Value, encoding: Encoding, bytes: usize) -> Parts {
    Parts::read(file(&encoding.encode(body).unwrap()), encoding, bytes).unwrap()
}

/// The bodies of the parts of a push, decoded; without those of its objects.
fn pushes(body: &Value, encoding: Encoding, bytes: usize, heads: &Heads) -> Vec<Value> {
    let mut parts = read(body, encoding, bytes);
    let plan = parts.plan(heads).unwrap();
    let bodies: Vec<Vec<u8>> =
        plan.iter().filter(|part| matches!(part, Part::Push { .. })).map(|part| parts.body(part).unwrap()).collect();
    bodies.iter().map(|body| encoding.decode(body).unwrap()).collect()
}

/// A history with merges: for each commit the positions of its parents, all before its own.
fn histories() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(any::<Index>(), 0..3), 1..14).prop_map(|commits| {
        let parents = |at: usize, parents: Vec<Index>| match at {
            0 => Vec::new(),
            _ => parents.into_iter().map(|parent| parent.index(at)).collect(),
        };
        commits.into_iter().enumerate().map(|(at, of)| parents(at, of)).collect()
    })
}

fn name(at: usize) -> String {
    format!("c{at}")
}

fn reaches(history: &[Vec<usize>], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::from([from]);
    let mut waiting = vec![from];
    while let Some(at) = waiting.pop() {
        waiting.extend(history[at].iter().copied().filter(|parent| reached.insert(*parent)));
    }
    reached
}

fn commit(history: &[Vec<usize>], at: usize) -> Value {
    let parent = |which: usize| history[at].get(which).map(|parent| name(*parent));
    json!({
        "commit_id": name(at), "parent_commit_id": parent(0), "parent2_commit_id": parent(1),
        "snapshot_id": format!("s{}", at / 2), "message": "\u{1f600} \"m\"", "unknown": [at, {"x": null}],
    })
}

fn is_text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

proptest! {
    /// For each push, and each place of the branch: every record goes once, what it names goes before or with it, no part but one
    /// of a single record is larger than it may be, and the branch only ever goes forward along its first parents, or stays until
    /// the end.
    #[test]
    fn parts_bring_everything_in_order(
        history in histories(), order in any::<prop::sample::Selector>(), sends in prop::collection::vec(any::<bool>(), 14),
        tip in any::<Index>(), now in proptest::option::of(any::<Index>()),
        expected in proptest::option::of(proptest::option::of(any::<Index>())), bytes in 1_usize..900,
        is_json in any::<bool>(),
    ) {
        let encoding = if is_json { Encoding::Json } else { Encoding::Msgpack };
        let tip = tip.index(history.len());
        let now = now.map(|now| now.index(history.len()));
        // Where the client says that the branch has to be, which may not be so; the hub refuses it then, or all is there.
        let mut expected = expected.map(|at| at.map(|at| name(at.index(history.len()))).unwrap_or_default());
        let is_expected = expected.is_some();
        // The client leaves out what it has seen at the hub, which is at least what it names without sending it.
        let left_out: BTreeSet<usize> = (0..history.len()).filter(|at| !sends[*at]).flat_map(|at| reaches(&history, at)).collect();
        let mut sent: Vec<usize> = (0..history.len()).filter(|at| !left_out.contains(at)).collect();
        let mut shuffled = Vec::new();
        while !sent.is_empty() {
            let chosen = order.select(0..sent.len());
            shuffled.push(sent.swap_remove(chosen));
        }
        let snapshots: BTreeSet<usize> = shuffled.iter().map(|at| at / 2).chain([90, 91]).collect();
        let snapshot = |at: &usize| json!({"snapshot_id": format!("s{at}"), "manifest": {"a": format!("o{at}")}, "other": 1.5});
        let body = json!({
            "branch": "main", "force": true, "more": {"a": [1, 2]},
            "expected_head": expected,
            "bundle": {
                "commits": shuffled.iter().map(|at| commit(&history, *at)).collect::<Vec<_>>(),
                "snapshots": snapshots.iter().map(snapshot).collect::<Vec<_>>(),
                "branch_heads": {"main": name(tip), "other": "x"}, "extra": "e",
            },
        });
        let heads: Heads = now.map(|now| ("main".to_owned(), id(&name(now)))).into_iter().collect();
        let parts = pushes(&body, encoding, bytes, &heads);

        let already = now.map_or_else(BTreeSet::new, |now| match shuffled.contains(&now) {
            true => reaches(&history, now),
            false => BTreeSet::new(),
        });
        let mut there: HashSet<String> = left_out.iter().chain(&already).map(|at| name(*at)).collect();
        let mut snapshots_there: HashSet<String> = already.iter().map(|at| format!("s{}", at / 2)).collect();
        let mut head = now.map(name);
        let mut all_commits = Vec::new();
        let mut all_snapshots = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let is_last = at + 1 == parts.len();
            let records = |list: &str| part["bundle"][list].as_array().unwrap().clone();
            let (commits, snapshots) = (records("commits"), records("snapshots"));
            let length = |record: &Value| encoding.encode(record).unwrap().len();
            let size: usize = commits.iter().chain(&snapshots).map(length).sum();
            // A commit goes with its snapshot.
            prop_assert!(size <= bytes || commits.len() <= 1 && snapshots.len() <= 1, "{size} of {bytes}");
            snapshots_there.extend(snapshots.iter().filter_map(|snapshot| is_text(&snapshot["snapshot_id"])));
            for commit in &commits {
                for parent in ["parent_commit_id", "parent2_commit_id"].iter().filter_map(|field| is_text(&commit[*field])) {
                    prop_assert!(there.contains(&parent), "{parent} comes after its child");
                }
                let snapshot = is_text(&commit["snapshot_id"]).unwrap();
                prop_assert!(snapshots_there.contains(&snapshot), "{snapshot} comes after its commit");
                there.insert(is_text(&commit["commit_id"]).unwrap());
            }
            all_commits.extend(commits);
            all_snapshots.extend(snapshots);

            let aim = is_text(&part["bundle"]["branch_heads"]["main"]);
            prop_assert_eq!(part["bundle"]["branch_heads"].as_object().map_or(0, serde_json::Map::len), usize::from(aim.is_some()));
            prop_assert_eq!(&part["force"], &if is_last { json!(true) } else { Value::Null });
            prop_assert_eq!((&part["more"], &part["bundle"]["extra"]), (&json!({"a": [1, 2]}), &json!("e")));
            prop_assert_eq!(is_text(&part["expected_head"]), expected.clone());
            prop_assert!(aim.is_some(), "the hub would put the branch where it likes");
            if is_last {
                prop_assert_eq!(aim.clone(), Some(name(tip)));
            } else if aim != head {
                let aim = aim.clone().unwrap();
                prop_assert!(there.contains(&aim) || !shuffled.contains(&tip), "the branch is put where nothing is");
                let at = (0..history.len()).find(|at| name(*at) == aim).unwrap();
                prop_assert!(reaches(&history, tip).contains(&at));
                if let Some(head) = &head {
                    prop_assert!(!is_expected || now.is_none(), "the next attempt would find it moved");
                    prop_assert!(reaches(&history, at).iter().any(|at| name(*at) == *head), "{head} to {aim} is not forward");
                }
            }
            if aim != head && is_expected {
                expected = aim.clone();
            }
            head = aim;
        }
        let by_id = |records: &[Value], field: &str| -> Vec<String> {
            let mut ids: Vec<String> = records.iter().map(|record| is_text(&record[field]).unwrap()).collect();
            ids.sort();
            ids
        };
        let mut wanted: Vec<String> = shuffled.iter().filter(|at| !already.contains(at)).map(|at| name(*at)).collect();
        wanted.sort();
        prop_assert_eq!(by_id(&all_commits, "commit_id"), wanted);
        let ids = by_id(&all_snapshots, "snapshot_id");
        prop_assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "a snapshot goes twice");
        for sent in &all_commits {
            let at = shuffled.iter().find(|at| name(**at) == sent["commit_id"].as_str().unwrap()).unwrap();
            prop_assert_eq!(sent, &commit(&history, *at), "a record is not as it was sent");
        }
        for lone in ["s90", "s91"] {
            prop_assert!(ids.contains(&lone.to_owned()));
        }
    }

    /// Without a claim the tip is the one that a hub would take, had it got everything at once.
    #[test]
    fn the_tip_is_the_hubs(history in histories(), branches in prop::collection::vec(any::<bool>(), 14)) {
        let commits: Vec<Value> = (0..history.len()).map(|at| {
            let mut commit = commit(&history, at);
            commit["branch"] = if branches[at] { "main" } else { "other" }.into();
            commit
        }).collect();
        let body = json!({"branch": "main", "bundle": {"commits": commits}});
        let bytes = Encoding::Json.encode(&body).unwrap();
        let bundle = common::push::validate(Encoding::Json.decode(&bytes).unwrap(), common::id::Ids::Lenient).unwrap();
        let of_hub = bundle.reach(&common::push::Known::default(), &Heads::new()).ends[0].tip.clone();
        let last = pushes(&body, Encoding::Json, 1, &Heads::new()).pop().unwrap();
        prop_assert_eq!(last["bundle"]["branch_heads"]["main"].as_str().map(id::<CommitId>), of_hub);
    }
}

#[test]
fn objects_go_first_and_as_they_were_written() {
    let object = |at: usize| json!({"object_id": format!("o{at}"), "content_b64": "AAAA", "more": at});
    let objects: Vec<Value> = (0..2_001).map(object).collect();
    let body = json!({"branch": "main", "bundle": {"objects": objects}});
    for encoding in [Encoding::Json, Encoding::Msgpack] {
        for (bytes, counts) in [(1 << 20, vec![1_000, 1_000, 1]), (1, vec![1; 2_001])] {
            let mut parts = read(&body, encoding, bytes);
            let plan = parts.plan(&Heads::new()).unwrap();
            let (last, before) = plan.split_last().unwrap();
            assert!(matches!(last, Part::Push { is_last: true, .. }));
            let bodies: Vec<Value> =
                before.iter().map(|part| encoding.decode(&parts.body(part).unwrap()).unwrap()).collect();
            let lists: Vec<&Vec<Value>> = bodies.iter().map(|body| body["objects"].as_array().unwrap()).collect();
            assert_eq!(lists.iter().map(|list| list.len()).collect::<Vec<_>>(), counts);
            assert_eq!(lists.into_iter().flatten().collect::<Vec<_>>(), objects.iter().collect::<Vec<_>>());
            let last: Value = encoding.decode(&parts.body(last).unwrap()).unwrap();
            assert_eq!(last, json!({"branch": "main", "bundle": {"commits": [], "snapshots": []}}));
        }
    }
}

/// A number that no decoder keeps passes as it was written, so that the hub refuses it as it does in a small push.
#[test]
fn what_a_decoder_would_change_passes_unchanged() {
    let text = "\u{feff}{\"branch\":\"main\",\"bundle\":{\"commits\":[{\"commit_id\" : \"c\",\"n\":123456789012345678901234567890}]}}";
    let mut parts = Parts::read(file(text.as_bytes()), Encoding::Json, 1).unwrap();
    let plan = parts.plan(&Heads::new()).unwrap();
    let body = String::from_utf8(parts.body(plan.last().unwrap()).unwrap()).unwrap();
    assert!(body.contains("[{\"commit_id\" : \"c\",\"n\":123456789012345678901234567890}]"), "{body}");
}

#[test]
fn what_is_no_push_is_refused_saying_why() {
    let refusal = |body: &[u8], encoding| match Parts::read(file(body), encoding, 1) {
        Err(PartsError::Malformed(reason)) => reason,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was taken"),
    };
    for (text, expected) in [
        ("", "EOF"),
        ("[]", "a map"),
        ("{\"bundle\":{}}", "branch"),
        ("{\"branch\":\"main\",\"bundle\":{\"commits\":{}}}", "a list"),
        ("{\"branch\":\"main\",\"bundle\":{\"commits\":[{}]}}", "commit_id"),
        ("{\"branch\":\"main\",\"bundle\":{\"commits\":[{\"commit_id\":\"/\"}]}}", "commit_id"),
        ("{\"branch\":\"main\",\"bundle\":{\"commits\":[],\"commits\":[]}}", "duplicate"),
        ("{\"branch\":1,\"bundle\":{}}", "branch"),
        ("{\"branch\":\"main\",\"bundle\":{}}{}", "trailing"),
    ] {
        let reason = refusal(text.as_bytes(), Encoding::Json);
        assert!(reason.contains(expected), "{text}: {reason}");
    }
    let mut twice = Encoding::Msgpack.encode(&json!({"branch": "main", "bundle": {}})).unwrap();
    twice.push(0xc0);
    assert!(refusal(&twice, Encoding::Msgpack).contains("follows the end"));
    twice.truncate(twice.len() - 3);
    refusal(&twice, Encoding::Msgpack);
}

#[test]
fn a_commit_that_is_its_own_ancestor_is_refused() {
    let body = json!({"branch": "main", "bundle": {"commits": [
        {"commit_id": "a", "parent_commit_id": "b"}, {"commit_id": "b", "parent_commit_id": "a"},
    ]}});
    let parts = read(&body, Encoding::Json, 1);
    assert!(matches!(parts.plan(&Heads::new()), Err(PartsError::Malformed(_))));
}

#[test]
fn whether_the_branch_is_where_it_has_to_be_is_asked_before_anything_is_sent() {
    let heads: Heads = [("main".to_owned(), id("b"))].into();
    for (expected, claimed, is_expected) in [
        (json!("b"), "c", true),
        (json!("a"), "c", false),
        (json!(""), "c", false),
        (json!("a"), "b", true),
        (Value::Null, "c", true),
    ] {
        let body = json!({
            "branch": "main", "force": true, "expected_head": expected,
            "bundle": {"commits": [{"commit_id": "c"}], "branch_heads": {"main": claimed}},
        });
        let mut parts = read(&body, Encoding::Json, 1);
        assert_eq!(parts.is_expected(&heads), is_expected, "{expected} {claimed}");
        let question: Value = Encoding::Json.decode(&parts.question().unwrap()).unwrap();
        assert_eq!(question["bundle"], json!({"commits": [], "snapshots": []}), "it moves nothing");
        assert_eq!(question.get("force"), None);
    }
}

#[test]
fn other_branches_move_with_the_last_part_and_the_own_one_not_before() {
    let commits: Vec<Value> = (1..5)
        .map(|at| json!({"commit_id": format!("c{at}"), "parent_commit_id": format!("c{}", at - 1), "snapshot_id": format!("s{at}")}))
        .collect();
    let updates = json!([{"branch": "other", "tip": "c2"}]);
    let body = |updates: &Value| json!({"branch": "main", "updates": updates, "bundle": {"commits": commits, "branch_heads": {"main": "c4"}}});
    let heads: Heads = [("main".to_owned(), id("c0"))].into();
    let parts = pushes(&body(&updates), Encoding::Json, 1, &heads);
    assert!(parts.len() > 1);
    for (at, part) in parts.iter().enumerate() {
        let is_last = at + 1 == parts.len();
        assert_eq!(part.get("updates"), is_last.then_some(&updates));
        assert_eq!(part["bundle"]["branch_heads"]["main"], if is_last { "c4" } else { "c0" });
    }
    let alone = pushes(&body(&json!([])), Encoding::Json, 1, &heads);
    assert_eq!(alone[0]["bundle"]["branch_heads"]["main"], "c1", "by itself it moves on its way");

    let twice = body(&json!([{"branch": "main", "tip": "c2"}]));
    let refused = Parts::read(file(twice.to_string().as_bytes()), Encoding::Json, 1).err().expect("it is there twice");
    assert!(refused.to_string().starts_with("updates: names 'main'"), "{refused}");

    let mut nameless = body(&updates);
    nameless.as_object_mut().unwrap().remove("branch");
    let refused = Parts::read(file(nameless.to_string().as_bytes()), Encoding::Json, 1)
        .err()
        .expect("it has to be named")
        .to_string();
    assert!(refused.starts_with("missing field `branch`: "), "{refused}");
}
