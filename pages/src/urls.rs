//! Every URL that a page links to.
//!
//! | URL | |
//! |---|---|
//! | `/`, `/?after=` | [`home`] |
//! | `/{owner}`, `?after=` | [`owner`] |
//! | `/{owner}/{slug}` | [`repo`] |
//! | `/{owner}/{slug}/tree/{ref}`, `/{path...}` | [`tree`] |
//! | `/{owner}/{slug}/blob/{ref}/{path...}`, `?plain=1` | [`blob`], [`blob_source`] |
//! | `/{owner}/{slug}/raw/{ref}/{path...}` | [`raw`] |
//! | `/{owner}/{slug}/commits/{ref}`, `?after=` | [`commits`] |
//! | `/{owner}/{slug}/commit/{id}`, `?view=split` | [`commit`] |
//! | `/{owner}/{slug}/compare/{a}...{b}`, `?view=split` | [`compare`] |
//! | `/{owner}/{slug}/branches`, `tags`, `releases`, `log`, each with `?after=` | [`branches`], [`tags`], [`releases`], [`log`] |
//! | `/{owner}/{slug}/stats` | [`stats`] |
//! | `/login`, `/login?next=`; POST `/login`, POST `/logout` | [`login`], [`LOGOUT`] |
//! | `/-/style.{hash}.css`, `/-/app.{hash}.js` | [`crate::assets::assets`] |
//!
//! A segment is percent-encoded whole: a ref or a name with a slash is one segment with `%2F` in it. A path is its names,
//! each encoded, with slashes between. So a reader of these URLs splits first and decodes afterwards.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::frame::Repo;
use crate::view::DiffView;

/// Where the form that ends a session posts to.
pub const LOGOUT: &str = "/logout";

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One segment of a path, or one value of a query. Browsers take `.` and `..` for themselves however they are written, so
/// such a segment leads to another page of the hub; no client can make a file or a branch of that name.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A name as one segment of a path. No name is empty; one that is would leave two slashes together, which lead elsewhere.
fn name(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { segment(text) }
}

/// The names of a path, each as one segment. Empty names are left out.
fn segments(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for name in path.split('/').filter(|name| !name.is_empty()) {
        encoded.push('/');
        encoded.extend(utf8_percent_encode(name, RESERVED));
    }
    encoded
}

fn with_after(url: String, after: Option<&str>) -> String {
    match after {
        Some(after) => format!("{url}?after={}", segment(after)),
        None => url,
    }
}

fn with_view(url: String, view: DiffView) -> String {
    match view {
        DiffView::Unified => url,
        DiffView::Split => format!("{url}?view={}", view.as_str()),
    }
}

/// The hub.
pub fn home(after: Option<&str>) -> String {
    with_after("/".to_owned(), after)
}

/// A user's repositories.
pub fn owner(owner: &str, after: Option<&str>) -> String {
    with_after(format!("/{}", name(owner)), after)
}

/// A repository, by its owner and its name.
pub fn repo_of(owner: &str, slug: &str) -> String {
    format!("/{}/{}", name(owner), name(slug))
}

/// A repository.
pub fn repo(repo: &Repo) -> String {
    repo_of(&repo.owner, &repo.slug)
}

/// A folder at a ref, which may be a branch, a tag or a commit id; the root if `path` is empty.
pub fn tree(of: &Repo, at: &str, path: &str) -> String {
    format!("{}/tree/{}{}", repo(of), name(at), segments(path))
}

/// A file at a ref.
pub fn blob(of: &Repo, at: &str, path: &str) -> String {
    format!("{}/blob/{}{}", repo(of), name(at), segments(path))
}

/// A Markdown file at a ref, as its source.
pub fn blob_source(of: &Repo, at: &str, path: &str) -> String {
    format!("{}?plain=1", blob(of, at, path))
}

/// The bytes of a file at a ref.
pub fn raw(of: &Repo, at: &str, path: &str) -> String {
    format!("{}/raw/{}{}", repo(of), name(at), segments(path))
}

/// A history.
pub fn commits(of: &Repo, at: &str, after: Option<&str>) -> String {
    with_after(format!("{}/commits/{}", repo(of), name(at)), after)
}

/// A commit.
pub fn commit(of: &Repo, id: &str, view: DiffView) -> String {
    with_view(format!("{}/commit/{}", repo(of), name(id)), view)
}

/// What `head` has over `base`. [`parse_compare`] reads the segment.
pub fn compare(of: &Repo, base: &str, head: &str, view: DiffView) -> String {
    // The dots between the two have to be the only ones that can be taken for them.
    let side = |at: &str| match at.contains("..") || at.starts_with('.') || at.ends_with('.') {
        true => segment(at).replace('.', "%2E"),
        false => name(at),
    };
    with_view(format!("{}/compare/{}...{}", repo(of), side(base), side(head)), view)
}

/// The two refs of the last segment of a [`compare`] URL, as it is in the URL. `None` if it is no such segment.
pub fn parse_compare(encoded: &str) -> Option<(String, String)> {
    let (base, head) = encoded.split_once("...")?;
    let decode = |side: &str| Some(percent_decode_str(side).decode_utf8().ok()?.into_owned()).filter(|s| !s.is_empty());
    Some((decode(base)?, decode(head)?))
}

/// The branches.
pub fn branches(of: &Repo, after: Option<&str>) -> String {
    with_after(format!("{}/branches", repo(of)), after)
}

/// The tags.
pub fn tags(of: &Repo, after: Option<&str>) -> String {
    with_after(format!("{}/-/tags", repo(of)), after)
}

/// The releases.
pub fn releases(of: &Repo, after: Option<&str>) -> String {
    with_after(format!("{}/-/releases", repo(of)), after)
}

/// The push log.
pub fn log(of: &Repo, after: Option<&str>) -> String {
    with_after(format!("{}/log", repo(of)), after)
}

/// The stats.
pub fn stats(of: &Repo) -> String {
    format!("{}/stats", repo(of))
}

/// The form that takes a token, and where it leads afterwards.
pub fn login(next: Option<&str>) -> String {
    match next {
        Some(next) => format!("/login?next={}", segment(next)),
        None => "/login".to_owned(),
    }
}

/// A path of this hub that is safe to lead a reader to after the login; `/` for anything else, such as `//elsewhere`.
pub fn local(next: &str) -> &str {
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && !next.chars().any(|c| c.is_control() || c.is_whitespace());
    if is_local { next } else { "/" }
}
