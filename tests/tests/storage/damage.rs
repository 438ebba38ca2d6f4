//! What S3 gives back is not what was stored. No client gets a well-formed answer with something wrong or missing in it:
//! either an error, or an answer that is cut off, on which a client's decoder fails.

use std::collections::BTreeMap;

use common::pack::index::FOOTER_LENGTH;
use proptest::prelude::*;
use service::CutOff;
use tests::client::Answer;
use tests::encoding::Encoding;
use tests::history::{self, Builder, History, Pack};
use tests::wiretap::{Call, Fault, Reaction};

use crate::process::{Cloud, Process, assert_is, for_every};

/// A history whose answer is large enough to be on its way long before the last of it has been read.
pub fn long_song() -> History {
    let mut builder = Builder::new(4);
    let mut tree = builder.files(20);
    let mut parent: Option<String> = None;
    for index in 0..20 {
        let content = builder.bytes(50_000);
        tree.insert(format!("tracks/take-{index}.flac"), content);
        let parents: Vec<&str> = parent.as_deref().into_iter().collect();
        parent = Some(builder.commit(&parents, &tree));
    }
    builder.finish()
}

/// `song`, pushed in two packs, and a process that knows of both.
pub async fn pushed(cloud: &Cloud, history: &History) -> (Process, Vec<Call>) {
    let process = cloud.process();
    let ids = history.ids();
    let middle = &ids[ids.len() / 2];
    process.push_onto("song", "main", history, &[], middle).await.expect(200);
    process.push_onto("song", "main", history, &[middle], history.last()).await.expect(200);
    let puts = process.tap.take().into_iter().filter(|call| call.name == "PUT packs/").collect();
    (process, puts)
}

pub fn is_read(call: &Call) -> bool {
    call.name.starts_with("GET ")
}

/// Every read goes wrong from the one of this number on.
pub fn damage_from(process: &Process, position: usize, fault: Fault) {
    let mut reads = 0;
    process.tap.script(move |call| {
        reads += usize::from(is_read(call));
        if is_read(call) && reads > position { Reaction::Fail(fault) } else { Reaction::Forward }
    });
}

/// How an answer ended that could not be a good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    CutOff,
    Status(u16),
}

#[track_caller]
fn end(answer: &Result<Answer, CutOff>) -> End {
    match answer {
        Err(CutOff) => End::CutOff,
        Ok(answer) => {
            let refusal = answer.refusal().unwrap_or_else(|_| panic!("a well-formed answer from damaged packs"));
            assert!([500, 503].contains(&refusal.status), "{}", answer.excerpt());
            End::Status(refusal.status)
        }
    }
}

async fn assert_well(process: &Process, history: &History) {
    let answer = process.fetch::<_, &str>("song", &[history.last()], &[]).await.expect("a whole answer").expect(200);
    assert_is(history, &[history.last()], &Pack::from_value(&answer).unwrap());
}

/// A process that has read the index, or one that has not.
async fn started(cloud: &Cloud, history: &History, is_cold: bool) -> Process {
    let process = cloud.process();
    if !is_cold {
        process.fetch("song", &[history.last()], &[history.last()]).await.expect("a whole answer").expect(200);
    }
    process.tap.take();
    process
}

#[tokio::test]
async fn a_fetch_from_damaged_packs_is_refused_or_cut_off() {
    let (cloud, history) = (Cloud::start().await, long_song());
    pushed(&cloud, &history).await;
    let mut ends: BTreeMap<End, usize> = BTreeMap::new();
    for is_cold in [false, true] {
        let probe = started(&cloud, &history, is_cold).await;
        assert_well(&probe, &history).await;
        let reads = probe.tap.take().into_iter().filter(is_read).count();
        assert!(reads >= 4, "two packs, and objects after the rest: {reads} reads");
        for position in 0..reads {
            for fault in [Fault::FlippedBit(12_345_678), Fault::CutShort(1_000_003), Fault::BrokenOff(1_000_003)] {
                for encoding in Encoding::BOTH {
                    let process = started(&cloud, &history, is_cold).await;
                    damage_from(&process, position, fault);
                    let answer = process.fetch_as::<_, &str>(encoding, "song", &[history.last()], &[]).await;
                    *ends.entry(end(&answer)).or_default() += 1;
                    // What was damaged on its way is not remembered.
                    process.tap.heal();
                    assert_well(&process, &history).await;
                }
            }
        }
    }
    assert!(ends.contains_key(&End::CutOff) && ends.contains_key(&End::Status(500)), "both were seen: {ends:?}");
}

