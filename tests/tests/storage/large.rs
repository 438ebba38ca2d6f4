//! Large objects that S3 does not give back as they were stored: a client that asks for one is refused or cut off, and never
//! gets wrong bytes that look complete.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use service::CutOff;
use service::routes::Function;
use tests::client::Answer;
use tests::encoding::Encoding;
use tests::history::{Builder, History, Object, Pack, Tree};
use tests::wiretap::{Call, Fault, Reaction};

use crate::faults::fail_nth;
use crate::process::{Cloud, Process, assert_is, put};

/// What the hub reads of a large object at once.
const READ: usize = 2 << 20;

/// One commit with a file of one read, one of two, an empty one, and small ones that lie in a pack.
fn album() -> (History, Vec<Object>) {
    let mut builder = Builder::new(21);
    let mut tree = builder.files(3);
    let large: Vec<Object> = [0, 100_000, READ + 5_000].map(|size| Object::new(builder.bytes(size))).into();
    for object in &large {
        tree.insert(format!("{}.flac", object.content.len()), object.content.clone());
    }
    builder.commit(&[], &tree);
    (builder.finish(), large)
}

/// `song` with all of it, the large files uploaded; and the calls that stored them.
async fn pushed(cloud: &Cloud) -> (Process, History, Vec<Object>, Vec<Call>) {
    let (history, large) = album();
    let process = cloud.process();
    let ids: Vec<&str> = large.iter().map(|object| object.id.as_str()).collect();
    let urls = process.presigned("put", "song", &ids).await;
    for object in &large {
        put(&urls[&object.id], object.content.clone()).await;
    }
    assert!(process.missing("song", &ids).await.is_empty());
    let mut bundle = history.pack_of(history.last()).with_head("main", history.last());
    bundle.objects.retain(|object| !ids.contains(&object.id.as_str()));
    process.push("song", "main", false, &bundle).await.expect(200);
    let calls = process.tap.take();
    (process, history, large, calls)
}

/// What is in front of S3 asks it under its own name, as CloudFront does.
#[tokio::test]
async fn urls_lead_to_what_is_in_front_of_s3_and_are_good_where_it_passes_them_on() {
    const FRONT: &str = "https://hub.example/-/storage";
    let cloud = Cloud::start().await;
    let (history, large) = album();
    let mut process = cloud.process();
    let ids: Vec<&str> = large.iter().map(|object| object.id.as_str()).collect();
    let at_its_own_name = process.presigned("put", "song", &ids[..1]).await.remove(ids[0]).expect("a URL");
    let (_, path) = at_its_own_name.split_once("://").and_then(|(_, rest)| rest.split_once('/')).expect("a path");
    let own = at_its_own_name.strip_suffix(&format!("/{path}")).expect("it ends so").to_owned();

    process.hub.settings.storage_url = Some(FRONT.to_owned());
    let passed_on = |url: &str| format!("{own}{}", url.strip_prefix(FRONT).expect("it leads to what is in front"));
    let urls = process.presigned("put", "song", &ids).await;
    for object in &large {
        put(&passed_on(&urls[&object.id]), object.content.clone()).await;
    }
    assert!(process.missing("song", &ids).await.is_empty(), "what was put is there");
    process
        .push("song", "main", false, &history.pack_of(history.last()).with_head("main", history.last()))
        .await
        .expect(200);
    let urls = process.presigned("get", "song", &ids[2..]).await;
    let got = tests::client::send("GET", &passed_on(&urls[ids[2]]), &[], "").await.expect("S3 answers");
    assert!(got.status == 200 && got.body == large[2].content, "{}", got.excerpt());

    let upload = process.start_upload("song").await.expect(200);
    let body = Encoding::Json.encode(&serde_json::json!({"object_ids": ids}));
    put(&passed_on(upload["url"].as_str().expect("a URL")), body).await;
    let id = upload["upload_id"].as_str().expect("an id");
    process.call_by_reference(Function::FilterObjects, "song", Encoding::Json, id).await.expect(200);
}

fn is_large_read(call: &Call) -> bool {
    call.name == "GET objects/ ranged"
}

