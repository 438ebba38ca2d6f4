//! `/{owner}/{slug}`: a repository at the head of its default branch.

use crate::markdown::{self, Place};
use crate::text::{self, Markup};
use crate::urls;
use askama::Template;
use askama::filters::Safe;
use jiff::Timestamp;
use serde::Serialize;

use crate::frame::{At, Hub, Repo};
use crate::parts::{CommitLine, Entry, EntryLine, entry_lines};

/// `/{owner}/{slug}`. Links: the tabs, `tree/{ref}` of each ref of the switcher, the head's `commit/{id}`, `tree` or
/// `blob` of each entry, what the README names.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "repo.html")]
pub struct RepoPage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// The repository.
    pub repo: Repo,
    /// The default branch, and what to switch to.
    pub at: At,
    /// The head; `None` if nothing was pushed yet. The page then says how to push.
    pub head: Option<CommitLine>,
    /// What lies in the root folder.
    pub entries: Vec<Entry>,
    /// Whether there is more in it than that.
    pub has_more_entries: bool,
    /// The README of the root folder, if there is one.
    pub readme: Option<Readme>,
    /// When a branch was last moved, if known.
    pub pushed_at: Option<Timestamp>,
    /// What the repository takes in storage, in bytes, if known.
    pub size: Option<u64>,
    /// How many commits it has, if known.
    pub commits: Option<u64>,
    /// How many branches it has.
    pub branches: u64,
    /// How many tags it has, if known.
    pub tags: Option<u64>,
}

impl RepoPage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn switch_url(&self, name: &str) -> String {
        urls::tree(&self.repo, name, "")
    }

    fn lines(&self) -> Vec<EntryLine<'_>> {
        entry_lines(&self.repo, &self.at.name, "", &self.entries)
    }

    /// The head for its badges. That it is the head of this branch is known.
    fn head_without_branches(&self) -> CommitLine {
        CommitLine { branches: Vec::new(), ..self.head.clone().unwrap_or_default() }
    }

    fn url(&self) -> String {
        format!("{}{}", self.hub.url, urls::repo(&self.repo))
    }

    /// `muse clone` sends no token, so a private repository is pulled into a new one.
    fn clone_commands(&self) -> String {
        let url = self.url();
        if !self.repo.is_private {
            return format!("muse clone {url}");
        }
        format!(
            "muse auth login --hub {} --token <token>\nmuse init --domain code\nmuse remote add origin {url}\n\
             muse pull origin {}",
            self.hub.url,
            text::shell_word(&self.repo.default_branch)
        )
    }

    fn push_commands(&self) -> String {
        format!("muse remote add origin {}\nmuse push origin main", self.url())
    }
}

/// A README.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readme {
    /// Its path. A path that ends in `.md` or `.markdown` is rendered as Markdown, any other as plain text.
    pub path: String,
    /// Its bytes.
    #[serde(rename = "text", serialize_with = "as_text")]
    pub bytes: Vec<u8>,
}

/// Which of the names in a folder is shown as its README: the first of `README.md`, `README.markdown`, `README.txt` and
/// `README`, in any case.
pub fn readme_of<'n>(names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    const RANKED: [&str; 4] = ["readme.md", "readme.markdown", "readme.txt", "readme"];
    let rank = |name: &&str| RANKED.iter().position(|ranked| name.eq_ignore_ascii_case(ranked));
    names.into_iter().filter(|name| rank(name).is_some()).min_by_key(rank)
}

impl Readme {
    /// The README as markup: Markdown, or plain text if it is none or too long.
    pub(crate) fn render(&self, repo: &Repo, at: &At) -> Markup {
        let bytes = self.bytes.get(..self.bytes.len().min(markdown::MAX_BYTES)).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes);
        let is_whole = bytes.len() == self.bytes.len();
        if is_whole && crate::kind::of_path(&self.path) == crate::kind::Kind::Markdown {
            return markdown::render(&text, Place { repo, at: &at.name, path: &self.path });
        }
        let mut markup = "<pre tabindex=\"0\">".to_owned();
        text::push_escaped(&mut markup, &text.replace("\r\n", "\n"));
        markup.push_str("</pre>");
        Safe(markup)
    }
}

fn as_text<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}
