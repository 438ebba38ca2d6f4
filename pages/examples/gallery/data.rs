//! Every page, filled with two histories that the real client made, and with a made-up one that has many merges.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a mistake in the data has to be seen")]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use pages::frame::{At, Hub, Repo};
use pages::graph::open_lanes;
use pages::page::blob::{BlobPage, needs_bytes};
use pages::page::branches::{BranchLine, BranchesPage};
use pages::page::commit::CommitPage;
use pages::page::commits::CommitsPage;
use pages::page::compare::ComparePage;
use pages::page::error::ErrorPage;
use pages::page::home::HomePage;
use pages::page::log::{LogLine, LogPage};
use pages::page::login::LoginPage;
use pages::page::owner::OwnerPage;
use pages::page::releases::{ReleaseLine, ReleasesPage};
use pages::page::repo::{Readme, RepoPage, readme_of};
use pages::page::stats::{CloneCost, GrowthPoint, PackLine, StatsPage};
use pages::page::tags::{TagLine, TagsPage};
use pages::page::tree::TreePage;
use pages::parts::{CommitLine, Entry, EntryKind, FileChange, RepoLine, Side};
use pages::view::DiffView;
use serde_json::Value;

/// A file of the gallery: its name, and what is in it.
pub type File = (String, Vec<u8>);

/// What a README can hold, good and bad.
const README: &str = include_str!("readme.sample");

pub fn hub() -> Hub {
    Hub {
        name: "hub.example".to_owned(),
        url: "https://hub.example".to_owned(),
        viewer: Some("ada".to_owned()),
        form_token: Some("f00".to_owned()),
    }
}

fn time(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + minutes * 60).unwrap()
}

/// A history as a fetch answers it, in JSON.
pub struct History {
    pub commits: Vec<Value>,
    manifests: HashMap<String, BTreeMap<String, String>>,
    objects: HashMap<String, Vec<u8>>,
}

impl History {
    pub fn read(json: &str) -> Self {
        let value: Value = serde_json::from_str(json).unwrap();
        let list = |name: &str| value[name].as_array().unwrap().clone();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            commits: list("commits"),
            manifests: list("snapshots")
                .iter()
                .map(|s| (text(&s["snapshot_id"]), serde_json::from_value(s["manifest"].clone()).unwrap()))
                .collect(),
            objects: list("objects")
                .iter()
                .map(|o| (text(&o["object_id"]), BASE64_STANDARD.decode(text(&o["content_b64"])).unwrap()))
                .collect(),
        }
    }

    pub fn line(&self, commit: &Value) -> CommitLine {
        let text = |name: &str| commit[name].as_str().unwrap_or_default().to_owned();
        let is_head = self.commits.last() == Some(commit);
        CommitLine {
            id: text("commit_id"),
            parents: ["parent_commit_id", "parent2_commit_id"]
                .map(text)
                .into_iter()
                .filter(|p| !p.is_empty())
                .collect(),
            message: text("message"),
            author: text("author"),
            agent: text("agent_id"),
            model: text("model_id"),
            committed_at: text("committed_at").parse().ok(),
            bump: text("sem_ver_bump"),
            breaking: serde_json::from_value(commit["breaking_changes"].clone()).unwrap(),
            branches: if is_head { vec!["main".to_owned()] } else { Vec::new() },
            tags: if text("sem_ver_bump") == "major" { vec!["emotion:joyful".to_owned()] } else { Vec::new() },
            releases: if is_head { vec!["v1.0".to_owned()] } else { Vec::new() },
        }
    }

    fn manifest(&self, commit: &Value) -> &BTreeMap<String, String> {
        &self.manifests[commit["snapshot_id"].as_str().unwrap()]
    }

    fn bytes(&self, id: &str) -> Vec<u8> {
        self.objects.get(id).cloned().unwrap_or_default()
    }

    fn head(&self) -> &Value {
        self.commits.last().unwrap()
    }

    fn by_id(&self, id: &str) -> Option<&Value> {
        self.commits.iter().find(|commit| commit["commit_id"] == id)
    }

    fn entries(&self, folder: &str) -> Vec<Entry> {
        let mut folders = BTreeSet::new();
        let mut entries = Vec::new();
        for (path, id) in self.manifest(self.head()) {
            let Some(rest) = path.strip_prefix(folder) else { continue };
            match rest.split_once('/') {
                Some((name, _)) if folders.insert(name.to_owned()) => {
                    entries.push(Entry { name: name.to_owned(), kind: EntryKind::Folder });
                }
                Some(_) => {}
                None => {
                    let size = Some(self.bytes(id).len() as u64);
                    entries.push(Entry { name: rest.to_owned(), kind: EntryKind::File { size } });
                }
            }
        }
        entries
    }

    /// What differs between two commits, as a caller finds it. A file that has gone and come under another name has moved.
    pub fn changes(&self, before: Option<&Value>, after: &Value) -> Vec<FileChange> {
        let none = BTreeMap::new();
        let (before, after) = (before.map_or(&none, |before| self.manifest(before)), self.manifest(after));
        let side = |id: Option<&String>| id.map_or(Side::Absent, |id| Side::Loaded(self.bytes(id)));
        let mut moved = BTreeMap::new();
        for (path, id) in before.iter().filter(|(path, _)| !after.contains_key(*path)) {
            if let Some((to, _)) = after.iter().find(|(to, other)| *other == id && !before.contains_key(*to)) {
                moved.insert(to.clone(), path.clone());
            }
        }
        let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        paths
            .into_iter()
            .filter(|path| before.get(*path) != after.get(*path) && !moved.values().any(|from| from == *path))
            .map(|path| {
                let from = moved.get(path).cloned();
                let before = side(before.get(from.as_ref().unwrap_or(path)));
                FileChange { path: path.clone(), from, before, after: side(after.get(path)) }
            })
            .collect()
    }
}

