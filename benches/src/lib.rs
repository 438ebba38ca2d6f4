//! What requests cost: storage calls, bytes and dollars, counted while the functions of a hub answer a client that pushes,
//! clones and fetches (`counted`); which ideas would make that less (`ideas`); and which limit is reached first where there is
//! much of something (`paper`). No time is measured, so every run says the same, and a test holds `docs/cost.md` and
//! `docs/scale.md` to it. What the length of a history costs is in [`scale`], and how fast the hub is beside Git in [`compare`]:
//! both measure time and memory too.

#![forbid(unsafe_code)]

pub mod compare;
mod cost;
mod counted;
mod deployment;
mod ideas;
mod page;
mod paper;
mod plot;
mod process;
pub mod scale;
pub mod served;
mod template;
mod wire;
pub mod work;

use std::path::Path;

use counted::Counted;
pub use page::Page;

/// Why nothing was counted.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Counts, and says what the pages should say, and the plots on them.
pub async fn pages() -> Result<Vec<Page>, Failure> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let counted = Counted::of(std::fs::read_to_string(root.join("template.yaml"))?).await?;
    let cost = [(cost::BEGIN, cost::END, cost::tables(&counted)?), (ideas::BEGIN, ideas::END, ideas::table(&counted)?)];
    let cost = cost.each_ref().map(|(begin, end, text)| (*begin, *end, text.as_str()));
    let mut pages = vec![Page::with(root.join("docs/cost.md"), &cost)?];
    pages.extend(paper::pages(&counted, &root.join("docs"))?);
    Ok(pages)
}

#[cfg(test)]
mod the_pages {
    #[tokio::test(flavor = "multi_thread")]
    async fn the_pages_on_cost_and_scale_say_what_is_counted() {
        for page in super::pages().await.unwrap() {
            let path = page.path.display();
            assert!(page.old == page.new, "cargo run -p benches -- --write would write\n{path}:\n{}", page.new);
        }
    }
}
