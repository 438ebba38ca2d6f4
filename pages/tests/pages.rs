//! What holds for every page, whatever users pushed: no markup but the crate's own, no link elsewhere, nothing hidden.

#[path = "../examples/gallery/data.rs"]
mod data;

use std::collections::HashSet;

use pages::frame::{At, Hub, Repo};
use pages::page::blob::BlobPage;
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
use pages::page::repo::{Readme, RepoPage};
use pages::page::stats::{GrowthPoint, PackLine, StatsPage};
use pages::page::tags::{TagLine, TagsPage};
use pages::page::tree::TreePage;
use pages::parts::{CommitLine, Entry, EntryKind, FileChange, RepoLine, Side};
use pages::text::is_hidden;
use pages::view::DiffView;
use proptest::prelude::*;
use scraper::{Html, Selector};

/// Elements that templates and modules write.
const ELEMENTS: &str = "html head meta title link script body a header div svg rect form input button main footer p nav \
    span h1 h2 h3 h4 h5 h6 ul ol li b section pre details summary table caption thead tbody tr th td path aside dl dt dd code time \
    article figure figcaption audio img em i small line circle text label del strong br hr blockquote";

/// Attributes that they have. None of them is an event or a style.
const ATTRIBUTES: &str = "lang charset name content rel href src defer class id aria-hidden aria-label aria-labelledby \
    aria-current aria-describedby width height viewBox x y rx d method action type value title tabindex role data-copy data-play \
    data-marks hidden open datetime download alt controls preload x1 x2 y1 y2 cx cy r colspan preserveAspectRatio \
    fill-opacity autocomplete autocapitalize spellcheck required for start";

/// Checks a page, and says what is wrong with it.
fn fault(html: &str) -> Option<String> {
    let elements: HashSet<&str> = ELEMENTS.split_whitespace().collect();
    let attributes: HashSet<&str> = ATTRIBUTES.split_whitespace().collect();
    let page = Html::parse_document(html);
    let mut ids = HashSet::new();
    for node in page.tree.root().descendants() {
        let Some(element) = node.value().as_element() else { continue };
        if !elements.contains(element.name()) {
            return Some(format!("the element {}", element.name()));
        }
        for (name, value) in element.attrs() {
            let is_elsewhere = |value: &str| !value.starts_with(['/', '#']) || value.starts_with("//");
            let is_allowed_elsewhere = value == "https://github.com/cgcardona/muse"
                || ["http://", "https://", "mailto:"].iter().any(|start| value.starts_with(start)) && has_rel(element);
            let fault = match name {
                name if !attributes.contains(name) => true,
                "href" => is_elsewhere(value) && !is_allowed_elsewhere,
                "src" | "action" => is_elsewhere(value),
                "id" => !ids.insert(value.to_owned()),
                _ => false,
            };
            if fault {
                return Some(format!("{name}={value:?} of {}", element.name()));
            }
        }
        let is_data = element.attr("type") == Some("application/json");
        if element.name() == "script" && !is_data && element.attr("src").is_none() {
            return Some("an inline script".to_owned());
        }
    }
    let headings = Selector::parse("h1").map_or(0, |h1| page.select(&h1).count());
    if headings != 1 {
        return Some(format!("{headings} h1"));
    }
    let hidden = html.chars().find(|c| is_hidden(*c));
    hidden.map(|c| format!("a hidden {c:?}"))
}

/// Links that Markdown leads elsewhere with are marked as such.
fn has_rel(element: &scraper::node::Element) -> bool {
    element.attr("rel").is_some_and(|rel| rel.contains("nofollow") && rel.contains("noopener"))
}

