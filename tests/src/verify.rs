//! Believing nothing that a hub sends.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::history::{Commit, History, Pack};
use crate::ids;

/// Checks a fetch's answer as a client that already has `local` would: every id is the hash of what it names, nothing
/// comes twice or without being asked for, parents come before children, and with `local` nothing is missing.
pub fn pack(pack: &Pack, local: &History) -> Result<(), String> {
    no_repeats("commit", pack.commits.iter().map(Commit::id))?;
    no_repeats("snapshot", pack.snapshots.iter().map(|snapshot| snapshot.id.as_str()))?;
    no_repeats("object", pack.objects.iter().map(|object| object.id.as_str()))?;
    objects(pack)?;
    snapshots(pack, local)?;
    commits(pack, local)
}

fn no_repeats<'a>(kind: &str, ids: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(format!("{kind} {id} was sent twice"));
        }
    }
    Ok(())
}

fn objects(pack: &Pack) -> Result<(), String> {
    let mut paths: BTreeSet<(&str, &str)> = BTreeSet::new();
    for snapshot in &pack.snapshots {
        paths.extend(snapshot.manifest.iter().map(|(path, object)| (object.as_str(), path.as_str())));
    }
    for object in &pack.objects {
        let expected = object.id.strip_prefix("sha256:").unwrap_or(&object.id);
        if ids::object_id(&object.content) != expected {
            return Err(format!("object {} does not hash to its id", object.id));
        }
        if paths.range((object.id.as_str(), "")..).next().is_none_or(|(id, _)| *id != object.id) {
            return Err(format!("object {} is in no manifest that was sent", object.id));
        }
        if let Some(path) = &object.path
            && !paths.contains(&(object.id.as_str(), path.as_str()))
        {
            return Err(format!("object {} is at {path} in no manifest that was sent", object.id));
        }
    }
    Ok(())
}

fn snapshots(pack: &Pack, local: &History) -> Result<(), String> {
    let sent = pack.object_ids();
    let named: BTreeSet<&str> = pack.commits.iter().filter_map(Commit::snapshot_id).collect();
    for snapshot in &pack.snapshots {
        if ids::snapshot_id(&snapshot.manifest) != snapshot.id {
            return Err(format!("snapshot {} does not hash to its id", snapshot.id));
        }
        if !named.contains(snapshot.id.as_str()) {
            return Err(format!("snapshot {} is of no commit that was sent", snapshot.id));
        }
        for (path, object) in &snapshot.manifest {
            if !sent.contains(object) && !local.objects.contains_key(object) {
                return Err(format!("snapshot {} has {path} as {object}, which is missing", snapshot.id));
            }
        }
    }
    Ok(())
}

fn commits(pack: &Pack, local: &History) -> Result<(), String> {
    let snapshots = pack.snapshot_ids();
    let mut before = BTreeSet::new();
    for commit in &pack.commits {
        commit_id(commit)?;
        for parent in commit.parents() {
            if !before.contains(parent) && !local.contains(parent) {
                return Err(format!("commit {} came before its parent {parent}", commit.id()));
            }
        }
        if let Some(snapshot) = commit.snapshot_id()
            && !snapshots.contains(snapshot)
            && !local.snapshots.contains_key(snapshot)
        {
            return Err(format!("commit {} names the snapshot {snapshot}, which is missing", commit.id()));
        }
        before.insert(commit.id());
    }
    Ok(())
}

/// Checks that a commit's id is what one of the contract's two formulas makes of its fields.
pub fn commit_id(commit: &Commit) -> Result<(), String> {
    let of =
        |last| ids::commit_id(&commit.parents(), commit.text("snapshot_id"), commit.text("message"), commit.text(last));
    if [of("committed_at"), of("author")].iter().any(|id| id == commit.id()) {
        return Ok(());
    }
    Err(format!("commit {} does not hash to its id", commit.id()))
}

