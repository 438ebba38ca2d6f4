//! Keeps a repo in order, beside requests.
//!
//! - [`compact`] merges packs, so that they stay few, and makes an [`index`] of the tables of full ones.
//! - [`garbage`] takes unreachable records out of packs. [`purge`] takes an object out of everything that there is.
//! - [`removal`] removes a repo that was deleted.
//! - [`fork`] makes a repo of what another has. [`pool`] says what of the files that repos share others need, and [`files`] what items say of files.
//! - [`survey`] looks at all records of a repo from front to back. [`stats`] and fsck use it too.
//! - [`swap`] puts packs in the place of others. [`inspect`] lists what the stores hold, without a look at what it
//!   means, and [`backup`] copies it.

pub mod backup;
pub mod compact;
pub mod files;
pub mod fork;
pub mod garbage;
pub mod index;
pub mod inspect;
pub mod pool;
pub mod purge;
pub mod removal;
pub mod stats;
pub mod survey;
pub mod swap;
