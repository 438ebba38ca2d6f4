//! Clients that read slowly, or not at all, and how others fare.

use std::time::Duration;

use http_body_util::BodyExt;
use tests::history::{Builder, History};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::process::{Cloud, Process};

/// A repo whose clone is longer than what waits for a client in memory.
async fn begun(cloud: &Cloud) -> (Process, History) {
    let mut builder = Builder::new(12);
    let mut tree = builder.files(3);
    for number in 0..40 {
        tree.insert(format!("take-{number}.wav"), builder.bytes(60_000));
    }
    builder.commit(&[], &tree);
    let history = builder.finish();
    let process = cloud.process();
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    (process, history)
}

#[tokio::test]
async fn clones_of_which_nothing_is_read_hold_up_no_other_client() {
    let cloud = Cloud::start().await;
    let (process, history) = begun(&cloud).await;
    let mut unread = Vec::new();
    for _ in 0..40 {
        let answer = process.begin_clone("song", history.last()).await;
        assert_eq!(answer.status(), 200);
        unread.push(answer);
    }
    let began = Instant::now();
    let whole = process.fetch::<_, &str>("song", &[history.last()], &[]).await.expect("a whole answer");
    assert_eq!(whole.status, 200);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    // A client that reads on after a while gets all of it.
    let late = unread.pop().expect("a clone").into_body().collect().await.expect("a whole answer").to_bytes();
    assert_eq!(late, whole.body);
    // And a client that does not is cut off.
    tokio::time::sleep(Duration::from_secs(120)).await;
    for cut_off in unread {
        assert!(cut_off.into_body().collect().await.is_err());
    }
}

#[tokio::test]
async fn of_very_many_clones_of_which_nothing_is_read_those_that_wait_longest_are_cut_off() {
    let cloud = Cloud::start().await;
    let (process, history) = begun(&cloud).await;
    let mut unread = Vec::new();
    for _ in 0..150 {
        unread.push(process.begin_clone("song", history.last()).await);
        // Enough that each takes a permit and gives it to another.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let whole = process.fetch::<_, &str>("song", &[history.last()], &[]).await.expect("a whole answer");
    assert_eq!(whole.status, 200);
    let mut read = (0, 0);
    for answer in unread {
        match answer.into_body().collect().await {
            Ok(_) => read.0 += 1,
            Err(_) => read.1 += 1,
        }
    }
    assert!(read.0 >= 44 && read.1 >= 40, "{read:?}: as many as may wait are answered, and the others are cut off");
}

#[tokio::test]
async fn one_whose_clients_read_just_fast_enough_keeps_no_other_from_reading() {
    let cloud = Cloud::start().await;
    let (process, history) = begun(&cloud).await;
    let mut clones = JoinSet::new();
    for _ in 0..40 {
        let answer = process.begin_clone("song", history.last());
        // More of them than may read at the same time are never answered, as long as the others go on.
        let Ok(answer) = tokio::time::timeout(Duration::from_millis(100), answer).await else { break };
        clones.spawn(async move {
            let mut body = answer.into_body();
            while let Some(Ok(_)) = body.frame().await {
                // None of them is ever behind for long enough to give its permit to others.
                tokio::time::sleep(Duration::from_millis(450)).await;
            }
        });
    }
    assert!(clones.len() >= 20, "{}", clones.len());
    let began = Instant::now();
    let answer = process.begin_clone_as("user-other", "song", history.last()).await;
    assert_eq!(answer.status(), 200);
    answer.into_body().collect().await.expect("a whole answer");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_whose_clients_read_nothing_leaves_room_for_others_that_are_slow() {
    let cloud = Cloud::start().await;
    let (process, history) = begun(&cloud).await;
    let mut unread = Vec::new();
    for _ in 0..100 {
        unread.push(process.begin_clone("song", history.last()).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let slow = process.begin_clone_as("user-other", "song", history.last()).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    slow.into_body().collect().await.expect("a whole answer");
}