/// Checks that a commit came back as it was pushed, field by field: with the contract's default where a field was
/// absent, with `pusher` and a recent time where `author` and `committed_at` were left empty.
pub fn same_commit(pushed: &Commit, fetched: &Commit, pusher: &str) -> Result<(), String> {
    let of = |field: &str| format!("{field} of {}", pushed.id());
    for (field, sent) in &pushed.0 {
        let got = fetched.0.get(field).ok_or_else(|| format!("{} is gone", of(field)))?;
        let filled_in = matches!(field.as_str(), "author" | "committed_at") && (sent.is_null() || sent == "");
        if !filled_in && got != sent {
            return Err(format!("{} was {sent} and came back as {got}", of(field)));
        }
    }
    for (field, default) in defaults() {
        let got = fetched.0.get(field).ok_or_else(|| format!("{} is absent", of(field)))?;
        let as_absent = got == &default || (default == "" && got.is_null());
        if !pushed.0.contains_key(field) && !as_absent {
            return Err(format!("{} was absent and came back as {got}", of(field)));
        }
    }
    if pushed.text("author").is_empty() && fetched.text("author") != pusher {
        return Err(format!("{} was not filled in: {}", of("author"), fetched.0["author"]));
    }
    if pushed.text("committed_at").is_empty() {
        just_now(fetched.text("committed_at")).map_err(|problem| format!("{}: {problem}", of("committed_at")))?;
    }
    let known = |field: &str| {
        ["repo_id", "branch", "author", "committed_at"].contains(&field) || defaults().contains_key(field)
    };
    match fetched.0.iter().find(|(field, _)| !pushed.0.contains_key(*field) && !known(field)) {
        Some((field, made_up)) => Err(format!("{} is {made_up} out of nowhere", of(field))),
        None => Ok(()),
    }
}

/// What a field is when no client gave it. `""` stands for an empty string or null: the contract doesn't say which.
fn defaults() -> BTreeMap<&'static str, Value> {
    let empty = ["message", "agent_id", "model_id", "toolchain_id", "prompt_hash", "signature", "signer_key_id"];
    let mut defaults: BTreeMap<&str, Value> = empty.into_iter().map(|field| (field, json!(""))).collect();
    defaults.extend([
        ("snapshot_id", Value::Null),
        ("parent_commit_id", Value::Null),
        ("parent2_commit_id", Value::Null),
        ("metadata", json!({})),
        ("structured_delta", Value::Null),
        ("sem_ver_bump", json!("none")),
        ("breaking_changes", json!([])),
        ("format_version", json!(1)),
        ("reviewed_by", json!([])),
        ("test_runs", json!(0)),
    ]);
    defaults
}

/// Checks that a text is a time with an offset, of these minutes.
pub fn just_now(text: &str) -> Result<(), String> {
    let time: jiff::Timestamp = text.parse().map_err(|error| format!("not a time with an offset: {error}"))?;
    let apart = (jiff::Timestamp::now().as_second() - time.as_second()).abs();
    if apart < 600 { Ok(()) } else { Err(format!("{text} is {apart} seconds from now")) }
}

