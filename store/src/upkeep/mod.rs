//! What keeps a repo in order while nobody asks for it.
//!
//! - [`compact`] merges packs, so that they stay few, and makes an [`index`] of the tables of those that are full.
//! - [`garbage`] takes out of packs what nothing reaches. [`purge`] takes an object out of everything that there is.
//! - [`survey`] looks at all records of a repo from front to back; [`stats`] and fsck stand on it too.
//! - [`swap`] puts packs in the place of others. [`inspect`] lists what the stores hold, whatever it means, and [`backup`] copies it.

pub mod backup;
pub mod compact;
pub mod garbage;
pub mod index;
pub mod inspect;
pub mod purge;
pub mod stats;
pub mod survey;
pub mod swap;
