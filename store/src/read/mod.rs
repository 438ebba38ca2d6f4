//! Reads what packs hold. Records are found by the pages of tables, and streamed by the frames of packs.
//!
//! [`view`] finds records in the tables that a request has listed, a page at a time. `beside` spares a push most
//! lookups. [`history`] walks from commit to commit. [`reader`] streams records, with a permit of [`permit`], and
//! [`large`] opens large objects.

mod beside;
pub mod history;
pub mod large;
pub mod permit;
pub mod reader;
pub mod view;