/// Checks that what was fetched is all of `expected`, and nothing else.
pub fn same_history(expected: &History, fetched: &Pack, pusher: &str) -> Result<(), String> {
    let by_id: BTreeMap<&str, &Commit> = fetched.commits.iter().map(|commit| (commit.id(), commit)).collect();
    for commit in expected.commits() {
        let got = by_id.get(commit.id()).ok_or_else(|| format!("commit {} is missing", commit.id()))?;
        same_commit(commit, got, pusher)?;
    }
    if fetched.commits.len() != expected.commits().len() {
        return Err(format!("{} commits for {}", fetched.commits.len(), expected.commits().len()));
    }
    let ids = expected.ids();
    let objects: BTreeMap<&str, &[u8]> =
        fetched.objects.iter().map(|object| (object.id.as_str(), &object.content[..])).collect();
    let wanted = expected.objects_of(&ids);
    if let Some(id) = wanted.iter().find(|id| objects.get(id.as_str()) != Some(&&expected.objects[*id][..])) {
        return Err(format!("object {id} is missing or not what was pushed"));
    }
    let wanted = expected.snapshots_of(&ids);
    for snapshot in &fetched.snapshots {
        if wanted.contains(&snapshot.id) && expected.snapshots[&snapshot.id] != *snapshot {
            return Err(format!(
                "snapshot {} was {:?} and came back as {snapshot:?}",
                snapshot.id, expected.snapshots[&snapshot.id]
            ));
        }
    }
    if fetched.snapshot_ids() != wanted {
        return Err(format!("{} snapshots for {}", fetched.snapshots.len(), wanted.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{self, Builder, Formula, Object};

    /// A whole history as a hub would send it, passed through `damage`, as a client with nothing sees it.
    fn verified(damage: impl FnOnce(&mut Pack)) -> Result<(), String> {
        let history = history::dag(11, 30, 10);
        let mut whole = history.pack(&history.ids());
        damage(&mut whole);
        super::pack(&whole, &History::default()).and_then(|()| same_history(&history, &whole, "dev"))
    }

    #[test]
    fn a_whole_history_passes() {
        assert_eq!(verified(|_| ()), Ok(()));
    }

    #[test]
    fn every_kind_of_damage_is_seen() {
        type Damage = fn(&mut Pack);
        let damages: [(&str, Damage); 14] = [
            ("a flipped bit", |pack| pack.objects[0].content = vec![1, 2, 3].into()),
            ("an object gone", |pack| drop(pack.objects.remove(0))),
            ("an object too many", |pack| pack.objects.push(Object::new("unasked for"))),
            ("an object twice", |pack| pack.objects.push(pack.objects[0].clone())),
            ("a wrong path", |pack| pack.objects[0].path = Some("no/such/path".to_owned())),
            ("another manifest", |pack| {
                drop(pack.snapshots.iter_mut().find(|s| s.manifest.len() > 1).unwrap().manifest.pop_first())
            }),
            ("another created_at", |pack| pack.snapshots[0].created_at.push('0')),
            ("a snapshot gone", |pack| drop(pack.snapshots.remove(0))),
            ("a commit gone", |pack| drop(pack.commits.pop())),
            ("a commit twice", |pack| pack.commits.push(pack.commits[0].clone())),
            ("children first", |pack| pack.commits.reverse()),
            ("a field changed", |pack| pack.commits[3].set("test_runs", -1)),
            ("a field gone", |pack| drop(pack.commits[3].0.remove("author"))),
            ("a field made up", |pack| pack.commits[3].set("verified", true)),
        ];
        for (name, damage) in damages {
            assert!(verified(damage).is_err(), "{name} went unseen");
        }
    }

    #[test]
    fn a_commit_of_either_formula_passes_and_a_retold_one_does_not() {
        let mut builder = Builder::new(1);
        for formula in [Formula::CommittedAt, Formula::Author] {
            let files = builder.files(1);
            let id = builder.commit_with(&[], &files, formula, |_| ());
            let mut commit = builder.history().commit(&id).clone();
            assert_eq!(commit_id(&commit), Ok(()));
            commit.set("message", "another story");
            assert!(commit_id(&commit).is_err());
        }
    }

    #[test]
    fn absent_fields_have_to_come_back_as_their_defaults() {
        let pushed = Commit(json!({"commit_id": "c", "author": "", "committed_at": ""}).as_object().unwrap().clone());
        let mut fetched = pushed.clone();
        assert!(same_commit(&pushed, &fetched, "dev").is_err());
        fetched.0.extend(defaults().into_iter().map(|(field, value)| (field.to_owned(), value)));
        fetched.set("author", "dev");
        fetched.set("committed_at", jiff::Timestamp::now().to_string());
        assert_eq!(same_commit(&pushed, &fetched, "dev"), Ok(()));
        for (field, wrong) in
            [("author", json!("")), ("committed_at", json!("2001-01-01T00:00:00Z")), ("format_version", json!(0))]
        {
            let mut fetched = fetched.clone();
            fetched.set(field, wrong);
            assert!(same_commit(&pushed, &fetched, "dev").is_err(), "{field}");
        }
    }
}