pub fn code() -> History {
    History::read(include_str!("../../../tests/samples/nocturne-code.json"))
}

pub fn midi() -> History {
    History::read(include_str!("../../../tests/samples/nocturne-midi.json"))
}

fn repo(slug: &str, is_private: bool) -> Repo {
    Repo {
        owner: "ada".to_owned(),
        slug: slug.to_owned(),
        description: "A nocturne for two voices, and the program that plays it".to_owned(),
        is_private,
        default_branch: "main".to_owned(),
    }
}

fn at(name: &str) -> At {
    At {
        name: name.to_owned(),
        commit_id: Some(merges(1)[0].id.clone()),
        branches: ["main", "tempo", "feat/longer-scales"].map(str::to_owned).to_vec(),
        tags: ["v1.0", "emotion:joyful"].map(str::to_owned).to_vec(),
        has_more: true,
    }
}

fn repo_lines() -> Vec<RepoLine> {
    let line = |slug: &str, domain: &str, is_private, minutes: Option<i64>, description: &str| RepoLine {
        owner: "ada".to_owned(),
        slug: slug.to_owned(),
        description: description.to_owned(),
        is_private,
        domain: domain.to_owned(),
        pushed_at: minutes.map(time),
        size: minutes.map(|minutes| 40_000 * minutes.unsigned_abs()),
    };
    vec![
        line("nocturne-midi", "midi", false, Some(900), "A nocturne for two voices"),
        line("nocturne-code", "code", true, Some(400), "The program that plays it"),
        line(
            "a-name-that-is-as-long-as-names-of-repositories-may-be-and-has-no-place-to-break",
            "",
            false,
            Some(2),
            "",
        ),
        line("empty", "", false, None, "Made, and not pushed to yet"),
    ]
}

