//! The hub and its storage: what each request asks of it, and what becomes of a request when it fails.
//!
//! The hubs here run inside the test, over the embedded stores, and [`tests::wiretap`] lies under their SDK clients. A
//! hub made by [`process::Cloud::process`] is a process that has just started; one that has answered is warm.

// Tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod bodies;
mod branches;
mod bus;
mod cold;
mod compaction;
mod cut_off;
mod damage;
mod domain;
mod events;
mod faults;
mod forks;
mod fsck;
mod garbage;
mod given_up;
mod health;
mod indexes;
mod lanes;
mod large;
mod lenient;
mod lines;
mod merging;
mod missing;
mod names;
mod observe;
mod outages;
mod pages;
mod privacy;
mod process;
mod protection;
mod purge;
mod races;
mod replay;
mod repos;
mod scripts;
mod slow;
mod staged;
mod stats;
mod steps;
mod turns;
mod uploads;
mod webhooks;