#[test]
fn whatever_bit_of_whatever_read_is_flipped_no_client_gets_it() {
    let history = history::dag(2, 40, 12);
    let tips = history.heads();
    let prepare = async || {
        let cloud = Cloud::start().await;
        for (number, tip) in tips.iter().enumerate() {
            cloud.process().push_onto("song", &format!("branch-{number}"), &history, &[], tip).await.expect(200);
        }
        let probe = cloud.process();
        probe.fetch::<_, &str>("song", &tips, &[]).await.expect("a whole answer").expect(200);
        let reads = probe.tap.take().into_iter().filter(is_read).count();
        assert!(reads > 2 * tips.len(), "sections and frames of {} packs: {reads} reads", tips.len());
        (cloud, reads)
    };
    let fault = prop_oneof![
        4 => any::<u64>().prop_map(Fault::FlippedBit),
        1 => any::<u64>().prop_map(Fault::CutShort),
        1 => any::<u64>().prop_map(Fault::BrokenOff),
    ];
    let cases = (fault, any::<prop::sample::Index>(), any::<bool>());
    for_every(200, cases, prepare, async |(cloud, reads): &(Cloud, usize), (fault, read, is_json)| {
        let process = cloud.process();
        let (position, mut number) = (read.index(*reads), 0);
        process.tap.fail_once(fault, move |call| {
            number += usize::from(is_read(call));
            is_read(call) && number == position + 1
        });
        let encoding = if is_json { Encoding::Json } else { Encoding::Msgpack };
        match process.fetch_as::<_, &str>(encoding, "song", &tips, &[]).await {
            // A request that reads again what was damaged on its way may go on.
            Ok(answer) if answer.status == 200 => {
                assert_is(&history, &tips, &Pack::from_value(&answer.expect(200)).unwrap());
            }
            refused => {
                end(&refused);
            }
        }
        assert!(process.tap.take().iter().any(|call| call.fault == Some(fault)), "the read was made");
    });
}

#[tokio::test]
async fn a_pack_that_is_gone_is_a_500_for_requests_that_need_it() {
    let (cloud, history) = (Cloud::start().await, history::linear(6, 6, 5, 2));
    let (warm, packs) = pushed(&cloud, &history).await;
    cloud.delete(&packs[0].key).await;

    let last = [history.last()];
    let cold = cloud.process();
    let answer = cold.fetch::<_, &str>("song", &last, &[]).await.expect("nothing was sent yet");
    answer.refused(500, "internal_error");
    assert_eq!(cold.heads("song").await["main"], history.last());
    // A process that remembers the pack, which is a small one, has no need of it.
    assert_well(&warm, &history).await;
    // A client that has what was in it gets the rest.
    let parent = history.commit(history.last()).parents()[0];
    let answer = warm.fetch("song", &last, &[parent]).await.expect("a whole answer").expect(200);
    assert_eq!(Pack::from_value(&answer).unwrap().commit_ids().len(), 1);
}

#[tokio::test]
async fn a_push_that_cannot_read_the_index_changes_nothing() {
    let (cloud, history) = (Cloud::start().await, history::linear(6, 6, 5, 2));
    let ids = history.ids();
    let process = cloud.process();
    process.push_onto("song", "main", &history, &[], &ids[4]).await.expect(200);
    let heads = |head: &str| BTreeMap::from([("main".to_owned(), head.to_owned())]);
    // A small pack is read up to the end of its table, which is in front of the footer. What is damaged in front of the
    // table is nothing to a push.
    let sizes = cloud.stored("packs/").await;
    let in_the_table = (sizes.values().max().expect("a pack") - FOOTER_LENGTH as u64 - 50) * 8;
    let faults = [(Fault::FlippedBit(in_the_table), 500), (Fault::CutShort(40), 500), (Fault::BrokenOff(40), 503)];
    for (fault, status) in faults {
        let process = cloud.process();
        process.tap.fail_always(fault, is_read);
        process.push_onto("song", "main", &history, &[&ids[4]], &ids[5]).await.refused(status, "");
        assert!(process.tap.take().iter().all(|call| !call.is_transaction() && !call.name.starts_with("PUT")));
        cloud.assert_holds("song", &history, &heads(&ids[4])).await;
        process.tap.heal();
        process.push_onto("song", "main", &history, &[&ids[4]], &ids[4]).await.expect(200);
    }
    process.push_onto("song", "main", &history, &[&ids[4]], &ids[5]).await.expect(200);
    cloud.assert_holds("song", &history, &heads(&ids[5])).await;
}

/// Nothing is cut short where the table has lost what it had: a history without its beginning is none.
#[tokio::test]
async fn a_history_whose_earlier_pack_is_gone_is_refused() {
    let cloud = Cloud::start().await;
    let (process, history) = (cloud.process(), history::linear(9, 3, 4, 1));
    let ids = history.ids();
    process.push_onto("song", "main", &history, &[], &ids[0]).await.expect(200);
    let first = process.tap.take().into_iter().find(|call| call.name == "PUT packs/").expect("a pack");
    process.push_onto("song", "main", &history, &[&ids[0]], &ids[2]).await.expect(200);
    let (repo, pack) = first.key.strip_prefix("packs/").and_then(|key| key.split_once('/')).expect("a key");
    cloud.delete_item(&format!("REPO#{repo}"), &format!("PACK#{}", pack.trim_end_matches(".pack"))).await;
    let answer = cloud.process().fetch::<_, &str>("song", &[&ids[2]], &[]).await.expect("a whole answer");
    answer.refused(500, "internal_error");
}