/// A history with many merges, made up, newest first.
pub fn merges(count: usize) -> Vec<CommitLine> {
    let mut seed = 7_usize;
    let mut draw = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let id = |n: usize| format!("{:016x}", (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4);
    let subjects =
        ["Voice the second chord", "Merge the bridge", "Slow down before the end", "Name the voices", "Fix a typo"];
    (0..count)
        .map(|n| {
            let mut parents = Vec::new();
            if n + 1 < count {
                parents.push(id((n + 1 + draw(3)).min(count - 1)));
            }
            if n + 6 < count && draw(3) == 0 {
                parents.push(id(n + 2 + draw(4)));
            }
            parents.dedup();
            let is_merge = parents.len() > 1;
            CommitLine {
                id: id(n),
                parents,
                message: if is_merge {
                    format!("Merge branch 'take-{n}' into main")
                } else {
                    subjects[draw(5)].to_owned()
                },
                author: ["ada", "grace", "clara"][draw(3)].to_owned(),
                agent: if draw(5) == 0 { "composer-7".to_owned() } else { String::new() },
                model: if draw(9) == 0 { "some-model".to_owned() } else { String::new() },
                committed_at: Some(time(-90 * i64::try_from(n).unwrap())),
                bump: ["none", "none", "patch", "minor", "major"][draw(5)].to_owned(),
                breaking: if draw(12) == 0 { vec!["Voice.transpose".to_owned()] } else { Vec::new() },
                branches: if n == 0 { vec!["main".to_owned()] } else { Vec::new() },
                tags: if n == 4 { vec!["v1.0-rc".to_owned()] } else { Vec::new() },
                releases: Vec::new(),
            }
        })
        .collect()
}

/// An image of 2 colours, as uncompressed as can be.
fn bitmap(blue: u8) -> Vec<u8> {
    let side = 48_u32;
    let mut bytes = b"BM".to_vec();
    bytes.extend((54 + side * side * 3).to_le_bytes());
    bytes.extend([0; 4]);
    for word in [54, 40, side, side, 0x0018_0001, 0, 0, 0, 0, 0, 0] {
        bytes.extend(word.to_le_bytes());
    }
    for n in 0..side * side {
        bytes.extend([blue, u8::try_from((n % side) * 5).unwrap(), u8::try_from((n / side) * 5).unwrap()]);
    }
    bytes
}

/// A file with what readers would not see.
pub const HOSTILE: &str = "if access != \"user\u{202e} \u{2066}// only admins\u{2069} \u{2066}\" {\r\n\t<script>alert(1)</script>\u{7}\u{1b}[31m\n}\n";

/// All pages.
pub fn pages() -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    let mut page = |name: &str, html: String| files.push((format!("{name}.html"), html.into_bytes()));

    let anonymous = Hub { viewer: None, ..hub() };
    page(
        "home",
        HomePage { hub: anonymous.clone(), repos: repo_lines(), is_first: true, next: Some("c+/=".into()) }.render(),
    );
    page("home-next", HomePage { hub: hub(), repos: Vec::new(), is_first: false, next: None }.render());
    page("owner", OwnerPage { hub: hub(), owner: "ada".into(), repos: repo_lines(), next: None }.render());
    page(
        "login",
        LoginPage {
            hub: anonymous.clone(),
            next: "/ada/nocturne-code".into(),
            failure: Some("This token has expired. Make a new one.".into()),
            token_command: "musehub token --table hub --user user-ada --ttl 30d".into(),
            issuer: None,
            single_sign_on: Some("/login/oidc".into()),
        }
        .render(),
    );
    page("login-first", LoginPage { hub: anonymous.clone(), ..LoginPage::default() }.render());
    page(
        "error-404",
        ErrorPage {
            hub: anonymous,
            repo: None,
            status: 404,
            code: "not_found".into(),
            sentence: "There is no repository ada/nocturn.".into(),
            advice: String::new(),
            next: Some("/ada/nocturn".into()),
        }
        .render(),
    );
    page(
        "error-503",
        ErrorPage { hub: hub(), repo: Some(repo("nocturne-code", true)), status: 503, ..ErrorPage::default() }.render(),
    );

    let empty = Repo { default_branch: String::new(), ..repo("empty", false) };
    page("repo-empty", RepoPage { hub: hub(), repo: empty.clone(), ..RepoPage::default() }.render());
    page("branches-empty", BranchesPage { hub: hub(), repo: empty.clone(), ..BranchesPage::default() }.render());
    page("stats-empty", StatsPage { hub: hub(), repo: empty, ..StatsPage::default() }.render());

    for (slug, history) in [("nocturne-code", code()), ("nocturne-midi", midi())] {
        let repo = repo(slug, slug == "nocturne-code");
        let lines: Vec<CommitLine> = history.commits.iter().rev().map(|commit| history.line(commit)).collect();
        let entries = history.entries("");
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let has_readme = readme_of(names).is_some();
        page(
            &format!("{slug}-repo"),
            RepoPage {
                hub: hub(),
                repo: repo.clone(),
                at: at("main"),
                head: lines.first().cloned(),
                entries,
                has_more_entries: false,
                readme: has_readme.then(|| Readme { path: "README.md".into(), bytes: README.as_bytes().to_vec() }),
                pushed_at: Some(time(900)),
                size: Some(48_213),
                commits: Some(lines.len() as u64),
                branches: 3,
                tags: Some(2),
            }
            .render(),
        );
        let folder = if slug == "nocturne-code" { "song" } else { "tracks" };
        page(
            &format!("{slug}-tree"),
            TreePage {
                hub: hub(),
                repo: repo.clone(),
                at: at("feat/longer-scales"),
                path: folder.into(),
                entries: history.entries(&format!("{folder}/")),
                has_more_entries: true,
                readme: None,
            }
            .render(),
        );
        for (path, id) in history.manifest(history.head()) {
            let bytes = history.bytes(id);
            page(
                &format!("{slug}-blob-{}", path.replace('/', "-")),
                BlobPage {
                    hub: hub(),
                    repo: repo.clone(),
                    at: at("main"),
                    path: path.clone(),
                    object_id: id.clone(),
                    size: Some(bytes.len() as u64),
                    bytes: needs_bytes(path, None).then_some(bytes),
                    is_plain: false,
                }
                .render(),
            );
        }
        page(
            &format!("{slug}-commits"),
            CommitsPage {
                hub: hub(),
                repo: repo.clone(),
                at: at("main"),
                commits: lines.clone(),
                open: Vec::new(),
                is_first: true,
                next: None,
            }
            .render(),
        );
        for (number, commit) in history.commits.iter().enumerate() {
            for view in [DiffView::Unified, DiffView::Split] {
                let parent = commit["parent_commit_id"].as_str().and_then(|id| history.by_id(id));
                let metadata = commit["metadata"].as_object().unwrap();
                page(
                    &format!("{slug}-commit-{number}-{}", view.as_str()),
                    CommitPage {
                        hub: hub(),
                        repo: repo.clone(),
                        commit: history.line(commit),
                        snapshot_id: commit["snapshot_id"].as_str().unwrap().to_owned(),
                        metadata: metadata
                            .iter()
                            .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
                            .collect(),
                        reviewed_by: vec!["grace".into()],
                        test_runs: 3,
                        signer_key_id: String::new(),
                        delta: commit["structured_delta"].clone(),
                        files: history.changes(parent, commit),
                        more_files: 0,
                        view,
                    }
                    .render(),
                );
            }
        }
        let base = &history.commits[1];
        page(
            &format!("{slug}-compare"),
            ComparePage {
                hub: hub(),
                repo: repo.clone(),
                base: base["commit_id"].as_str().unwrap().to_owned(),
                head: "main".into(),
                merge_base: base["commit_id"].as_str().map(str::to_owned),
                commits: lines.iter().take(lines.len() - 2).cloned().collect(),
                has_more_commits: false,
                files: history.changes(Some(base), history.head()),
                more_files: 12,
                view: DiffView::Unified,
            }
            .render(),
        );
        page(
            &format!("{slug}-branches"),
            BranchesPage {
                hub: hub(),
                repo: repo.clone(),
                branches: ["main", "tempo", "feat/longer-scales"]
                    .iter()
                    .zip(&lines)
                    .map(|(name, head)| BranchLine {
                        name: (*name).to_owned(),
                        head_id: head.id.clone(),
                        head: Some(head.clone()),
                        moved_at: Some(time(100)),
                        ahead_behind: (*name != "main").then_some((2, 1)),
                    })
                    .collect(),
                next: Some("x".into()),
            }
            .render(),
        );
        page(
            &format!("{slug}-tags"),
            TagsPage {
                hub: hub(),
                repo: repo.clone(),
                tags: lines
                    .iter()
                    .zip(["v1.0", "emotion:joyful", "section/verse"])
                    .map(|(line, label)| TagLine {
                        label: label.into(),
                        commit_id: line.id.clone(),
                        subject: line.message.clone(),
                        created_at: line.committed_at,
                    })
                    .collect(),
                next: None,
            }
            .render(),
        );
        page(
            &format!("{slug}-releases"),
            ReleasesPage {
                hub: hub(),
                repo: repo.clone(),
                releases: vec![
                    ReleaseLine {
                        tag: "v1.0".into(),
                        title: "The first performance".into(),
                        body: "Two voices, **one** scale. See the [renderer](song/render.py).\n\n- faster\n- louder"
                            .into(),
                        channel: "stable".into(),
                        commit_id: lines[0].id.clone(),
                        agent: "composer-7".into(),
                        changelog: vec!["Scales of any length".into()],
                        created_at: lines[0].committed_at,
                        ..ReleaseLine::default()
                    },
                    ReleaseLine {
                        tag: "v0.9".into(),
                        channel: "beta".into(),
                        is_draft: true,
                        commit_id: lines[1].id.clone(),
                        ..ReleaseLine::default()
                    },
                ],
                next: None,
            }
            .render(),
        );
        let log = |branch: &str, before: Option<usize>, after: usize, is_forced, is_deleted| LogLine {
            branch: branch.to_owned(),
            before: before.map(|before| lines[before].id.clone()),
            after: lines[after].id.clone(),
            is_forced,
            is_restored: false,
            is_deleted,
            is_there: branch != "old",
            by: "ada".into(),
            at: lines[after].committed_at,
        };
        page(
            &format!("{slug}-log"),
            LogPage {
                hub: hub(),
                repo: repo.clone(),
                lines: vec![
                    log("main", Some(1), 0, false, false),
                    log("tempo", Some(0), 2, true, false),
                    log("old", Some(2), 2, false, true),
                    log("old", None, 2, false, false),
                    log("main", None, 3, false, false),
                ],
                next: Some("x".into()),
            }
            .render(),
        );
        let growth = (0..40_i64).map(|n| GrowthPoint {
            at: time(n * n * 30),
            commits: u64::try_from(n * 3).unwrap(),
            bytes: u64::try_from(n * n * 900 + if n > 25 { 700_000 } else { 0 }).unwrap(),
        });
        page(
            &format!("{slug}-stats"),
            StatsPage {
                hub: hub(),
                repo: repo.clone(),
                commits: 10_412,
                snapshots: 10_409,
                objects: 31_007,
                raw_bytes: 212_000_000,
                stored_bytes: 48_000_000,
                packs: (0..if slug == "nocturne-code" { 9_u32 } else { 1 })
                    .map(|n| PackLine {
                        id: format!("01J{n}"),
                        bytes: 30_000_000 >> (2 * n),
                        records: 40_000 >> n,
                        merged: if n < 4 { 1 << (8 - n) } else { 0 },
                        is_condemned: n == 3,
                        written_at: Some(time(i64::from(n) * 4000)),
                    })
                    .collect(),
                pack_count: if slug == "nocturne-code" { 11 } else { 1 },
                large_objects: Some((2, 90_000_000)),
                garbage_bytes: Some(1200),
                growth: growth.collect(),
                clone: Some(CloneCost {
                    answer_bytes: 120_000_000,
                    client_limit: 64 << 20,
                    s3_gets: 41,
                    s3_bytes: 47_000_000,
                    seconds: 24.3,
                    dollars: match slug {
                        "nocturne-code" => [
                            ("Transfer to the internet, as far as it is not free", 0.0101),
                            ("Lambda", 0.000_34),
                            ("API Gateway", 0.000_007),
                            ("S3", 0.000_016),
                            ("DynamoDB", 0.000_001),
                        ],
                        _ => {
                            let none = ("", 0.0);
                            [("Requests, storage, time and traffic", 0.0101), none, none, none, none]
                        }
                    },
                }),
            }
            .render(),
        );
    }

    let made = merges(60);
    let (first, second) = made.split_at(30);
    for (name, commits, open) in [("merges-1", first, Vec::new()), ("merges-2", second, open_lanes(&[], first))] {
        page(
            name,
            CommitsPage {
                hub: hub(),
                repo: repo("merges", false),
                at: at("main"),
                commits: commits.to_vec(),
                open,
                is_first: name == "merges-1",
                next: (name == "merges-1").then(|| "x".into()),
            }
            .render(),
        );
    }

    let blob = |path: &str, bytes: Option<Vec<u8>>, size: u64| BlobPage {
        hub: hub(),
        repo: repo("samples", false),
        at: at("main"),
        path: path.to_owned(),
        object_id: "c996bda2ecbad8225ca4498da3eb7b4f7a0f341fbceb352c04be7a88b00d4c6d".into(),
        size: Some(size),
        bytes,
        is_plain: false,
    };
    page("blob-hostile", blob("src/access\u{202e}sj.rs", Some(HOSTILE.as_bytes().to_vec()), 120).render());
    page("blob-readme", blob("docs/README.md", Some(README.as_bytes().to_vec()), 900).render());
    page("blob-image", blob("cover.bmp", None, 7000).render());
    page("blob-audio", blob("take-1.ogg", None, 7_000_000).render());
    page("blob-bytes", blob("piece.zip", None, 7_000_000).render());
    page("blob-large", blob("score.txt", None, 7_000_000).render());
    page("blob-long", blob("src/long.rs", Some(include_bytes!("data.rs").to_vec()), 20_000).render());
    page("blob-midi", blob("piece.mid", Some(piece()), 2_000).render());
    page(
        "commit-mixed",
        CommitPage {
            hub: hub(),
            repo: repo("samples", false),
            commit: CommitLine {
                message: "Change everything at once\n\nThis is why:\n- <b>bold</b> and \u{202e}hidden\n- done".into(),
                bump: "major".into(),
                breaking: vec!["song/voices.py::Voice".into()],
                ..merges(3)[0].clone()
            },
            delta: serde_json::json!({"ops": 3}),
            files: vec![
                FileChange {
                    path: "cover.bmp".into(),
                    from: None,
                    before: Side::NotLoaded { size: Some(5) },
                    after: Side::NotLoaded { size: Some(9) },
                },
                FileChange {
                    path: "piece.zip".into(),
                    from: None,
                    before: Side::NotLoaded { size: Some(5) },
                    after: Side::NotLoaded { size: Some(9) },
                },
                FileChange {
                    path: "score.txt".into(),
                    from: None,
                    before: Side::Absent,
                    after: Side::NotLoaded { size: Some(9 << 20) },
                },
                FileChange {
                    path: "src/access.rs".into(),
                    from: Some("access.rs".into()),
                    before: Side::Loaded(HOSTILE.replace("user", "root").into_bytes()),
                    after: Side::Loaded(HOSTILE.as_bytes().to_vec()),
                },
            ],
            more_files: 1,
            ..CommitPage::default()
        }
        .render(),
    );

    let mixed = &merges(3)[0];
    for (slug, at, blue) in [
        ("samples", "main", 180),
        ("nocturne-code", "main", 180),
        ("samples", mixed.id.as_str(), 180),
        ("samples", mixed.parents[0].as_str(), 20),
    ] {
        files.push((format!("ada/{slug}/raw/{at}/cover.bmp"), bitmap(blue)));
    }
    for asset in pages::assets::assets() {
        files.push((asset.url().trim_start_matches('/').to_owned(), asset.bytes.to_vec()));
    }
    files
}

