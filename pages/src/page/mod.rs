//! The pages, one module each: the struct that a caller fills, and how it is rendered.

pub mod blob;
pub mod branches;
pub mod commit;
pub mod commits;
pub mod compare;
pub mod error;
pub mod home;
pub mod log;
pub mod login;
pub mod owner;
pub mod releases;
pub mod repo;
pub mod stats;
pub mod tags;
pub mod tree;

/// A page as a string. Writing to a string fails only if what is written says so itself, and nothing here does.
fn rendered(page: &impl askama::Template) -> String {
    page.render().unwrap_or_default()
}

/// A page: something to show in a browser, and to answer a program with.
pub trait Page: serde::Serialize {
    /// The page as HTML.
    fn html(&self) -> String;
}

impl<T: askama::Template + serde::Serialize> Page for T {
    fn html(&self) -> String {
        rendered(self)
    }
}
