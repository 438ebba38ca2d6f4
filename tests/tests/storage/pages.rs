//! What pages read: in a few steps, whatever the length of the history, and in one where nothing has changed.

use serde_json::json;
use tests::history::{self, History};
use tests::wiretap::{sequence, steps};

use crate::process::{Cloud, OWNER, Process};

/// Histories in a process that knows them: their lengths, and in how many pushes they came.
const DEPTHS: [(&str, usize, usize); 3] = [("short", 60, 1), ("long", 600, 1), ("many-pushes", 80, 40)];

async fn warm(cloud: &Cloud, slug: &str, commits: usize, pushes: usize) -> (Process, History) {
    let process = cloud.process();
    let history = history::linear(7, commits, 20, 1);
    let ids = history.ids();
    let mut have: Vec<&str> = Vec::new();
    for last in ids.chunks(commits.div_ceil(pushes)).filter_map(|pushed| pushed.last()) {
        process.push_onto(slug, "main", &history, &have, last).await.expect(200);
        have = vec![last];
    }
    process.post_tags(slug, &json!([{"tag": "v1", "commit_id": history.last()}])).await.expect(200);
    (process, history)
}

/// The paths of a repo's pages behind its name.
fn paths(history: &History) -> Vec<String> {
    let (first, last) = (history.ids()[0].to_owned(), history.last().to_owned());
    let snapshot = history.commit(&last).snapshot_id().expect("a snapshot");
    let file = history.snapshots[snapshot].manifest.keys().next().expect("a file");
    [
        String::new(),
        "/tree/main".to_owned(),
        "/tree/v1".to_owned(),
        format!("/tree/{first}"),
        format!("/blob/main/{file}"),
        format!("/raw/v1/{file}"),
        "/commits/main".to_owned(),
        format!("/commit/{last}"),
        format!("/commit/{first}"),
        format!("/compare/{first}...main"),
        "/branches".to_owned(),
        "/log".to_owned(),
        "/-/tags".to_owned(),
        "/-/releases".to_owned(),
    ]
    .into()
}

#[tokio::test]
async fn a_page_takes_at_most_four_steps_however_long_the_history() {
    let cloud = Cloud::start().await;
    for (slug, commits, pushes) in DEPTHS {
        let (process, history) = warm(&cloud, slug, commits, pushes).await;
        for path in paths(&history) {
            let path = format!("/{OWNER}/{slug}{path}");
            // The first reader warms the process.
            let first = process.page(&path).await;
            assert_eq!(first.status, 200, "{path}: {}", first.excerpt());
            process.tap.take();
            let page = process.page(&path).await;
            let calls = process.tap.take();
            assert_eq!(page.status, 200, "{path}");
            assert!(steps(&calls) <= 4, "{path} of {slug}: {:?}", sequence(&calls));
        }
    }
}

#[tokio::test]
async fn a_list_of_commits_reads_no_more_of_a_long_history() {
    let cloud = Cloud::start().await;
    let mut reads = Vec::new();
    for commits in [400, 900] {
        let slug = format!("of-{commits}");
        let (process, _) = warm(&cloud, &slug, commits, 1).await;
        // A process that knows nothing.
        let cold = cloud.process();
        assert_eq!(cold.page(&format!("/{OWNER}/{slug}/commits/main")).await.status, 200);
        reads.push(cold.tap.take().iter().filter(|call| call.is_s3()).count());
        drop(process);
    }
    assert!(reads[1] <= reads[0] + 2, "{reads:?}");
}

#[tokio::test]
async fn a_page_that_has_not_changed_costs_one_step() {
    let cloud = Cloud::start().await;
    let (process, history) = warm(&cloud, "song", 10, 1).await;
    // What has more than the heads to say is read to know whether it has changed.
    for (path, most) in [("", 1), ("/tree/main", 1), ("/stats", 1), ("/branches", 2), ("/log", 2), ("/-/tags", 2)] {
        let path = format!("/{OWNER}/song{path}");
        let etag = process.page(&path).await.header("etag").to_owned();
        process.tap.take();
        let again = process.page_if_none_match(&path, &etag).await;
        assert_eq!(again.status, 304, "{path}");
        assert!(steps(&process.tap.take()) <= most, "{path}");
    }
    // A branch that has moved away and back was moved.
    let log = format!("/{OWNER}/song/log");
    let etag = process.page(&log).await.header("etag").to_owned();
    for head in [&history.ids()[2], history.last()] {
        let bundle = tests::history::Pack::default().with_head("main", head);
        process.push("song", "main", true, &bundle).await.expect(200);
    }
    assert_eq!(process.page_if_none_match(&log, &etag).await.status, 200);
    // A push changes it.
    let path = format!("/{OWNER}/song");
    let etag = process.page(&path).await.header("etag").to_owned();
    process.push_onto("song", "other", &history, &[], &history.ids()[3]).await.expect(200);
    assert_eq!(process.page_if_none_match(&path, &etag).await.status, 200);
}