/// Every page, with a text in the place of every text.
fn pages_of(text: &str, bytes: &[u8], json: &serde_json::Value) -> Vec<(&'static str, String)> {
    let t = || text.to_owned();
    let some = || Some(text.to_owned());
    let hub = Hub { name: t(), url: t(), viewer: some(), form_token: some() };
    let repo = Repo { owner: t(), slug: t(), description: t(), is_private: true, default_branch: t() };
    let at = At { name: t(), commit_id: some(), branches: vec![t()], tags: vec![t()], has_more: true };
    let commit = CommitLine {
        id: t(),
        parents: vec![t(), t()],
        message: t(),
        author: t(),
        agent: t(),
        model: t(),
        committed_at: None,
        bump: t(),
        breaking: vec![t()],
        branches: vec![t()],
        tags: vec![t()],
        releases: vec![t()],
    };
    let line = RepoLine { owner: t(), slug: t(), description: t(), domain: t(), ..RepoLine::default() };
    let entries = vec![
        Entry { name: t(), kind: EntryKind::Folder },
        Entry { name: t(), kind: EntryKind::File { size: Some(u64::MAX) } },
    ];
    let files: Vec<FileChange> = ["a.rs", "b.mid", "c.png", text]
        .iter()
        .map(|path| FileChange {
            path: (*path).to_owned(),
            from: some(),
            before: Side::Loaded(bytes.to_vec()),
            after: Side::Loaded(text.as_bytes().to_vec()),
        })
        .collect();
    let readme = |path: &str| Some(Readme { path: path.to_owned(), bytes: bytes.to_vec() });
    let blob = |path: &str, is_plain| BlobPage {
        hub: hub.clone(),
        repo: repo.clone(),
        at: at.clone(),
        path: path.to_owned(),
        object_id: t(),
        size: Some(u64::MAX),
        bytes: Some(bytes.to_vec()),
        is_plain,
    };
    let (h, r, a) = (|| hub.clone(), || repo.clone(), || at.clone());
    vec![
        ("home", HomePage { hub: h(), repos: vec![line.clone()], is_first: true, next: some() }.render()),
        ("owner", OwnerPage { hub: h(), owner: t(), repos: vec![line], next: some() }.render()),
        (
            "repo",
            RepoPage {
                hub: h(),
                repo: r(),
                at: a(),
                head: Some(commit.clone()),
                entries: entries.clone(),
                has_more_entries: true,
                readme: readme("README.md"),
                ..RepoPage::default()
            }
            .render(),
        ),
        ("empty", RepoPage { hub: h(), repo: r(), ..RepoPage::default() }.render()),
        (
            "tree",
            TreePage { hub: h(), repo: r(), at: a(), path: t(), entries, has_more_entries: true, readme: readme(text) }
                .render(),
        ),
        ("blob", blob(text, false).render()),
        ("blob of code", blob("a/b.rs", true).render()),
        ("blob of Markdown", blob("a/b.md", false).render()),
        ("blob of MIDI", blob("a/b.mid", false).render()),
        ("image", blob(&format!("{text}.png"), false).render()),
        ("audio", blob(&format!("{text}.mp3"), false).render()),
        (
            "commits",
            CommitsPage {
                hub: h(),
                repo: r(),
                at: a(),
                commits: vec![commit.clone()],
                open: vec![t()],
                is_first: false,
                next: some(),
            }
            .render(),
        ),
        (
            "commit",
            CommitPage {
                hub: h(),
                repo: r(),
                commit: commit.clone(),
                snapshot_id: t(),
                metadata: vec![(t(), t())],
                reviewed_by: vec![t()],
                test_runs: u64::MAX,
                signer_key_id: t(),
                delta: json.clone(),
                files: files.clone(),
                more_files: u64::MAX,
                view: DiffView::Split,
            }
            .render(),
        ),
        (
            "compare",
            ComparePage {
                hub: h(),
                repo: r(),
                base: t(),
                head: t(),
                merge_base: some(),
                commits: vec![commit.clone()],
                has_more_commits: true,
                files,
                more_files: 1,
                view: DiffView::Unified,
            }
            .render(),
        ),
        (
            "branches",
            BranchesPage {
                hub: h(),
                repo: r(),
                branches: vec![BranchLine { name: t(), head_id: t(), head: Some(commit), ..BranchLine::default() }],
                next: some(),
            }
            .render(),
        ),
        (
            "tags",
            TagsPage {
                hub: h(),
                repo: r(),
                tags: vec![TagLine { label: t(), commit_id: t(), subject: t(), created_at: None }],
                next: some(),
            }
            .render(),
        ),
        (
            "releases",
            ReleasesPage {
                hub: h(),
                repo: r(),
                releases: vec![ReleaseLine {
                    tag: t(),
                    title: t(),
                    body: t(),
                    channel: t(),
                    is_draft: true,
                    commit_id: t(),
                    agent: t(),
                    changelog: vec![t()],
                    created_at: None,
                }],
                next: some(),
            }
            .render(),
        ),
        (
            "log",
            LogPage {
                hub: h(),
                repo: r(),
                lines: vec![LogLine {
                    branch: t(),
                    before: some(),
                    after: t(),
                    by: t(),
                    is_there: true,
                    ..LogLine::default()
                }],
                next: some(),
            }
            .render(),
        ),
        (
            "stats",
            StatsPage {
                hub: h(),
                repo: r(),
                packs: vec![PackLine { id: t(), bytes: u64::MAX, ..PackLine::default() }],
                growth: vec![
                    GrowthPoint { at: jiff::Timestamp::MIN, commits: 0, bytes: u64::MAX },
                    GrowthPoint { at: jiff::Timestamp::MAX, commits: u64::MAX, bytes: 0 },
                ],
                ..StatsPage::default()
            }
            .render(),
        ),
        (
            "login",
            LoginPage {
                hub: h(),
                next: t(),
                failure: some(),
                token_command: t(),
                issuer: some(),
                single_sign_on: some(),
            }
            .render(),
        ),
        (
            "error",
            ErrorPage { hub: h(), repo: Some(r()), status: 404, code: t(), sentence: t(), advice: t(), next: some() }
                .render(),
        ),
    ]
}

