//! Muse histories, built deterministically from a seed, and what the contract says about them: which commits reach
//! which, and what a push or a fetch has to carry.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use crate::ids;

/// Standard base64, padding optional, as the contract has it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A working tree: the bytes of each file, by path.
pub type Tree = BTreeMap<String, Bytes>;

/// A commit as it travels: every field by its name, those that the contract doesn't know too.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit(pub Map<String, Value>);

impl Commit {
    /// `commit_id`
    pub fn id(&self) -> &str {
        self.text("commit_id")
    }

    /// A field that is a string, or "" where it is absent or null.
    pub fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The parents that are named, first one first.
    pub fn parents(&self) -> Vec<&str> {
        let parents = [self.text("parent_commit_id"), self.text("parent2_commit_id")];
        parents.into_iter().filter(|parent| !parent.is_empty()).collect()
    }

    /// `snapshot_id`, or none where it is absent or null.
    pub fn snapshot_id(&self) -> Option<&str> {
        self.0.get("snapshot_id").and_then(Value::as_str)
    }

    /// Gives a field another value and leaves the id as it was.
    pub fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.0.insert(field.to_owned(), value.into());
    }
}

/// A snapshot as it travels.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// `snapshot_id`
    pub id: String,
    /// Object id by path.
    pub manifest: BTreeMap<String, String>,
    /// `created_at`
    pub created_at: String,
}

/// An object as it travels.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// `object_id`
    pub id: String,
    /// The file's bytes.
    pub content: Bytes,
    /// `path`, where there is one.
    pub path: Option<String>,
}

impl Object {
    /// These bytes under their own id, with no path.
    pub fn new(content: impl Into<Bytes>) -> Object {
        let content = content.into();
        Object { id: ids::object_id(&content), content, path: None }
    }

    fn to_value(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("object_id".to_owned(), self.id.as_str().into());
        fields.insert("content_b64".to_owned(), BASE64.encode(&self.content).into());
        if let Some(path) = &self.path {
            fields.insert("path".to_owned(), path.as_str().into());
        }
        Value::Object(fields)
    }
}

/// The body of `/push/objects`.
pub fn objects_body(objects: &[Object]) -> Value {
    json!({"objects": objects.iter().map(Object::to_value).collect::<Vec<_>>()})
}

/// What a push sends and a fetch answers: commits, snapshots, objects, heads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pack {
    /// In the order they travel.
    pub commits: Vec<Commit>,
    /// In the order they travel.
    pub snapshots: Vec<Snapshot>,
    /// In the order they travel.
    pub objects: Vec<Object>,
    /// Commit id by branch name.
    pub branch_heads: BTreeMap<String, String>,
}

impl Pack {
    /// The bundle of a push.
    pub fn to_value(&self) -> Value {
        let snapshot = |snapshot: &Snapshot| json!({"snapshot_id": snapshot.id, "manifest": snapshot.manifest, "created_at": snapshot.created_at});
        json!({
            "commits": self.commits.iter().map(|commit| Value::Object(commit.0.clone())).collect::<Vec<_>>(),
            "snapshots": self.snapshots.iter().map(snapshot).collect::<Vec<_>>(),
            "objects": self.objects.iter().map(Object::to_value).collect::<Vec<_>>(),
            "branch_heads": self.branch_heads,
        })
    }

