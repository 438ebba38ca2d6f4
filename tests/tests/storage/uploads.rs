//! Objects that were PUT past the hub, and a storage or another client that gets in the way while they are taken in: a
//! wrong one never counts, a right one is never lost, and what goes wrong in between can be sent again.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tests::cases::some_of;
use tests::client::Answer;
use tests::history::{Builder, History, Object, Pack};
use tests::wiretap::{Call, Fault, Reaction, sequence, stop_clock};
use tokio::sync::Notify;

use crate::faults::fail_nth;
use crate::process::{Cloud, Process, for_every, put};
use crate::turns::{Turns, interleavings};

/// Two commits. The last has a file that a client would upload.
pub struct Song {
    pub history: History,
    pub base: String,
    pub tip: String,
    pub object: Object,
}

impl Song {
    /// With a file of this many bytes.
    pub fn of(size: usize) -> Song {
        let mut builder = Builder::new(11);
        let mut tree = builder.files(4);
        let base = builder.commit(&[], &tree);
        let object = Object::new(builder.bytes(size));
        tree.insert("tracks/take.flac".to_owned(), object.content.clone());
        let tip = builder.commit(&[&base], &tree);
        Song { history: builder.finish(), base, tip, object }
    }

    pub async fn push_base(&self, process: &Process, slug: &str) {
        process.push_onto(slug, "main", &self.history, &[], &self.base).await.expect(200);
        // The push that makes a repo doesn't look its name up.
        process.refs(slug).await.expect(200);
    }

    /// The base is pushed, and the file may be uploaded to this URL.
    pub async fn begin(&self, process: &Process, slug: &str) -> String {
        self.push_base(process, slug).await;
        process.put_url(slug, &self.object.id).await
    }

    /// What a client pushes that has uploaded the file.
    pub fn bundle(&self) -> Pack {
        self.history.pack(&[&self.tip]).without_objects().with_head("main", &self.tip)
    }

    pub async fn push_tip(&self, process: &Process, slug: &str) -> Answer {
        process.push(slug, "main", false, &self.bundle()).await
    }

    /// A process that has just started finds all of it, in every way to ask.
    pub async fn assert_whole(&self, cloud: &Cloud, slug: &str) {
        let heads = BTreeMap::from([("main".to_owned(), self.tip.clone())]);
        cloud.assert_holds(slug, &self.history, &heads).await;
        let process = cloud.process();
        self.assert_served(&process, slug).await;
        assert!(process.missing(slug, &[&self.object.id]).await.is_empty());
    }

    /// This process serves the file.
    pub async fn assert_served(&self, process: &Process, slug: &str) {
        let answer = process.object(&process.repo_id(slug).await, &self.object.id).await.expect("a whole answer");
        assert!(answer.status == 200 && answer.body == self.object.content, "{}", answer.status);
        for url in process.presigned("get", slug, &[&self.object.id]).await.into_values() {
            let _clock = stop_clock();
            let answer = tests::client::send("GET", &url, &[], "").await.expect("the store answers");
            assert!(answer.status == 200 && answer.body == self.object.content, "{}", answer.status);
        }
    }

    /// This process serves the file to no client.
    pub async fn assert_not_served(&self, process: &Process, slug: &str) {
        let answer = process.object(&process.repo_id(slug).await, &self.object.id).await.expect("a whole answer");
        answer.refused(404, "unknown_object");
        assert!(process.presigned("get", slug, &[&self.object.id]).await.is_empty());
    }

    /// Other bytes than the file's, and in two of three cases not as many.
    fn wrong(&self, number: u8) -> Bytes {
        let length = self.object.content.len();
        vec![number; [length, length - 1, length + 1][usize::from(number % 3)]].into()
    }

    /// The file is PUT once more, and now counts, whatever was before.
    async fn assert_can_be_sent_again(&self, cloud: &Cloud, slug: &str, url: &str) {
        put(url, self.object.content.clone()).await;
        self.assert_counts(cloud, slug).await;
    }

    /// A process that has just started takes a push that relies on the file.
    async fn assert_counts(&self, cloud: &Cloud, slug: &str) {
        self.push_tip(&cloud.process(), slug).await.expect(200);
        self.assert_whole(cloud, slug).await;
    }
}