fn check(text: &str, bytes: &[u8], json: &serde_json::Value) -> Result<(), TestCaseError> {
    for (name, html) in pages_of(text, bytes, json) {
        prop_assert_eq!(fault(&html), None, "{}", name);
        // What every page has of its own, and what text, bytes and JSON become in it.
        let most = 20_000 + 600 * (text.len() + 1) + 200 * bytes.len() + 200 * json.to_string().len();
        prop_assert!(html.len() <= most, "{} has {} bytes of {}", name, html.len(), most);
    }
    Ok(())
}

#[test]
fn every_page_of_the_gallery_is_sound() {
    for (name, bytes) in data::pages().into_iter().filter(|(name, _)| name.ends_with(".html")) {
        let html = String::from_utf8(bytes).unwrap();
        assert_eq!(fault(&html), None, "{name}");
    }
}

#[test]
fn hostile_names_and_texts_are_text() {
    for text in [
        "\"><script>alert(1)</script>",
        "' onmouseover='alert(1)",
        "</title></head><body onload=alert(1)>",
        "javascript:alert(1)",
        "//elsewhere.example",
        "\u{202e}gnp.exe\u{0}",
        "..",
        "a/../../b",
        "</script><script>",
    ] {
        let json = serde_json::json!({"summary": text, "domain": text, "ops": [{"address": text, "from_address": text,
            "child_ops": [{"op": text, "address": text, "content_summary": text}]}]});
        check(text, text.as_bytes(), &json).unwrap();
    }
}

#[test]
fn a_page_shows_what_the_client_said_of_its_changes() {
    let pages = data::pages();
    let page = |name: &str| {
        let (_, bytes) = pages.iter().find(|(found, _)| found == name).unwrap();
        Html::parse_document(std::str::from_utf8(bytes).unwrap()).root_element().text().collect::<String>()
    };
    let code = page("nocturne-code-commit-1-unified.html");
    assert!(code.contains("2 symbols added") && code.contains("function render L4–5"), "{code}");
    let moved = page("nocturne-code-commit-5-unified.html");
    assert!(moved.contains("from tests/test_voices.py"), "{moved}");
    let notes = page("nocturne-midi-commit-2-unified.html");
    assert!(notes.contains("1 breaking change") && notes.contains("beat 1.00, 0.50 long, velocity 80"), "{notes}");
    assert!(notes.contains("1 note added") && notes.contains("1 note removed"), "{notes}");
}

/// How many elements of a page of the gallery a selector finds.
#[allow(clippy::unwrap_used, reason = "a page that is not there has to be seen")]
fn count(name: &str, selector: &str) -> usize {
    let (_, bytes) = data::pages().into_iter().find(|(found, _)| found == name).unwrap();
    Html::parse_document(std::str::from_utf8(&bytes).unwrap()).select(&Selector::parse(selector).unwrap()).count()
}

#[test]
fn a_bar_is_drawn_only_where_there_is_another_to_compare_it_with() {
    let many = "nocturne-code-stats.html";
    assert_eq!((count(many, ".hbar"), count(many, "th.wide"), count(many, "tbody th")), (14, 2, 1));
    let one = "nocturne-midi-stats.html";
    assert_eq!((count(one, ".hbar"), count(one, "th.wide"), count(one, "tbody th")), (0, 0, 0));
}

#[test]
fn a_table_that_is_too_wide_can_be_scrolled_with_keys() {
    assert_eq!(count("nocturne-code-stats.html", ".scroll[tabindex='0'][role=region][aria-label] > table"), 2);
}