/// The read of this number goes wrong, or all from there on.
fn damage(process: &Process, position: usize, fault: Fault, for_good: bool) {
    let mut reads = 0;
    process.tap.script(move |call| {
        reads += usize::from(is_large_read(call));
        let is_meant = is_large_read(call) && (reads == position + 1 || for_good && reads > position);
        if is_meant { Reaction::Fail(fault) } else { Reaction::Forward }
    });
}

const DAMAGES: [Fault; 6] = [
    Fault::FlippedBit(0),
    Fault::FlippedBit(77_777),
    Fault::FlippedBit(u64::MAX / 3),
    Fault::CutShort(0),
    Fault::CutShort(4_321),
    Fault::BrokenOff(4_321),
];

/// How an answer ended that is not to be believed; none for one that was as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Well,
    CutOff,
    Status(u16),
}

#[track_caller]
fn end(answer: &Result<Answer, CutOff>, is_well: impl FnOnce(&Answer)) -> End {
    match answer {
        Err(CutOff) => End::CutOff,
        Ok(answer) if (200..300).contains(&answer.status) => {
            is_well(answer);
            End::Well
        }
        Ok(answer) => {
            let refusal = answer.refusal().expect("a refusal");
            assert!([500, 503].contains(&refusal.status), "{}", answer.excerpt());
            End::Status(refusal.status)
        }
    }
}

/// A length that is what was promised, and these bytes.
#[track_caller]
fn assert_bytes(answer: &Answer, content: &[u8]) {
    assert_eq!(answer.header("content-length"), content.len().to_string());
    assert!(answer.body == content, "wrong bytes that look complete");
}

fn assert_seen(ends: &BTreeMap<(bool, End), usize>) {
    let seen: BTreeSet<End> = ends.iter().map(|((_, end), _)| *end).collect();
    for wanted in [End::Well, End::CutOff, End::Status(500)] {
        assert!(seen.contains(&wanted), "{ends:?}");
    }
    // What is damaged for good is never well.
    assert!(!ends.contains_key(&(true, End::Well)), "{ends:?}");
}

#[tokio::test]
async fn an_object_that_is_damaged_is_cut_off_or_refused() {
    let cloud = Cloud::start().await;
    let (warm, _, large, _) = pushed(&cloud).await;
    let repo_id = warm.repo_id("song").await;
    let mut ends: BTreeMap<(bool, End), usize> = BTreeMap::new();
    for object in &large {
        warm.tap.take();
        let answer = warm.object(&repo_id, &object.id).await.expect("a whole answer");
        assert_bytes(&answer, &object.content);
        let reads = warm.tap.take().into_iter().filter(is_large_read).count();
        assert_eq!(reads, object.content.len().div_ceil(READ));
        for position in 0..reads {
            for (fault, for_good) in DAMAGES.into_iter().flat_map(|fault| [(fault, true), (fault, false)]) {
                for process in [&warm, &cloud.process()] {
                    damage(process, position, fault, for_good);
                    let answer = process.object(&repo_id, &object.id).await;
                    process.tap.heal();
                    let end = end(&answer, |answer| assert_bytes(answer, &object.content));
                    *ends.entry((for_good, end)).or_default() += 1;
                }
            }
        }
        // What was damaged on its way is not remembered.
        assert_bytes(&warm.object(&repo_id, &object.id).await.expect("a whole answer"), &object.content);
    }
    assert_seen(&ends);
}