    /// A fetch's answer. Every list has to be there, and everything in it to be of its type.
    pub fn from_value(answer: &Value) -> Result<Pack, String> {
        let list = |field: &str| answer.get(field).and_then(Value::as_array).ok_or(format!("no list {field}"));
        let commit = |commit: &Value| match commit {
            Value::Object(fields) if fields.get("commit_id").is_some_and(Value::is_string) => {
                Ok(Commit(fields.clone()))
            }
            other => Err(format!("not a commit: {other}")),
        };
        let snapshot = |snapshot: &Value| {
            Ok::<_, String>(Snapshot {
                id: text(snapshot, "snapshot_id")?,
                manifest: map_of_text(snapshot, "manifest")?,
                created_at: snapshot.get("created_at").and_then(Value::as_str).unwrap_or_default().to_owned(),
            })
        };
        let object = |object: &Value| {
            let content =
                BASE64.decode(text(object, "content_b64")?).map_err(|error| format!("bad base64: {error}"))?;
            let path = object.get("path").and_then(Value::as_str).map(str::to_owned);
            Ok::<_, String>(Object { id: text(object, "object_id")?, content: content.into(), path })
        };
        Ok(Pack {
            commits: list("commits")?.iter().map(commit).collect::<Result<_, _>>()?,
            snapshots: list("snapshots")?.iter().map(snapshot).collect::<Result<_, _>>()?,
            objects: list("objects")?.iter().map(object).collect::<Result<_, _>>()?,
            branch_heads: map_of_text(answer, "branch_heads")?,
        })
    }

    /// The ids of its commits.
    pub fn commit_ids(&self) -> BTreeSet<String> {
        self.commits.iter().map(|commit| commit.id().to_owned()).collect()
    }

    /// The ids of its snapshots.
    pub fn snapshot_ids(&self) -> BTreeSet<String> {
        self.snapshots.iter().map(|snapshot| snapshot.id.clone()).collect()
    }

    /// The ids of its objects.
    pub fn object_ids(&self) -> BTreeSet<String> {
        self.objects.iter().map(|object| object.id.clone()).collect()
    }

    /// The same, sending no objects.
    pub fn without_objects(mut self) -> Pack {
        self.objects.clear();
        self
    }

    /// The same, saying that `branch` is to be at `commit`.
    pub fn with_head(mut self, branch: &str, commit: &str) -> Pack {
        self.branch_heads.insert(branch.to_owned(), commit.to_owned());
        self
    }
}

/// A map of strings that a body must have.
pub fn map_of_text(body: &Value, field: &str) -> Result<BTreeMap<String, String>, String> {
    let map = body.get(field).and_then(Value::as_object).ok_or(format!("no map {field}"))?;
    let entry = |(key, value): (&String, &Value)| match value.as_str() {
        Some(value) => Ok((key.clone(), value.to_owned())),
        None => Err(format!("{field} has {value} under {key}")),
    };
    map.iter().map(entry).collect()
}

/// A list of strings that a body must have.
pub fn list_of_text(body: &Value, field: &str) -> Result<Vec<String>, String> {
    let list = body.get(field).and_then(Value::as_array).ok_or(format!("no list {field}"))?;
    let item = |item: &Value| item.as_str().map(str::to_owned).ok_or(format!("{field} has {item}"));
    list.iter().map(item).collect()
}

fn text(body: &Value, field: &str) -> Result<String, String> {
    body.get(field).and_then(Value::as_str).map(str::to_owned).ok_or(format!("no string {field}"))
}

/// A repository as one side knows it. Commits are in topological order, parents first.
#[derive(Clone, Debug, Default)]
pub struct History {
    commits: Vec<Commit>,
    positions: HashMap<String, usize>,
    /// By id.
    pub snapshots: BTreeMap<String, Snapshot>,
    /// By id.
    pub objects: BTreeMap<String, Bytes>,
}

impl History {
    /// Parents first.
    pub fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// The ids of all commits, parents first.
    pub fn ids(&self) -> Vec<String> {
        self.commits.iter().map(|commit| commit.id().to_owned()).collect()
    }

    /// The commit that was added last.
    pub fn last(&self) -> &str {
        self.commits.last().expect("a history has commits").id()
    }

    /// Whether it has this commit.
    pub fn contains(&self, commit: &str) -> bool {
        self.positions.contains_key(commit)
    }

    /// A commit that it has.
    pub fn commit(&self, id: &str) -> &Commit {
        &self.commits[self.positions[id]]
    }

    /// The commits that are no other's parent.
    pub fn heads(&self) -> Vec<String> {
        let parents: BTreeSet<&str> = self.commits.iter().flat_map(Commit::parents).collect();
        self.ids().into_iter().filter(|id| !parents.contains(id.as_str())).collect()
    }