#[test]
fn links_come_back_as_they_went() {
    for (base, head) in [("a", "b"), ("v1.0", "v2.0"), ("a...b", "..c"), ("feat/x.", ".y"), ("ä ö", "%2E")] {
        let url = pages::urls::compare(&Repo::default(), base, head, DiffView::Unified);
        let (_, segment) = url.rsplit_once('/').unwrap();
        assert_eq!(pages::urls::parse_compare(segment), Some((base.to_owned(), head.to_owned())));
    }
}

#[test]
fn a_login_leads_back_to_the_hub_only() {
    assert_eq!(pages::urls::local("/ada/song?x=1"), "/ada/song?x=1");
    for next in ["", "https://elsewhere.example", "//elsewhere.example", "/\\elsewhere.example", "/\t/elsewhere", "x"] {
        assert_eq!(pages::urls::local(next), "/");
    }
}

#[test]
fn a_login_leads_back_to_the_page_that_was_refused() {
    let logins = |next: &str| {
        let page = ErrorPage { status: 404, next: Some(next.to_owned()), ..ErrorPage::default() };
        let (html, links) = (Html::parse_document(&page.render()), Selector::parse("a[href^='/login']").unwrap());
        html.select(&links).map(|link| link.attr("href").unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(logins("/ada/song/log?after=x&y"), ["/login?next=%2Fada%2Fsong%2Flog%3Fafter%3Dx%26y"; 2]);
    assert_eq!(logins("//elsewhere.example"), ["/login"; 2]);
}

#[test]
fn a_log_links_branches_that_are_there() {
    let links = |branch: &str| count("nocturne-code-log.html", &format!("main a[href$='/commits/{branch}']"));
    assert_eq!((links("main"), links("tempo"), links("old")), (2, 1, 0));
}

#[test]
fn a_repository_without_commits_links_to_none() {
    for name in ["repo-empty.html", "branches-empty.html", "stats-empty.html"] {
        assert_eq!(count(name, "nav a"), 6, "{name}");
        assert_eq!(count(name, "a[href*='/commits/'], a[href*='/tree/'], a[href*='/commit/']"), 0, "{name}");
    }
}

#[test]
fn a_clone_of_a_private_repository_sends_a_token() {
    let commands = |name: &str| {
        let (_, bytes) = data::pages().into_iter().find(|(found, _)| found == name).unwrap();
        let html = Html::parse_document(std::str::from_utf8(&bytes).unwrap());
        let commands = Selector::parse(".copy pre").unwrap();
        html.select(&commands).map(|pre| pre.text().collect::<String>()).collect::<Vec<_>>()
    };
    assert_eq!(commands("nocturne-midi-repo.html"), ["muse clone https://hub.example/ada/nocturne-midi"]);
    assert_eq!(
        commands("nocturne-code-repo.html"),
        ["muse auth login --hub https://hub.example --token <token>\n\
          muse init --domain code\n\
          muse remote add origin https://hub.example/ada/nocturne-code\n\
          muse pull origin main"]
    );
}

fn any_text() -> impl Strategy<Value = String> {
    let pieces =
        vec!["<", ">", "\"", "'", "&", "</", "<!--", "-->", "/", "..", "\n", "\n\n", "# ", "](", "`", "\u{202e}", "x"];
    let piece = prop_oneof![prop::sample::select(pieces).prop_map(str::to_owned), "\\PC{0,5}", any::<String>()];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_text_becomes_markup(text in any_text(), bytes in prop_oneof![any::<Vec<u8>>(), any_text().prop_map(String::into_bytes)]) {
        check(&text, &bytes, &serde_json::json!({"ops": [{"address": text, "child_ops": [{"address": text}]}]}))?;
    }

    #[test]
    fn every_segment_is_one(text in any::<String>()) {
        let encoded = pages::urls::segment(&text);
        prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
        prop_assert!(encoded.len() <= text.len() * 3);
        let decoded = percent_encoding::percent_decode_str(&encoded).decode_utf8().unwrap();
        prop_assert_eq!(decoded.as_ref(), text.as_str());
    }

    #[test]
    fn every_comparison_comes_back(base in "[a./%]{1,6}", head in "[a./%]{1,6}") {
        let url = pages::urls::compare(&Repo::default(), &base, &head, DiffView::Unified);
        let (_, segment) = url.rsplit_once('/').unwrap();
        prop_assert_eq!(pages::urls::parse_compare(segment), Some((base, head)));
    }
}