#[tokio::test]
async fn an_object_that_has_a_large_frame_of_its_own_is_whole_or_cut_off() {
    let cloud = Cloud::start().await;
    let mut builder = Builder::new(41);
    let content = builder.bytes(2 * READ + 500_000);
    let id = Object::new(content.clone()).id;
    builder.commit(&[], &Tree::from([("album.wav".to_owned(), content.clone())]));
    let history = builder.finish();
    let warm = cloud.process();
    warm.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    let repo_id = warm.repo_id("song").await;
    let is_pack_read = |call: &Call| call.name == "GET packs/ ranged";
    let mut ends: BTreeMap<End, usize> = BTreeMap::new();
    for position in 0..4 {
        for fault in DAMAGES {
            let mut reads = 0;
            warm.tap.script(move |call| {
                reads += usize::from(is_pack_read(call));
                let is_meant = is_pack_read(call) && reads == position + 1;
                if is_meant { Reaction::Fail(fault) } else { Reaction::Forward }
            });
            let answer = warm.object(&repo_id, &id).await;
            warm.tap.heal();
            let end = end(&answer, |answer| assert_bytes(answer, &content));
            *ends.entry(end).or_default() += 1;
        }
    }
    assert!(ends.keys().any(|end| matches!(end, End::CutOff)), "{ends:?}");
    assert_bytes(&warm.object(&repo_id, &id).await.expect("a whole answer"), &content);
    let pack = Pack::from_value(&warm.fetch::<_, &str>("song", &[history.last()], &[]).await.unwrap().expect(200));
    assert_is(&history, &[history.last()], &pack.unwrap());
}

#[tokio::test]
async fn a_fetch_of_damaged_objects_is_cut_off_or_refused() {
    let cloud = Cloud::start().await;
    let (warm, history, large, _) = pushed(&cloud).await;
    let reads: usize = large.iter().map(|object| object.content.len().div_ceil(READ)).sum();
    let mut ends: BTreeMap<(bool, End), usize> = BTreeMap::new();
    for position in 0..reads {
        for (fault, for_good) in DAMAGES.into_iter().flat_map(|fault| [(fault, true), (fault, false)]) {
            // Half of the cases in either encoding.
            let encoding = Encoding::BOTH[usize::from(for_good)];
            damage(&warm, position, fault, for_good);
            let answer = warm.fetch_as::<_, &str>(encoding, "song", &[history.last()], &[]).await;
            warm.tap.heal();
            let end = end(&answer, |answer| {
                let pack = Pack::from_value(&answer.expect(200)).expect("a fetch's answer");
                assert_is(&history, &[history.last()], &pack);
            });
            *ends.entry((for_good, end)).or_default() += 1;
        }
    }
    assert!(ends.contains_key(&(true, End::CutOff)) && ends.contains_key(&(false, End::Well)), "{ends:?}");
    assert!(!ends.contains_key(&(true, End::Well)), "{ends:?}");
}

#[tokio::test]
async fn an_object_is_served_through_any_fault_of_any_call() {
    let cloud = Cloud::start().await;
    let (sender, history, large, _) = pushed(&cloud).await;
    let repo_id = sender.repo_id("song").await;
    let packed = history.objects.iter().find(|(id, _)| large.iter().all(|object| object.id != **id));
    let (packed, _) = packed.expect("a file in a pack");
    for object in [history.object(packed), large[1].clone()] {
        for is_cold in [false, true] {
            let prepare = async || {
                let process = cloud.process();
                if !is_cold {
                    assert!(process.missing("song", &[&object.id]).await.is_empty());
                }
                process.tap.take();
                process
            };
            let process = prepare().await;
            process.object(&repo_id, &object.id).await.expect("a whole answer");
            for (position, call) in process.tap.take().iter().enumerate() {
                for fault in Fault::some_passing(position, call) {
                    let process = prepare().await;
                    fail_nth(&process, position, fault);
                    let answer = process.object(&repo_id, &object.id).await.expect("a whole answer");
                    assert_eq!(answer.status, 200, "{fault:?} of {}: {}", call.name, answer.excerpt());
                    assert_bytes(&answer, &object.content);
                }
            }
        }
    }
}