    /// Every commit that these reach, themselves included; ids that it doesn't know are passed over.
    pub fn reachable<I: AsRef<str>>(&self, tips: &[I]) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut waiting: Vec<&str> = tips.iter().map(AsRef::as_ref).collect();
        while let Some(id) = waiting.pop() {
            if self.contains(id) && reached.insert(id.to_owned()) {
                waiting.extend(self.commit(id).parents());
            }
        }
        reached
    }

    /// Whether `descendant` reaches `ancestor`; a commit reaches itself.
    pub fn is_ancestor(&self, ancestor: &str, descendant: &str) -> bool {
        self.reachable(&[descendant]).contains(ancestor)
    }

    /// What `want` reaches and `have` doesn't, parents first.
    pub fn between<W: AsRef<str>, H: AsRef<str>>(&self, want: &[W], have: &[H]) -> Vec<String> {
        let (wanted, had) = (self.reachable(want), self.reachable(have));
        self.ids().into_iter().filter(|id| wanted.contains(id) && !had.contains(id)).collect()
    }

    /// The ids of the objects in these commits' snapshots.
    pub fn objects_of<'a>(&self, commits: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
        self.snapshots_of(commits).iter().flat_map(|id| self.snapshots[id].manifest.values().cloned()).collect()
    }

    /// The ids of these commits' snapshots.
    pub fn snapshots_of<'a>(&self, commits: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
        commits.into_iter().filter_map(|id| self.commit(id).snapshot_id()).map(str::to_owned).collect()
    }

    /// These commits with their snapshots and with every object of those.
    pub fn pack<I: AsRef<str>>(&self, commits: &[I]) -> Pack {
        let commits: Vec<String> = commits.iter().map(|id| id.as_ref().to_owned()).collect();
        Pack {
            commits: commits.iter().map(|id| self.commit(id).clone()).collect(),
            snapshots: self.snapshots_of(&commits).iter().map(|id| self.snapshots[id].clone()).collect(),
            objects: self.objects_of(&commits).iter().map(|id| self.object(id)).collect(),
            branch_heads: BTreeMap::new(),
        }
    }

    /// Everything that `tip` reaches.
    pub fn pack_of(&self, tip: &str) -> Pack {
        self.pack(&self.between::<_, &str>(&[tip], &[]))
    }

    /// An object that it has.
    pub fn object(&self, id: &str) -> Object {
        Object { id: id.to_owned(), content: self.objects[id].clone(), path: None }
    }

    /// Takes in what a fetch answered. What is here already stays.
    pub fn absorb(&mut self, pack: &Pack) {
        for commit in &pack.commits {
            self.add(commit.clone());
        }
        for snapshot in &pack.snapshots {
            self.snapshots.entry(snapshot.id.clone()).or_insert_with(|| snapshot.clone());
        }
        for object in &pack.objects {
            self.objects.entry(object.id.clone()).or_insert_with(|| object.content.clone());
        }
    }

    fn add(&mut self, commit: Commit) {
        if !self.contains(commit.id()) {
            self.positions.insert(commit.id().to_owned(), self.commits.len());
            self.commits.push(commit);
        }
    }
}

/// Which of a commit's fields its id is a hash of, beside parents, snapshot and message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formula {
    /// What `muse commit` does.
    CommittedAt,
    /// What the raw plumbing command does.
    Author,
}

/// Makes a history, commit by commit. The same seed and the same calls make the same history.
pub struct Builder {
    history: History,
    trees: HashMap<String, Tree>,
    random: StdRng,
    prefix: &'static str,
}

impl Builder {
    /// An empty history.
    pub fn new(seed: u64) -> Builder {
        Builder { history: History::default(), trees: HashMap::new(), random: StdRng::seed_from_u64(seed), prefix: "" }
    }

    /// Writes object ids as `sha256:<hex>` from here on.
    pub fn with_prefixed_objects(mut self) -> Builder {
        self.prefix = "sha256:";
        self
    }

    /// What has been made so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What has been made.
    pub fn finish(self) -> History {
        self.history
    }