fn song() -> Song {
    Song::of(3_000)
}

fn is(call: &Call, name: &str) -> bool {
    call.name.starts_with(name)
}

fn fault_or_forward(fault: Option<Fault>) -> Reaction {
    fault.map_or(Reaction::Forward, Reaction::Fail)
}

/// What is asked of a process while its storage is disturbed.
#[derive(Clone, Copy, Debug)]
enum Request {
    Filter,
    Push,
}

impl Request {
    const BOTH: [Request; 2] = [Request::Filter, Request::Push];

    /// The answer, and whether it says that the file is there.
    async fn make(self, song: &Song, process: &Process, slug: &str) -> (Answer, bool) {
        match self {
            Request::Filter => {
                let answer = process.filter(slug, &[&song.object.id]).await;
                let is_there = answer.status == 200 && answer.expect(200)["missing"] == serde_json::json!([]);
                (answer, is_there)
            }
            Request::Push => {
                let answer = song.push_tip(process, slug).await;
                let is_there = answer.status == 200;
                (answer, is_there)
            }
        }
    }
}

/// Each call of a request goes wrong once, in each way that passes, after `first` has had its say. Copies that hang, or
/// that S3 calls concurrent with another, have tests of their own.
async fn disturb(request: Request, first: fn(&Call) -> Option<Fault>) {
    let (cloud, song) = (Cloud::start().await, song());
    let prepare = async |slug: &str| {
        let process = cloud.process();
        put(&song.begin(&process, slug).await, song.object.content.clone()).await;
        process.tap.take();
        process
    };
    let script = |process: &Process, position: Option<usize>, fault: Fault| {
        let (mut number, mut is_first) = (0, true);
        process.tap.script(move |call| {
            if let Some(fault) = first(call).filter(|_| is_first) {
                is_first = false;
                return Reaction::Fail(fault);
            }
            number += 1;
            fault_or_forward((Some(number - 1) == position).then_some(fault))
        });
    };
    let process = prepare("undisturbed").await;
    script(&process, None, Fault::Refused);
    let (answer, is_there) = request.make(&song, &process, "undisturbed").await;
    assert!(is_there, "{}", answer.excerpt());
    let mut calls = process.tap.take();
    calls.retain(|call| call.fault.is_none());

    let mut wrong = Vec::new();
    for (position, call) in calls.iter().enumerate() {
        let mut faults: Vec<Fault> = Fault::some_passing(position, call).collect();
        if is(call, "COPY ") {
            faults.retain(|fault| ![Fault::Hangs, Fault::AnswerHangs, Fault::CONCURRENT].contains(fault));
        }
        for (number, fault) in faults.into_iter().enumerate() {
            let slug = format!("repo-{position}-{number}");
            let process = prepare(&slug).await;
            script(&process, Some(position), fault);
            let began = tokio::time::Instant::now();
            let (answer, is_there) = request.make(&song, &process, &slug).await;
            let waited = began.elapsed().as_secs();
            // A client gives up after 60 seconds.
            if !is_there || waited >= 60 {
                let what = format!("{fault:?} of call {position}, {}", call.name);
                wrong.push(format!("{what}: {} after {waited} s", answer.excerpt()));
            }
            assert!(is_there || answer.status >= 500, "{fault:?} of {}: {}", call.name, answer.excerpt());
            process.tap.heal();
            song.push_tip(&process, &slug).await.expect(200);
            song.assert_whole(&cloud, &slug).await;
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn a_push_that_relies_on_an_upload_survives_any_fault_of_any_call() {
    disturb(Request::Push, |_| None).await;
}

#[tokio::test]
async fn filter_objects_finds_an_upload_through_any_fault_of_any_call() {
    disturb(Request::Filter, |_| None).await;
}

#[tokio::test]
async fn a_copy_whose_answer_was_lost_is_recognised_through_any_fault_of_any_call() {
    disturb(Request::Push, |call| is(call, "COPY ").then_some(Fault::AnswerLost)).await;
}

/// The client waits for 60 seconds, and can do nothing but wait: it is to hear in time that the request is to be sent
/// again.
#[tokio::test]
async fn a_copy_that_hangs_is_given_up_while_the_client_is_still_there() {
    let (cloud, song) = (Cloud::start().await, song());
    let mut late = Vec::new();
    for fault in [Fault::Hangs, Fault::AnswerHangs] {
        for request in Request::BOTH {
            let slug = tests::hub::fresh_name("song");
            let process = cloud.process();
            put(&song.begin(&process, &slug).await, song.object.content.clone()).await;
            process.tap.fail_once(fault, |call| is(call, "COPY "));
            let began = tokio::time::Instant::now();
            let (answer, is_there) = request.make(&song, &process, &slug).await;
            let waited = began.elapsed().as_secs();
            if waited >= 60 {
                late.push(format!("{request:?}, {fault:?}: {} after {waited} s", answer.status));
            }
            assert!(is_there || answer.status == 503, "{}", answer.excerpt());
            process.tap.heal();
            song.assert_counts(&cloud, &slug).await;
        }
    }
    assert_eq!(late, Vec::<String>::new());
}

/// So it calls the further attempt at a copy that goes on, because no answer said that it does.
#[tokio::test]
async fn a_copy_that_s3_calls_concurrent_with_another_is_made_again() {
    let (cloud, song) = (Cloud::start().await, song());
    for request in Request::BOTH {
        let slug = tests::hub::fresh_name("song");
        let process = cloud.process();
        put(&song.begin(&process, &slug).await, song.object.content.clone()).await;
        process.tap.fail_once(Fault::CONCURRENT, |call| is(call, "COPY "));
        let (answer, is_there) = request.make(&song, &process, &slug).await;
        assert!(is_there, "{request:?}: {}", answer.excerpt());
        song.assert_counts(&cloud, &slug).await;
    }
}

/// A process that is killed, or whose answer no client waits for any more, at each of its calls.
#[tokio::test]
async fn a_request_that_dies_at_any_call_can_be_made_by_another_process() {
    let (cloud, song) = (Cloud::start().await, song());
    for request in Request::BOTH {
        for (position, is_made) in (0..).flat_map(|position| [(position, false), (position, true)]) {
            let slug = tests::hub::fresh_name("song");
            let process = cloud.process();
            put(&song.begin(&process, &slug).await, song.object.content.clone()).await;
            let (mut number, died) = (0, Arc::new(Notify::new()));
            let dies = Arc::clone(&died);
            process.tap.script(move |_| {
                number += 1;
                if number != position + 1 {
                    return Reaction::Forward;
                }
                let dies = Arc::clone(&dies);
                let death = Box::pin(async move {
                    dies.notify_one();
                    std::future::pending().await
                });
                if is_made { Reaction::Between(Box::pin(async {}), death) } else { Reaction::After(death) }
            });
            let lived = tokio::select! {
                outcome = request.make(&song, &process, &slug) => Some(outcome),
                () = died.notified() => None,
            };
            let next = cloud.process();
            let (answer, is_there) = request.make(&song, &next, &slug).await;
            assert!(is_there, "{request:?} died at call {position}: {}", answer.excerpt());
            song.assert_counts(&cloud, &slug).await;
            if let Some((_, is_there)) = lived {
                assert!(is_there && position > 8, "it made all its {position} calls");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_url_to_put_to_is_given_out_through_any_fault_of_any_call() {
    let (cloud, song) = (Cloud::start().await, song());
    for is_new in [true, false] {
        let prepare = async || {
            let (process, slug) = (cloud.process(), tests::hub::fresh_name("song"));
            if !is_new {
                song.push_base(&process, &slug).await;
            }
            process.tap.take();
            (process, slug)
        };
        let (process, slug) = prepare().await;
        process.put_url(&slug, &song.object.id).await;
        for (position, call) in process.tap.take().iter().enumerate() {
            for fault in Fault::some_passing(position, call) {
                let (process, slug) = prepare().await;
                fail_nth(&process, position, fault);
                let url = process.put_url(&slug, &song.object.id).await;
                process.tap.heal();
                put(&url, song.object.content.clone()).await;
                process.push_onto(&slug, "main", &song.history, &[], &song.base).await.expect(200);
                song.assert_counts(&cloud, &slug).await;
            }
        }
    }
}

/// What was uploaded before and what is at some moment, and what is said of it then.
#[derive(Clone, Copy, Debug)]
struct Overwriting {
    was_right: bool,
    is_right: bool,
}

const OVERWRITINGS: [Overwriting; 4] = [
    Overwriting { was_right: true, is_right: false },
    Overwriting { was_right: false, is_right: true },
    Overwriting { was_right: false, is_right: false },
    Overwriting { was_right: true, is_right: true },
];

/// An upload is overwritten right before each call of a request, the retry of a copy whose answer was lost among them.
async fn overwrite_before_each_call(cloud: &Cloud, request: Request, is_copy_lost: bool) {
    let song = song();
    for (number, case) in OVERWRITINGS.into_iter().enumerate() {
        for position in some_of(0..) {
            let slug = format!("{request:?}-{number}-{position}").to_lowercase();
            let process = cloud.process();
            let url = song.begin(&process, &slug).await;
            let content = |is_right, number| if is_right { song.object.content.clone() } else { song.wrong(number) };
            put(&url, content(case.was_right, 1)).await;
            process.tap.take();

            let (mut calls, mut is_lost) = (0, is_copy_lost);
            let mut overwritten = Some((url.clone(), content(case.is_right, 2)));
            process.tap.script(move |call| {
                calls += 1;
                if is_lost && is(call, "COPY ") {
                    is_lost = false;
                    if calls <= position {
                        return Reaction::Fail(Fault::AnswerLost);
                    }
                }
                match overwritten.take_if(|_| calls == position + 1) {
                    Some((url, content)) => Reaction::After(Box::pin(async move { put(&url, content).await })),
                    None => Reaction::Forward,
                }
            });
            let (answer, is_there) = request.make(&song, &process, &slug).await;
            process.tap.heal();
            let calls = process.tap.take();
            let is_after = position >= calls.len();
            if is_after {
                put(&url, content(case.is_right, 2)).await;
            }
            let what = format!("{case:?} before call {position} of {:?}: {}", sequence(&calls), answer.excerpt());
            if !is_there && matches!(request, Request::Push) {
                answer.refused(422, "missing_references");
            } else {
                assert_eq!(answer.status, 200, "{what}");
            }
            let may_be_there = case.was_right || case.is_right && !is_after;
            let has_to_be_there = case.was_right && (case.is_right || is_after);
            assert!((may_be_there || !is_there) && (is_there || !has_to_be_there), "{what}");
            if is_there || case.is_right {
                // What was counted stays, and what is right counts.
                song.assert_counts(cloud, &slug).await;
            } else {
                let cold = cloud.process();
                for process in [&process, &cold] {
                    assert_eq!(process.missing(&slug, &[&song.object.id]).await, [song.object.id.as_str()], "{what}");
                    song.push_tip(process, &slug).await.refused(422, "missing_references");
                    song.assert_not_served(process, &slug).await;
                }
                song.assert_can_be_sent_again(cloud, &slug, &url).await;
            }
            if is_after {
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_upload_that_is_overwritten_while_it_is_looked_for_counts_if_it_is_right() {
    overwrite_before_each_call(&Cloud::start().await, Request::Filter, false).await;
}

#[tokio::test]
async fn an_upload_that_is_overwritten_during_a_push_counts_if_it_is_right() {
    overwrite_before_each_call(&Cloud::start().await, Request::Push, false).await;
}

#[tokio::test]
async fn an_upload_that_is_overwritten_while_its_copy_goes_unheard_counts_if_it_is_right() {
    let cloud = Cloud::start().await;
    for request in Request::BOTH {
        overwrite_before_each_call(&cloud, request, true).await;
    }
}

/// The calls by which two that take the same upload can get into each other's way.
const CONTENDED: [&str; 4] = ["LIST ", "COPY ", "Transact", "DELETE uploads/"];
/// Those and the call by which one sees the other.
const CONTENDED_OR_SEEN: [&str; 5] = ["LIST ", "COPY ", "Transact", "DELETE uploads/", "Query PACK#"];

/// Two processes make their requests at the same time, these calls of theirs in this order, while a client PUTs right
/// and wrong bytes; the first of them are there before.
async fn take_at_once(
    cloud: &Cloud,
    song: &Song,
    (names, order): (&'static [&str], &[usize]),
    requests: [Request; 2],
    puts: &[bool],
) {
    let slug = tests::hub::fresh_name("song");
    let processes = [cloud.process(), cloud.process()];
    let url = song.begin(&processes[0], &slug).await;
    // Both know the repo, so that their contended calls are those of the upload.
    processes[1].missing(&slug, &[&song.object.id]).await;
    let (before, meanwhile) = puts.split_first().expect("something is put");
    let content = |is_right: bool, number: u8| if is_right { song.object.content.clone() } else { song.wrong(number) };
    put(&url, content(*before, 1)).await;

    let turns = Turns::new(order);
    for (who, process) in processes.iter().enumerate() {
        process.tap.take();
        turns.order(who, &process.tap, move |call| names.iter().any(|name| is(call, name)));
    }
    let ask = async |who: usize| {
        let outcome = requests[who].make(song, &processes[who], &slug).await;
        (outcome, requests[who], who)
    };
    let client = async {
        for (number, is_right) in (2..).zip(meanwhile) {
            turns.take(2, put(&url, content(*is_right, number))).await;
        }
    };
    let (first, second, ()) =
        tokio::join!(turns.through(0, ask(0)), turns.through(1, ask(1)), turns.through(2, client));
    let story = || {
        let calls = processes.iter().map(|process| process.tap.take()).map(|calls| format!("{:?}", sequence(&calls)));
        format!("{order:?} {puts:?}\n{}", calls.collect::<Vec<_>>().join("\n"))
    };
    for ((answer, is_there), request, who) in [first, second] {
        let is_answered = answer.status == 200 || matches!(request, Request::Push) && answer.status == 422;
        assert!(is_answered, "{who}: {}\n{}", answer.excerpt(), story());
        if puts.iter().all(|is_right| *is_right) {
            assert!(is_there, "{who} did not find it: {}\n{}", answer.excerpt(), story());
        }
        if puts.iter().all(|is_right| !is_right) {
            assert!(!is_there, "{who} found it: {}\n{}", answer.excerpt(), story());
        }
        if is_there {
            processes[who].tap.heal();
            song.push_tip(&processes[who], &slug).await.expect(200);
            song.assert_whole(cloud, &slug).await;
        }
    }
    if puts.last() == Some(&false) {
        song.assert_can_be_sent_again(cloud, &slug, &url).await;
    } else {
        song.assert_counts(cloud, &slug).await;
    }
    for process in &processes {
        process.tap.heal();
        song.assert_served(process, &slug).await;
    }
}

#[tokio::test]
async fn two_that_take_one_upload_in_whatever_order_both_have_it() {
    let (cloud, song) = (Cloud::start().await, song());
    // A push has one more, that of its own.
    for order in some_of(interleavings(4, 5)) {
        take_at_once(&cloud, &song, (&CONTENDED, &order), Request::BOTH, &[true]).await;
    }
}

#[tokio::test]
async fn two_that_look_at_one_wrong_upload_in_whatever_order_neither_has_it() {
    let (cloud, song) = (Cloud::start().await, song());
    for order in some_of(interleavings(3, 3)) {
        take_at_once(&cloud, &song, (&CONTENDED, &order), Request::BOTH, &[false]).await;
    }
}

#[test]
fn whatever_is_put_while_two_take_it_a_wrong_upload_never_counts_and_a_right_one_does() {
    let request = || prop_oneof![Just(Request::Filter), Just(Request::Push)];
    let puts = proptest::collection::vec(any::<bool>(), 1..4);
    let order = Just([vec![0; 8], vec![1; 8], vec![2; 3]].concat()).prop_shuffle();
    let cases = (order, [request(), request()], puts);
    for_every(150, cases, Cloud::start, async |cloud: &Cloud, (order, requests, puts)| {
        take_at_once(cloud, &song(), (&CONTENDED_OR_SEEN, &order), requests, &puts).await;
    });
}

/// The XML of an answer with another text in one of its elements, or without it.
fn with_element(body: &Bytes, name: &str, text: Option<&str>) -> Bytes {
    let body = String::from_utf8(body.to_vec()).expect("XML is UTF-8");
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let (before, rest) = body.split_once(&open).expect("the element is there");
    let (_, after) = rest.split_once(&close).expect("the element ends");
    let element = text.map(|text| format!("{open}{text}{close}")).unwrap_or_default();
    format!("{before}{element}{after}").into()
}

fn sha256(content: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha256::digest(content))
}

/// From here on S3 says of every copy, whatever it is, that this is its checksum.
fn give_checksums_of_copies(process: &Process, kind: Option<&'static str>, checksum: Option<String>) {
    process.tap.script(move |call| {
        let checksum = checksum.clone();
        if is(call, "COPY ") {
            return Reaction::Rewritten(Box::new(move |body| {
                let body = with_element(&body, "ChecksumSHA256", checksum.as_deref());
                with_element(&body, "ChecksumType", kind)
            }));
        }
        Reaction::Forward
    });
}

/// A right and a wrong upload, of whose copies S3 says something that is not to be relied on.
async fn hash_what_is_said(
    cloud: &Cloud,
    song: &Song,
    kind: Option<&'static str>,
    checksum: impl Fn(bool) -> Option<String>,
) {
    for request in Request::BOTH {
        for is_right in [true, false] {
            let slug = tests::hub::fresh_name("song");
            let process = cloud.process();
            let url = song.begin(&process, &slug).await;
            put(&url, if is_right { song.object.content.clone() } else { song.wrong(1) }).await;
            process.tap.take();
            give_checksums_of_copies(&process, kind, checksum(is_right));
            let (answer, is_there) = request.make(song, &process, &slug).await;
            assert_eq!(is_there, is_right, "{request:?} {kind:?}: {}", answer.excerpt());
            let reads = process.tap.take().iter().filter(|call| call.name == "GET objects/ ranged").count();
            assert_eq!(reads, song.object.content.len().div_ceil(8 << 20), "the copy was read");
            process.tap.heal();
            if !is_right {
                let cold = cloud.process();
                assert_eq!(cold.missing(&slug, &[&song.object.id]).await, [song.object.id.as_str()]);
                put(&url, song.object.content.clone()).await;
            }
            song.assert_counts(cloud, &slug).await;
        }
    }
}

#[tokio::test]
async fn a_copy_whose_hash_s3_does_not_give_is_hashed_by_the_hub() {
    let (cloud, song) = (Cloud::start().await, song());
    hash_what_is_said(&cloud, &song, None, |_| None).await;
    hash_what_is_said(&cloud, &song, Some("FULL_OBJECT"), |_| None).await;
}

#[tokio::test]
async fn a_large_copy_is_hashed_in_parts() {
    hash_what_is_said(&Cloud::start().await, &Song::of((8 << 20) + 5), None, |_| None).await;
}

#[tokio::test]
async fn a_checksum_of_parts_checksums_is_not_believed() {
    let (cloud, song) = (Cloud::start().await, song());
    // It says the opposite of what is true.
    let lie = |is_right: bool| Some(sha256(if is_right { b"wrong" } else { &song.object.content }));
    hash_what_is_said(&cloud, &song, Some("COMPOSITE"), lie).await;
    // And as S3 writes it: with the number of parts.
    hash_what_is_said(&cloud, &song, Some("COMPOSITE"), |is_right| lie(is_right).map(|lie| format!("{lie}-2"))).await;
    hash_what_is_said(&cloud, &song, None, |is_right| lie(is_right).map(|lie| format!("{lie}-2"))).await;
}

/// S3 did give the hash, in an answer that was lost. It is asked for it once more.
#[tokio::test]
async fn the_hash_of_a_copy_whose_answer_was_lost_is_asked_for_again() {
    let (cloud, song) = (Cloud::start().await, song());
    for (kind, is_believed) in [("FULL_OBJECT", true), ("COMPOSITE", false)] {
        let process = cloud.process();
        put(&song.begin(&process, kind.to_lowercase().replace('_', "-").as_str()).await, song.object.content.clone())
            .await;
        process.tap.take();
        let checksum = sha256(&song.object.content);
        let mut is_lost = false;
        process.tap.script(move |call| {
            if is(call, "COPY ") && !is_lost {
                is_lost = true;
                return Reaction::Fail(Fault::AnswerLost);
            }
            if is(call, "HEAD ") {
                return Reaction::Headed(vec![
                    ("x-amz-checksum-sha256", checksum.clone()),
                    ("x-amz-checksum-type", kind.to_owned()),
                ]);
            }
            Reaction::Forward
        });
        let slug = kind.to_lowercase().replace('_', "-");
        song.push_tip(&process, &slug).await.expect(200);
        let reads = process.tap.take().iter().filter(|call| call.name == "GET objects/ ranged").count();
        assert_eq!(reads, usize::from(!is_believed), "{kind}");
        song.assert_whole(&cloud, &slug).await;
    }
}

/// The copy that was made is not what a branch relies on until the pack that lists it is registered.
#[tokio::test]
async fn a_registration_that_is_never_answered_is_read_back() {
    let (cloud, song) = (Cloud::start().await, song());
    for (number, fault) in [Fault::AnswerLost, Fault::AnswerHangs, Fault::MadeAndAnswered(500, "InternalServerError")]
        .into_iter()
        .enumerate()
    {
        for (what, request) in ["filter", "push"].into_iter().zip(Request::BOTH) {
            let slug = format!("{what}-{number}");
            let process = cloud.process();
            put(&song.begin(&process, &slug).await, song.object.content.clone()).await;
            process.tap.fail_always(fault, Call::is_transaction);
            let (answer, is_there) = request.make(&song, &process, &slug).await;
            assert!(is_there, "{what} {fault:?}: {}", answer.excerpt());
            process.tap.heal();
            song.assert_counts(&cloud, &slug).await;
        }
    }
}

/// A storage that stays away from one kind of call: no answer says that the file is missing, and what was uploaded
/// still counts when it is back.
#[tokio::test]
async fn an_upload_that_cannot_be_taken_now_is_taken_later() {
    let (cloud, song) = (Cloud::start().await, song());
    let kinds = ["GetItem UPLOADS", "Query PACK#", "LIST ", "COPY ", "PUT packs/", "Transact"];
    let faults = [Fault::Refused, Fault::Status(500), Fault::Status(503), Fault::Hangs];
    let cases = kinds.into_iter().flat_map(|kind| faults.map(|fault| (kind, fault)));
    // That has a test of its own.
    let cases = cases.filter(|case| *case != ("COPY ", Fault::Hangs));
    for (number, (kind, fault)) in cases.enumerate() {
        for (what, request) in ["filter", "push"].into_iter().zip(Request::BOTH) {
            let slug = format!("{what}-{number}");
            let process = cloud.process();
            put(&song.begin(&process, &slug).await, song.object.content.clone()).await;
            process.tap.fail_always(fault, move |call| is(call, kind));
            let began = tokio::time::Instant::now();
            let (answer, _) = request.make(&song, &process, &slug).await;
            if what == "filter" && !["GetItem UPLOADS", "Query PACK#"].contains(&kind) {
                // An error would make the client send everything.
                assert_eq!(answer.expect(200)["missing"].as_array().map(Vec::len), Some(1), "{fault:?} of {kind}");
            } else {
                answer.refused(503, "unavailable");
            }
            let waited = began.elapsed().as_secs();
            assert!(waited < 60, "{what}: {fault:?} of {kind}: {waited} s, and a client gives up after 60");
            process.tap.heal();
            song.push_tip(&process, &slug).await.expect(200);
            song.assert_whole(&cloud, &slug).await;
        }
    }
}

/// What is left over under `uploads/` is of no use, and does no harm.
#[tokio::test]
async fn an_upload_that_is_taken_and_cannot_be_deleted_does_no_harm() {
    let (cloud, song) = (Cloud::start().await, song());
    let faults =
        [Fault::Refused, Fault::Status(500), Fault::Hangs, Fault::AnswerLost, Fault::Answered(403, "AccessDenied")];
    for (number, fault) in faults.into_iter().enumerate() {
        for (what, request) in ["filter", "push"].into_iter().zip(Request::BOTH) {
            let slug = format!("{what}-{number}");
            let process = cloud.process();
            let url = song.begin(&process, &slug).await;
            put(&url, song.object.content.clone()).await;
            process.tap.fail_always(fault, |call| is(call, "DELETE "));
            let (answer, is_there) = request.make(&song, &process, &slug).await;
            assert!(is_there, "{what} {fault:?}: {}", answer.excerpt());
            process.tap.heal();
            song.assert_counts(&cloud, &slug).await;
            put(&url, song.wrong(3)).await;
            song.assert_counts(&cloud, &slug).await;
        }
    }
}

/// A wrong upload whose copy and itself cannot be deleted is looked at again and again, and counts at no time.
#[tokio::test]
async fn a_wrong_upload_that_cannot_be_deleted_counts_for_nothing() {
    let (cloud, song) = (Cloud::start().await, song());
    let process = cloud.process();
    let url = song.begin(&process, "song").await;
    put(&url, song.wrong(1)).await;
    process.tap.fail_always(Fault::Answered(403, "AccessDenied"), |call| is(call, "DELETE "));
    for _ in 0..3 {
        for request in Request::BOTH {
            let (_, is_there) = request.make(&song, &process, "song").await;
            assert!(!is_there);
        }
    }
    song.assert_not_served(&process, "song").await;
    put(&url, song.object.content.clone()).await;
    song.push_tip(&process, "song").await.expect(200);
    song.assert_whole(&cloud, "song").await;
}

/// Two uploads at once, one of which S3 does not copy: the other is not lost.
#[tokio::test]
async fn of_many_uploads_one_that_cannot_be_copied_takes_none_with_it() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    song().push_base(&process, "song").await;
    let objects: Vec<Object> = (0..40_u8).map(|number| Object::new(vec![number; 500])).collect();
    let ids: Vec<&str> = objects.iter().map(|object| object.id.as_str()).collect();
    let urls = process.presigned("put", "song", &ids).await;
    for object in &objects {
        put(&urls[&object.id], object.content.clone()).await;
    }
    for (copied, missing) in [(0, 40), (17, 23)] {
        let mut copies = 0;
        process.tap.script(move |call| {
            copies += usize::from(is(call, "COPY "));
            fault_or_forward((is(call, "COPY ") && copies > copied).then_some(Fault::Refused))
        });
        assert_eq!(process.missing("song", &ids).await.len(), missing, "what was copied is the repo's");
    }
    process.tap.heal();
    assert!(process.missing("song", &ids).await.is_empty());
    process.tap.take();
    assert!(process.missing("song", &ids).await.is_empty());
    assert!(process.tap.take().iter().all(|call| !call.is_s3()), "they are known now");
}

/// More than S3 lists on a page, and more than are registered at once: whatever page is not answered at first, they are
/// found, and what was registered before a fault stays registered.
#[tokio::test]
async fn more_uploads_than_one_page_has_are_taken_in_as_far_as_storage_allows() {
    const COUNT: usize = 1_001;
    let cloud = Cloud::start().await;
    let process = cloud.process();
    song().push_base(&process, "song").await;
    let objects: Vec<Object> = (0..COUNT).map(|number| Object::new(format!("take {number}"))).collect();
    let ids: Vec<&str> = objects.iter().map(|object| object.id.as_str()).collect();
    process.presigned("put", "song", &ids).await;
    let repo_id = process.repo_id("song").await;
    for object in &objects {
        cloud.put(&format!("uploads/{repo_id}/{}", object.id), object.content.clone()).await;
    }
    process.tap.take();

    let mut pages = 0;
    process.tap.fail_always(Fault::Refused, move |call| {
        pages += usize::from(is(call, "LIST "));
        is(call, "LIST ") && pages > 1
    });
    assert_eq!(process.missing("song", &ids).await.len(), COUNT);
    assert!(process.tap.take().iter().all(|call| !is(call, "COPY ")));

    let (mut pages, mut transactions) = (0, 0);
    process.tap.script(move |call| {
        pages += usize::from(is(call, "LIST "));
        transactions += usize::from(call.is_transaction());
        match (is(call, "LIST ") && pages == 2, call.is_transaction() && transactions > 1) {
            (true, _) => Reaction::Fail(Fault::BrokenOff(99)),
            (_, true) => Reaction::Fail(Fault::Refused),
            _ => Reaction::Forward,
        }
    });
    let missing = process.missing("song", &ids).await.len();
    assert!(0 < missing && missing < COUNT, "{missing} of {COUNT}");
    process.tap.heal();
    process.tap.take();
    assert!(cloud.process().missing("song", &ids).await.is_empty());
    assert!(process.missing("song", &ids).await.is_empty());
    assert!(process.tap.take().iter().all(|call| !is(call, "COPY ")), "another has taken them meanwhile");
}