/// Of a part S3's word is taken for its bytes, and not for their number.
#[tokio::test]
async fn a_part_of_an_object_that_is_cut_short_is_refused() {
    let cloud = Cloud::start().await;
    let (process, _, large, _) = pushed(&cloud).await;
    let repo_id = process.repo_id("song").await;
    for object in &large[1..] {
        let content = &object.content;
        for range in [10..50, 0..content.len() - 1, content.len() - 100..content.len()] {
            let asked = format!("bytes={}-{}", range.start, range.end - 1);
            for fault in [Fault::CutShort(7), Fault::CutShort(0), Fault::BrokenOff(7), Fault::Status(500)] {
                process.tap.fail_always(fault, is_large_read);
                let answer = process.object_part(&repo_id, &object.id, Some(&asked)).await;
                process.tap.heal();
                assert_ne!(end(&answer, |_| ()), End::Well, "{fault:?} of {asked}");
            }
            let answer = process.object_part(&repo_id, &object.id, Some(&asked)).await.expect("a whole answer");
            assert_eq!(answer.status, 206, "{}", answer.excerpt());
            assert_bytes(&answer, &content[range]);
        }
    }
}

#[tokio::test]
async fn a_large_object_that_is_gone_is_a_500_for_requests_that_need_it() {
    let cloud = Cloud::start().await;
    let (warm, history, large, calls) = pushed(&cloud).await;
    let object = &large[2];
    let copy = calls.iter().find(|call| call.name == "COPY objects/" && call.key.ends_with(&object.id));
    cloud.delete(&copy.expect("it was copied").key).await;
    let repo_id = warm.repo_id("song").await;
    for process in [&warm, &cloud.process()] {
        process.object(&repo_id, &object.id).await.expect("nothing was sent yet").refused(500, "internal_error");
        let answer = process.fetch::<_, &str>("song", &[history.last()], &[]).await;
        assert_ne!(end(&answer, |_| ()), End::Well);
        // The others are not concerned.
        let other = process.object(&repo_id, &large[1].id).await.expect("a whole answer");
        assert_bytes(&other, &large[1].content);
        assert_eq!(process.heads("song").await["main"], history.last());
    }
}

/// An operator with the right to has put other bytes there.
#[tokio::test]
async fn a_large_object_that_was_replaced_is_never_served() {
    let cloud = Cloud::start().await;
    let (warm, history, large, calls) = pushed(&cloud).await;
    let repo_id = warm.repo_id("song").await;
    for object in &large[1..] {
        let copy = calls.iter().find(|call| call.name == "COPY objects/" && call.key.ends_with(&object.id));
        let key = &copy.expect("it was copied").key;
        let content = &object.content;
        let flipped = |place: usize| {
            let mut bytes = content.to_vec();
            bytes[place] ^= 1;
            Bytes::from(bytes)
        };
        for replaced in
            [flipped(0), flipped(content.len() - 1), content.slice(1..), [&content[..], b"!"].concat().into()]
        {
            let is_longer = replaced.len() > content.len();
            cloud.put(key, replaced).await;
            let answer = warm.object(&repo_id, &object.id).await;
            let end = end(&answer, |answer| assert_bytes(answer, content));
            // What was only added to the end is not read.
            assert_eq!(end == End::Well, is_longer, "{end:?}");
            let answer = warm.fetch::<_, &str>("song", &[history.last()], &[]).await;
            let end = self::end(&answer, |answer| {
                let pack = Pack::from_value(&answer.expect(200)).expect("a fetch's answer");
                assert_is(&history, &[history.last()], &pack);
            });
            assert_eq!(end == End::Well, is_longer, "{end:?}");
        }
        cloud.put(key, content.clone()).await;
    }
    let answer = warm.fetch::<_, &str>("song", &[history.last()], &[]).await.expect("a whole answer");
    assert_is(&history, &[history.last()], &Pack::from_value(&answer.expect(200)).expect("a fetch's answer"));
}

#[tokio::test]
async fn a_large_file_is_sent_whole_from_its_raw_page() {
    let cloud = Cloud::start().await;
    let (process, _, large, _) = pushed(&cloud).await;
    for object in &large {
        let raw = process.page(&format!("/dev/song/raw/main/{}.flac", object.content.len())).await;
        assert_eq!((raw.status, raw.header("content-type")), (200, "audio/flac"));
        assert!(raw.body == object.content, "{} bytes", object.content.len());
    }
    let shown = process.page("/dev/song/blob/main/100000.flac").await;
    assert_eq!(shown.status, 200, "{}", shown.excerpt());
}