    /// Bytes that don't compress.
    pub fn bytes(&mut self, length: usize) -> Bytes {
        let mut bytes = vec![0; length];
        self.random.fill_bytes(&mut bytes);
        bytes.into()
    }

    /// `count` files of up to 200 bytes each.
    pub fn files(&mut self, count: usize) -> Tree {
        (0..count).map(|index| (format!("tracks/{:02}/take-{index:04}.mid", index % 16), self.small_file())).collect()
    }

    /// The files of a commit made here.
    pub fn tree(&self, commit: &str) -> Tree {
        self.trees[commit].clone()
    }

    /// Adds a snapshot and its objects, with no commit that names it.
    pub fn snapshot(&mut self, tree: &Tree) -> String {
        let mut manifest = BTreeMap::new();
        for (path, content) in tree {
            let object = format!("{}{}", self.prefix, ids::object_id(content));
            self.history.objects.insert(object.clone(), content.clone());
            manifest.insert(path.clone(), object);
        }
        let id = ids::snapshot_id(&manifest);
        let created_at = self.timestamp();
        self.history.snapshots.entry(id.clone()).or_insert(Snapshot { id: id.clone(), manifest, created_at });
        id
    }

    /// Adds an everyday commit.
    pub fn commit(&mut self, parents: &[&str], tree: &Tree) -> String {
        self.commit_with(parents, tree, Formula::CommittedAt, |_| ())
    }

    /// Adds a commit on top of `parent` that changes one file: for when only the graph matters.
    pub fn child(&mut self, parents: &[&str]) -> String {
        let mut tree = parents.first().map(|parent| self.tree(parent)).unwrap_or_default();
        tree.insert("song.mid".to_owned(), self.bytes(32));
        self.commit(parents, &tree)
    }

    /// Adds a commit whose fields `edit` changes before the id is computed from them.
    pub fn commit_with(
        &mut self,
        parents: &[&str],
        tree: &Tree,
        formula: Formula,
        edit: impl FnOnce(&mut Map<String, Value>),
    ) -> String {
        let number = self.history.commits.len();
        let snapshot = self.snapshot(tree);
        let Value::Object(mut fields) = json!({
            "repo_id": "8a0f3c1e-local",
            "branch": "main",
            "snapshot_id": snapshot,
            "message": format!("take {number}"),
            "committed_at": self.timestamp(),
            "parent_commit_id": parents.first(),
            "parent2_commit_id": parents.get(1),
            "author": format!("player {number}"),
            "metadata": {"tempo": "120", "key": "F# minor"},
            "structured_delta": {"domain": "music", "ops": [{"op": "insert", "address": "bar:1", "position": number}]},
            "sem_ver_bump": "minor",
            "breaking_changes": [],
            "agent_id": "", "model_id": "", "toolchain_id": "", "prompt_hash": "", "signature": "", "signer_key_id": "",
            "format_version": 5,
            "reviewed_by": [],
            "test_runs": 0,
        }) else {
            unreachable!("a JSON object")
        };
        edit(&mut fields);
        let mut commit = Commit(fields);
        let last = match formula {
            Formula::CommittedAt => commit.text("committed_at"),
            Formula::Author => commit.text("author"),
        };
        let id = ids::commit_id(&commit.parents(), commit.text("snapshot_id"), commit.text("message"), last);
        commit.set("commit_id", id.as_str());
        self.history.add(commit);
        self.trees.insert(id.clone(), tree.clone());
        id
    }

    /// A minute later with every commit, written in one of the ways that clients write it.
    fn timestamp(&mut self) -> String {
        let minute = i64::try_from(self.history.commits.len()).expect("few commits") * 60;
        let time = jiff::Timestamp::from_second(1_740_000_000 + minute).expect("a date in 2025").to_string();
        let plain = time.trim_end_matches('Z');
        match self.random.random_range(0..5) {
            0 => time,
            1 => format!("{plain}.{:06}+00:00", self.random.random_range(0..1_000_000)),
            2 => format!("{plain}.500000+05:30"),
            3 => format!("{plain}-08:00"),
            _ => format!("{plain}+00:00"),
        }
    }

