//! Markdown as markup, in three steps: events of pulldown-cmark, of which what a reader wrote as HTML becomes text; markup
//! of those events, within a bound; and ammonia, which lets a short list of elements and attributes through.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::LazyLock;

use ammonia::{Builder, UrlRelative};
use askama::filters::Safe;
use percent_encoding::percent_decode_str;
use pulldown_cmark::{CodeBlockKind, CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::frame::Repo;
use crate::kind::{Kind, of_path};
use crate::text::{Markup, visible};
use crate::{highlight, urls};

/// The longest Markdown that is rendered, in bytes. A longer one is shown as its source. html5ever, below ammonia, takes
/// time with the square of a text of many `&` alone: about half a second for this many.
pub const MAX_BYTES: usize = 128 << 10;
/// How many bytes of markup a byte of Markdown can become, behind the first thousand.
pub const GROWTH: usize = 64;
/// How deep quotes and lists lie in one another. What lies deeper is shown at this depth.
const MAX_DEPTH: usize = 24;

/// Where a Markdown file lies: what its links are relative to.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// The ref.
    pub at: &'a str,
    /// The path of the file.
    pub path: &'a str,
}

static CLEAN: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::empty();
    let tags = "h2 h3 h4 h5 h6 p br hr blockquote ul ol li pre code em strong del a img table thead tbody tr th td i";
    builder.tags(tags.split(' ').collect());
    builder.add_tag_attributes("a", ["href"]);
    builder.add_tag_attributes("img", ["src", "alt"]);
    builder.add_tag_attributes("ol", ["start"]);
    builder.add_tag_attributes("pre", ["tabindex"]);
    for heading in ["h2", "h3", "h4", "h5", "h6"] {
        builder.add_tag_attributes(heading, ["id"]);
    }
    builder.add_allowed_classes("i", ["hc", "hs", "hn", "he", "hk", "hf", "ht"]);
    builder.url_schemes(["http", "https", "mailto"].into());
    builder.url_relative(UrlRelative::PassThrough);
    builder.link_rel(Some("nofollow noopener noreferrer"));
    builder
});

/// Renders Markdown. Its headings begin at `h2`, as the page has the `h1`.
pub fn render(source: &str, place: Place<'_>) -> Markup {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut events = Events::new(Parser::new_ext(source, options), place);
    let most = source.len().saturating_mul(GROWTH / 2).saturating_add(1000);
    let mut bounded = Bounded { markup: String::new(), most };
    // What was written until the bound is whole markup again after the cleaning.
    let _ = pulldown_cmark::html::write_html_fmt(&mut bounded, std::iter::from_fn(|| events.next()));
    Safe(CLEAN.clean(&bounded.markup).to_string())
}

struct Bounded {
    markup: String,
    most: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.markup.len().saturating_add(piece.len()) > self.most {
            return Err(fmt::Error);
        }
        self.markup.push_str(piece);
        Ok(())
    }
}

struct Events<'s> {
    inner: Parser<'s>,
    place: Place<'s>,
    depth: usize,
    /// Of each link that is open, whether it is written.
    links: Vec<bool>,
    /// What was read ahead.
    ahead: VecDeque<Event<'s>>,
    /// The ids of headings so far.
    ids: HashSet<String>,
    is_in_comment: bool,
}

impl<'s> Events<'s> {
    fn new(inner: Parser<'s>, place: Place<'s>) -> Self {
        let (links, ahead, ids) = (Vec::new(), VecDeque::new(), HashSet::new());
        Self { inner, place, depth: 0, links, ahead, ids, is_in_comment: false }
    }