/// A made-up piece of three tracks: what a piano roll of more than a few notes looks like.
pub fn piece() -> Vec<u8> {
    let track = |name: &str, notes: &[(u32, u8, u8)]| {
        let mut events = vec![0, 0xff, 0x03, u8::try_from(name.len()).unwrap()];
        events.extend(name.bytes());
        for (length, key, velocity) in notes {
            events.extend([0, 0x90, *key, *velocity]);
            let ticks = length * 120;
            if ticks >= 128 {
                events.push(u8::try_from(0x80 | (ticks >> 7)).unwrap());
            }
            events.extend([u8::try_from(ticks & 0x7f).unwrap(), 0x80, *key, 0]);
        }
        events.extend([0, 0xff, 0x2f, 0]);
        let mut bytes = b"MTrk".to_vec();
        bytes.extend(u32::try_from(events.len()).unwrap().to_be_bytes());
        bytes.extend(events);
        bytes
    };
    let scale = [0, 2, 3, 5, 7, 8, 10, 12];
    let lead: Vec<_> = (0..64).map(|n: u8| (2, 60 + scale[usize::from(n % 8) * 5 % 8], 50 + n)).collect();
    let chords: Vec<_> = (0..16).map(|n: u8| (8, 48 + scale[usize::from(n % 7) * 3 % 7], 70)).collect();
    let bass: Vec<_> = (0..32).map(|n: u8| (4, 36 + scale[usize::from(n / 4 % 5)], 100)).collect();
    let mut bytes = b"MThd\0\0\0\x06\0\x01\0\x03\x01\xe0".to_vec();
    for (name, notes) in [("lead", lead), ("chords", chords), ("bass", bass)] {
        bytes.extend(track(name, &notes));
    }
    bytes
}