    fn small_file(&mut self) -> Bytes {
        let length = self.random.random_range(1..200);
        self.bytes(length)
    }
}

/// `commits` in a row, each of `files` files of which it changes `changes`.
pub fn linear(seed: u64, commits: usize, files: usize, changes: usize) -> History {
    let mut builder = Builder::new(seed);
    let mut tree = builder.files(files);
    let paths: Vec<String> = tree.keys().cloned().collect();
    let mut parent: Option<String> = None;
    for _ in 0..commits {
        for _ in 0..changes.min(files) {
            let path = paths[builder.random.random_range(0..paths.len())].clone();
            let content = builder.small_file();
            tree.insert(path, content);
        }
        let parents: Vec<&str> = parent.as_deref().into_iter().collect();
        parent = Some(builder.commit(&parents, &tree));
    }
    builder.finish()
}

/// A random graph of `commits` with merges, several roots and several heads, over up to `files` files; the files and
/// the commits' fields are of every odd kind that is legal.
pub fn dag(seed: u64, commits: usize, files: usize) -> History {
    let mut builder = Builder::new(seed);
    for _ in 0..commits {
        let parents = random_parents(&mut builder);
        let mut tree = parents.first().map(|parent| builder.tree(parent)).unwrap_or_default();
        for _ in 0..builder.random.random_range(0..4) {
            change(&mut builder, &mut tree, files);
        }
        let formula = if builder.random.random_bool(0.2) { Formula::Author } else { Formula::CommittedAt };
        let odd = odd_fields(&mut builder.random, builder.history.commits.len());
        let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
        builder.commit_with(&parents, &tree, formula, |fields| fields.extend(odd));
    }
    builder.finish()
}

fn random_parents(builder: &mut Builder) -> Vec<String> {
    let ids = builder.history.ids();
    let roll = builder.random.random_range(0..100);
    if ids.is_empty() || roll < 4 {
        return Vec::new();
    }
    // Mostly near the newest, so that the graph grows long as well as wide.
    let near = |random: &mut StdRng| ids[ids.len() - 1 - random.random_range(0..ids.len().min(6))].clone();
    let first = near(&mut builder.random);
    let second = ids[builder.random.random_range(0..ids.len())].clone();
    if roll < 30 && first != second { vec![first, second] } else { vec![first] }
}

fn change(builder: &mut Builder, tree: &mut Tree, files: usize) {
    const PATHS: [&str; 8] = [
        "song.mid",
        "a b/c d.txt",
        "größe/ß.wav",
        "日本語/曲.mid",
        "🎵.flac",
        "e\u{301}.txt",
        "-",
        "deep/er/than/most/é",
    ];
    let existing: Vec<String> = tree.keys().cloned().collect();
    let random = &mut builder.random;
    let path = match random.random_range(0..files.max(1)) {
        index if index < PATHS.len() => PATHS[index].to_owned(),
        index => format!("tracks/take-{index}.mid"),
    };
    let pick = (!existing.is_empty()).then(|| existing[random.random_range(0..existing.len())].clone());
    match (random.random_range(0..10), pick) {
        (0, Some(gone)) => {
            tree.remove(&gone);
        }
        (1 | 2, Some(source)) => {
            let content = tree[&source].clone();
            tree.insert(path, content);
        }
        (3, _) => {
            tree.insert(path, Bytes::new());
        }
        (4, _) => {
            tree.insert(path, Bytes::from(vec![0; 5_000]));
        }
        (5, _) => {
            let content = builder.bytes(70_000);
            tree.insert(path, content);
        }
        _ => {
            let content = builder.small_file();
            tree.insert(path, content);
        }
    }
}