    fn read(&mut self) -> Option<Event<'s>> {
        self.ahead.pop_front().or_else(|| self.inner.next())
    }

    fn next(&mut self) -> Option<Event<'s>> {
        loop {
            let event = self.read()?;
            if let Some(event) = self.rewrite(event) {
                return Some(event);
            }
        }
    }

    /// The event that is written in the place of another; `None` for nothing.
    fn rewrite(&mut self, event: Event<'s>) -> Option<Event<'s>> {
        let shown = |text: CowStr<'s>| CowStr::from(visible(&text));
        Some(match event {
            Event::Text(text) => Event::Text(shown(text)),
            Event::Code(text) => Event::Code(shown(text)),
            Event::Html(html) | Event::InlineHtml(html) => return self.html(&html),
            Event::TaskListMarker(is_done) => Event::Text(if is_done { "☑ " } else { "☐ " }.into()),
            Event::Start(Tag::CodeBlock(kind)) => self.code_block(&kind),
            Event::Start(Tag::Heading { level, .. }) => self.heading(level),
            Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(below(level))),
            Event::Start(Tag::Link { dest_url, .. }) => return self.link(&dest_url),
            Event::End(TagEnd::Link) => {
                return self.links.pop().unwrap_or(false).then_some(Event::End(TagEnd::Link));
            }
            Event::Start(Tag::Image { dest_url, .. }) => self.image(&dest_url),
            Event::Start(tag @ (Tag::BlockQuote(_) | Tag::List(_) | Tag::Item)) => {
                self.depth = self.depth.saturating_add(1);
                return (self.depth <= MAX_DEPTH).then_some(Event::Start(tag));
            }
            Event::End(tag @ (TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::Item)) => {
                let is_written = self.depth <= MAX_DEPTH;
                self.depth = self.depth.saturating_sub(1);
                return is_written.then_some(Event::End(tag));
            }
            // Their own elements would only be taken out again.
            Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
            Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
            Event::FootnoteReference(_) | Event::InlineMath(_) | Event::DisplayMath(_) => return None,
            other => other,
        })
    }

    fn code_block(&mut self, kind: &CodeBlockKind<'_>) -> Event<'s> {
        let text = self.text_until(|end| matches!(end, TagEnd::CodeBlock));
        let language = match kind {
            CodeBlockKind::Fenced(language) => language.split([' ', ',', '{']).next().unwrap_or_default(),
            CodeBlockKind::Indented => "",
        };
        Event::Html(format!("<pre tabindex=\"0\"><code>{}</code></pre>\n", highlight::text(language, &text)).into())
    }

    /// What was written as HTML is text, and a comment is for those who read the source.
    fn html(&mut self, html: &str) -> Option<Event<'s>> {
        if !self.is_in_comment && !html.trim_start().starts_with("<!--") {
            return Some(Event::Text(visible(html).into()));
        }
        let end = html.split_once("-->");
        self.is_in_comment = end.is_none();
        let rest = end.map(|(_, rest)| rest.trim()).filter(|rest| !rest.is_empty())?;
        Some(Event::Text(visible(rest).into()))
    }

    /// Reads a heading ahead, for its id is of its text. Of several with one text the first has the id.
    fn heading(&mut self, level: HeadingLevel) -> Event<'s> {
        let mut text = String::new();
        let mut events = VecDeque::new();
        while let Some(event) = self.read() {
            if let Event::Text(piece) | Event::Code(piece) = &event {
                text.push_str(piece);
            }
            let is_end = matches!(event, Event::End(TagEnd::Heading(_)));
            events.push_back(event);
            if is_end {
                break;
            }
        }
        events.append(&mut self.ahead);
        self.ahead = events;
        let id = Some(anchor(&text)).filter(|id| self.ids.insert(id.clone())).map(CowStr::from);
        Event::Start(Tag::Heading { level: below(level), id, classes: Vec::new(), attrs: Vec::new() })
    }

    fn link(&mut self, target: &str) -> Option<Event<'s>> {
        let url = resolve(target, self.place);
        self.links.push(url.is_some());
        url.map(|url| Event::Start(link_to(url)))
    }

    /// An image of the repository is shown; of any other there is a link, as nothing of elsewhere is loaded.
    fn image(&mut self, target: &str) -> Event<'s> {
        let alt = self.text_until(|end| matches!(end, TagEnd::Image));
        let label = if alt.trim().is_empty() { "image".to_owned() } else { visible(&alt) };
        let mut markup = String::new();
        match (path_of(target, self.place.path), resolve(target, self.place)) {
            (Some(path), _) if of_path(&path) == Kind::Image => {
                markup.push_str("<img src=\"");
                crate::text::push_escaped(&mut markup, &urls::raw(self.place.repo, self.place.at, &path));
                markup.push_str("\" alt=\"");
                crate::text::push_escaped(&mut markup, &label);
                markup.push_str("\">");
            }
            (_, Some(url)) => {
                markup.push_str("<a href=\"");
                crate::text::push_escaped(&mut markup, &url);
                markup.push_str("\">");
                crate::text::push_escaped(&mut markup, &label);
                markup.push_str("</a>");
            }
            (_, None) => crate::text::push_escaped(&mut markup, &label),
        }
        Event::InlineHtml(markup.into())
    }

    /// The text of what is open, until it ends.
    fn text_until(&mut self, is_end: impl Fn(&TagEnd) -> bool) -> String {
        let mut text = String::new();
        let mut depth = 0_usize;
        while let Some(event) = self.read() {
            match event {
                Event::End(end) if depth == 0 && is_end(&end) => break,
                Event::Start(_) => depth = depth.saturating_add(1),
                Event::End(_) => depth = depth.saturating_sub(1),
                Event::Text(piece) | Event::Code(piece) | Event::Html(piece) | Event::InlineHtml(piece) => {
                    text.push_str(&piece);
                }
                Event::SoftBreak | Event::HardBreak => text.push(' '),
                _ => {}
            }
        }
        text
    }
}

