//! A check of a hub that goes on working: what lands while it looks is no damage.

use std::sync::Arc;

use common::id::Ids;
use fsck::{Options, check};
use tests::history::Builder;
use tests::wiretap::Reaction;

use super::song::subject;
use crate::process::Cloud;

#[tokio::test]
async fn a_push_that_lands_at_any_moment_of_a_check_is_no_damage() {
    let cloud = Cloud::start().await;
    let pusher = Arc::new(cloud.process());
    let mut builder = Builder::new(31);
    let base = builder.child(&[]);
    let next = builder.child(&[&base]);
    let history = Arc::new(builder.finish());
    for is_deep in [false, true] {
        let mut moment = 0;
        loop {
            let slug = format!("song-{is_deep}-{moment}");
            pusher.push_onto(&slug, "main", &history, &[], &base).await.expect(200);
            let process = cloud.process();
            let (they, song, pushed) = (Arc::clone(&pusher), slug.clone(), Arc::clone(&history));
            let (before, head) = (base.clone(), next.clone());
            let mut calls = 0;
            let mut push = Some(async move {
                they.push_onto(&song, "main", &pushed, &[&before], &head).await.expect(200);
                they.push_onto(&song, "other", &pushed, &[&before], &head).await.expect(200);
            });
            process.tap.script(move |_| {
                calls += 1;
                match push.take_if(|_| calls > moment) {
                    Some(push) => Reaction::After(Box::pin(push)),
                    None => Reaction::Forward,
                }
            });
            let options = Options { is_deep, ids: Ids::Strict };
            let report = check(&process.hub.store, &subject(&cloud, &slug).await, options, &|_| ()).await.unwrap();
            assert!(report.is_whole(), "at {moment}: {:?}", report.findings);
            if pusher.heads(&slug).await["main"] == base {
                // The check was over before its time came.
                break;
            }
            moment += 1;
        }
        assert!(moment > 12, "{moment} calls");
    }
}
