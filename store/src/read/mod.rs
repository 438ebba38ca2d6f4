//! Reading what packs hold: records are found by the pages of tables, and streamed by the frames of packs.
//!
//! [`view`] finds records in the tables that a request has listed, a page at a time; `beside` spares most lookups of who pushes.
//! [`history`] walks from commit to commit. [`reader`] streams records, in [`turn`]s, and [`large`] opens what lies beside packs.

mod beside;
pub mod history;
pub mod large;
pub mod reader;
pub mod turn;
pub mod view;