fn link_to(url: String) -> Tag<'static> {
    Tag::Link {
        link_type: pulldown_cmark::LinkType::Inline,
        dest_url: url.into(),
        title: CowStr::from(""),
        id: CowStr::from(""),
    }
}

/// The level below one: the page has the `h1`.
const fn below(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H2,
        HeadingLevel::H2 => HeadingLevel::H3,
        HeadingLevel::H3 => HeadingLevel::H4,
        HeadingLevel::H4 => HeadingLevel::H5,
        HeadingLevel::H5 | HeadingLevel::H6 => HeadingLevel::H6,
    }
}

/// The id of a heading, as forges make it of its text, behind `doc-`: so it can be no id of the page itself.
fn anchor(text: &str) -> String {
    let mut id = "doc-".to_owned();
    for c in text.trim().chars().take(100) {
        match c {
            ' ' | '-' => id.push('-'),
            '_' => id.push('_'),
            c if c.is_alphanumeric() => id.extend(c.to_lowercase()),
            _ => {}
        }
    }
    id
}

/// The scheme of a URL, if it has one.
fn scheme(target: &str) -> Option<&str> {
    let (scheme, _) = target.split_once(':')?;
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    is_scheme.then_some(scheme)
}

/// The path in the repository that a relative link names. `None` if it leads elsewhere.
fn path_of(target: &str, from: &str) -> Option<String> {
    let target = target.trim();
    if target.starts_with("//") || target.starts_with('#') || scheme(target).is_some() {
        return None;
    }
    let path = target.split(['#', '?']).next().unwrap_or_default();
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let base = if path.starts_with('/') { "" } else { folder };
    let mut names: Vec<&str> = Vec::new();
    for name in base.split('/').chain(path.split('/')) {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    Some(names.join("/"))
}

/// Where a link leads: a page of the hub, or http, https or mail. `None` if it may not lead there.
fn resolve(target: &str, place: Place<'_>) -> Option<String> {
    let target = target.trim();
    if target.chars().any(|c| c.is_control() || crate::text::is_hidden(c)) || target.contains('\\') {
        return None;
    }
    if let Some(fragment) = target.strip_prefix('#') {
        return Some(format!("#{}", urls::segment(&anchor(&percent_decode_str(fragment).decode_utf8_lossy()))));
    }
    if let Some(rest) = target.strip_prefix("//") {
        return Some(format!("https://{rest}"));
    }
    if let Some(scheme) = scheme(target) {
        let is_allowed = ["http", "https", "mailto"].iter().any(|allowed| scheme.eq_ignore_ascii_case(allowed));
        return is_allowed.then(|| target.to_owned());
    }
    let path = path_of(target, place.path)?;
    let is_folder = path.is_empty() || target.split(['#', '?']).next().is_some_and(|path| path.ends_with('/'));
    let url = if is_folder { urls::tree } else { urls::blob }(place.repo, place.at, &path);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use scraper::Html;

    fn rendered(source: &str) -> String {
        let repo = Repo { owner: "ada".into(), slug: "song".into(), ..Repo::default() };
        render(source, Place { repo: &repo, at: "feat/x", path: "docs/README.md" }).0
    }

    #[test]
    fn html_is_text_and_comments_are_left_out() {
        let markup = rendered("a <b onclick=x>c</b>\n\n<!-- one\ntwo -->\n\n<script>alert(1)</script>\n");
        assert!(markup.contains("&lt;b onclick=x&gt;c&lt;/b&gt;"), "{markup}");
        assert!(markup.contains("&lt;script&gt;") && !markup.contains("two"), "{markup}");
    }

    #[test]
    fn links_lead_to_pages_of_the_repository() {
        let href = |source: &str| {
            let html = Html::parse_fragment(&rendered(source));
            let linked = scraper::Selector::parse("[href], [src]").unwrap();
            let element = html.select(&linked).next();
            element.and_then(|element| element.attr("href").or(element.attr("src"))).unwrap_or_default().to_owned()
        };
        assert_eq!(href("[a](../src/a%20b.rs#L3)"), "/ada/song/blob/feat%2Fx/src/a%20b.rs");
        assert_eq!(href("[a](/LICENSE)"), "/ada/song/blob/feat%2Fx/LICENSE");
        assert_eq!(href("[a](more/)"), "/ada/song/tree/feat%2Fx/docs/more");
        assert_eq!(href("[a](../../../../x)"), "/ada/song/blob/feat%2Fx/x");
        assert_eq!(href("![a](cover.png)"), "/ada/song/raw/feat%2Fx/docs/cover.png");
        assert_eq!(href("![a](https://elsewhere.example/x.png)"), "https://elsewhere.example/x.png");
        assert_eq!(href("[a](//elsewhere.example)"), "https://elsewhere.example");
        assert_eq!(href("[a](#One-two)"), "#doc-one-two");
        for bad in ["javascript:alert(1)", "JaVaScript:alert(1)", "data:text/html,x", "vbscript:x", "java&#10;script:x"]
        {
            let source = format!("[a]({bad})");
            assert_eq!(href(&source), "", "{bad}");
        }
    }

    #[test]
    fn headings_begin_below_the_pages_own() {
        let markup = rendered("# One *two*\n\n# One two\n");
        assert_eq!(markup.trim(), "<h2 id=\"doc-one-two\">One <em>two</em></h2>\n<h2>One two</h2>");
    }

    #[test]
    fn what_grows_without_bound_is_cut() {
        for source in ["> ".repeat(50_000), "- ".repeat(50_000), "[".repeat(50_000), "*a ".repeat(30_000)] {
            assert!(rendered(&source).len() <= source.len() * GROWTH + 1000);
        }
        let table = format!("{}\n{}\n{}", "|a".repeat(2000), "|-".repeat(2000), "|a\n".repeat(20_000));
        assert!(rendered(&table).len() <= table.len() * GROWTH + 1000);
    }

    /// Elements and attributes that Markdown may lead to.
    fn check(markup: &str) -> Result<(), TestCaseError> {
        let allowed =
            "html h2 h3 h4 h5 h6 p br hr blockquote ul ol li pre code em strong del a img table thead tbody tr th td i";
        for node in Html::parse_fragment(markup).tree.root().descendants() {
            let Some(element) = node.value().as_element() else { continue };
            prop_assert!(allowed.split(' ').any(|name| name == element.name()), "{}", markup);
            for (name, value) in element.attrs() {
                let is_fine = match name {
                    "href" => ["http:", "https:", "mailto:", "/", "#"]
                        .iter()
                        .any(|start| value.to_ascii_lowercase().starts_with(start)),
                    "src" => value.starts_with("/ada/song/raw/"),
                    "id" => value.starts_with("doc-"),
                    "class" => element.name() == "i",
                    "rel" | "alt" | "start" | "tabindex" => true,
                    _ => false,
                };
                prop_assert!(is_fine, "{name}={value} in {markup}");
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn no_text_yields_another_tag(
            pieces in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec![
                        "<script>", "</script>", "<img src=x onerror=y>", "[a](", "javascript:x", ")", "![", "](", "\n", "\n\n",
                        "# ", "> ", "- ", "```html\n", "|", "|-|\n", "<svg/onload=a>", "<!--", "-->", "&lt;", "&#106;", "`",
                        "<a href=\"", "\">", "[x]: ", "<http://a>", "<style>", "data:text/html,", "  ", "1. ", "**", "<![CDATA[",
                    ]).prop_map(str::to_owned),
                    "\\PC{0,6}",
                    any::<String>(),
                ],
                0..24,
            )
        ) {
            let source = pieces.concat();
            let markup = rendered(&source);
            prop_assert!(markup.len() <= source.len() * GROWTH + 1000);
            check(&markup)?;
        }
    }
}