/// Fields to lay over an everyday commit's. Floats are such as every JSON reader reads exactly; how well a hub keeps
/// the others is a test of its own.
fn odd_fields(random: &mut StdRng, number: usize) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |field: &str, value: Value| fields.insert(field.to_owned(), value);
    set("author", format!("plumber {number}").into());
    match random.random_range(0..8) {
        0 => set("message", "".into()),
        1 => set("message", format!("zwölf \"Takte\"\n\tin \\ 🎼 \u{0}\u{7f}\u{2028} {number}").into()),
        2 => set("message", "x".repeat(20_000).into()),
        _ => None,
    };
    match random.random_range(0..4) {
        0 => set("metadata", json!({})),
        1 => set("metadata", json!({"": "", "Schlüssel": "🎹", "number": "1e400", "null": "null", "nul": "\u{0}"})),
        _ => None,
    };
    match random.random_range(0..10) {
        0 => set("structured_delta", Value::Null),
        1 => set("structured_delta", json!({})),
        2 => set("structured_delta", json!([])),
        3 => set("structured_delta", json!("only a word")),
        4 => set("structured_delta", json!(false)),
        5 => set("structured_delta", json!([i64::MIN, i64::MAX, u64::MAX, 0, -1, 0.5, -0.25, 1.0, 1e15])),
        6 => {
            set("structured_delta", (0..40).fold(json!({"": null}), |inner, depth| json!({depth.to_string(): [inner]})))
        }
        7 => set(
            "structured_delta",
            json!({"é": {"🎵": [[], {}, "", null, true]}, "content": "a word", "a.b": {"$ref": 1}}),
        ),
        _ => None,
    };
    match random.random_range(0..6) {
        0 => set("x_future_field", json!({"nested": [1, "two", null, 3.5]})),
        1 => set("labels", json!(["a", "b"])),
        2 => set("zürich", json!(-7)),
        _ => None,
    };
    match random.random_range(0..5) {
        0 => set("sem_ver_bump", "major".into()),
        1 => set("breaking_changes", json!(["removed bar 12", "🎵"])),
        2 => set("reviewed_by", json!(["ann", "bob"])),
        3 => set("test_runs", json!(random.random_range(0..1_000_000))),
        _ => None,
    };
    match random.random_range(0..4) {
        0 => set("branch", "feature/größe".into()),
        1 => set("signature", "ed25519:".repeat(20).into()),
        2 => set("agent_id", "agent-7".into()),
        _ => None,
    };
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_history_every_time() {
        let (first, second) = (dag(7, 60, 20), dag(7, 60, 20));
        assert_eq!(first.commits(), second.commits());
        assert_eq!(first.objects, second.objects);
        assert_ne!(first.ids(), dag(8, 60, 20).ids());
    }

    #[test]
    fn a_random_history_has_what_makes_histories_hard() {
        let history = dag(1, 300, 30);
        assert_eq!(history.commits().len(), 300, "no two commits have one id");
        let parents = |count| history.commits().iter().filter(|commit| commit.parents().len() == count).count();
        assert!(parents(0) > 1 && parents(2) > 20, "several roots, many merges");
        assert!(history.heads().len() > 3, "several heads");
        assert!(history.objects.values().any(Bytes::is_empty), "an empty file");
        assert!(history.objects.values().any(|content| content.len() > 65_536), "a big file");
        let doubled =
            |snapshot: &Snapshot| snapshot.manifest.values().collect::<BTreeSet<_>>().len() < snapshot.manifest.len();
        assert!(history.snapshots.values().any(doubled), "one content under two paths");
        assert!(history.snapshots.values().any(|snapshot| snapshot.manifest.is_empty()), "an empty snapshot");
    }

    #[test]
    fn commits_come_after_their_parents() {
        let history = dag(3, 100, 10);
        let ids = history.ids();
        for (position, commit) in history.commits().iter().enumerate() {
            for parent in commit.parents() {
                assert!(ids[..position].iter().any(|id| id == parent));
            }
        }
    }

    #[test]
    fn a_pack_survives_its_wire_form() {
        let history = dag(5, 20, 10);
        let pack = history.pack(&history.ids()).with_head("main", history.last());
        assert_eq!(Pack::from_value(&pack.to_value()), Ok(pack));
    }
}
