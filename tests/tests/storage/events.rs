//! What happens in repos is told to those who listen.

use common::events::{Details, Event, Occurrence};
use common::id::RepoId;
use local::router::Function;
use serde_json::json;
use tests::history;
use tokio::sync::broadcast::Receiver;
use ulid::Ulid;

use crate::names::release;
use crate::process::{Cloud, Process};

/// What has happened since one was last asked.
async fn told(process: &Process, happened: &mut Receiver<Occurrence>) -> Vec<Event> {
    let mut events = Vec::new();
    while let Ok(occurrence) = happened.try_recv() {
        events.push(process.hub.store.event(occurrence).await.expect("the table answers").expect("a repo"));
    }
    events
}

async fn since(process: &Process, repo: &RepoId, since: Ulid, limit: usize) -> Vec<Event> {
    process.hub.store.events_since(repo, since, limit).await.expect("the table answers")
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(Event::kind).collect()
}

#[tokio::test]
async fn a_push_a_tag_a_release_and_a_new_repo_are_told_and_can_be_asked_for() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let mut happened = process.hub.store.happened();
    let history = history::linear(3, 2, 4, 1);
    let [first, second] = &history.ids()[..] else { panic!("two commits") };

    process.push_onto("song", "main", &history, &[], first).await.expect(200);
    let repo: RepoId = process.repo_id("song").await.parse().unwrap();
    let made = told(&process, &mut happened).await;
    assert_eq!(kinds(&made), ["RepoCreated", "RefUpdated"]);
    assert!(matches!(&made[0].details, Details::RepoCreated { default_branch, .. } if default_branch == "main"));
    assert!(matches!(&made[1].details, Details::RefUpdated { before: None, forced: false, .. }));

    process.push_onto("song", "main", &history, &[first], second).await.expect(200);
    let tags = json!([{"tag": "take-1", "commit_id": first}, {"tag": "take-2", "commit_id": second}]);
    process.post_tags("song", &tags).await.expect(200);
    process.post_release("song", &release("v1", second, "First")).await.expect(201);
    let more = told(&process, &mut happened).await;
    assert_eq!(kinds(&more), ["RefUpdated", "TagUpdated", "TagUpdated", "ReleasePublished"]);
    for event in made.iter().chain(&more) {
        assert_eq!((event.repo.owner.as_str(), event.repo.slug.as_str(), &event.repo.id), ("dev", "song", &repo));
        assert_eq!((event.by.as_deref(), event.version), (Some("user-dev"), 1));
        assert_eq!(event.sequence, event.id);
    }

    // What changes nothing is no event, and neither is what was refused.
    process.push_onto("song", "main", &history, &[first], second).await.expect(200);
    process.post_tags("song", &tags).await.expect(200);
    process.post_release("song", &release("v1", second, "First")).await.refused(409, "release_exists");
    process.make_repo("song").await.refused(409, "repo_exists");
    process.get(Function::Tags, "song").await.expect(200);
    assert_eq!(told(&process, &mut happened).await, []);

    let all: Vec<Event> = made.into_iter().chain(more).collect();
    let another = cloud.process();
    assert_eq!(since(&another, &repo, Ulid::nil(), 100).await, all);
    let ids: Vec<Ulid> = all.iter().map(|event| event.id.parse().unwrap()).collect();
    for (position, id) in ids.iter().enumerate() {
        assert_eq!(since(&another, &repo, *id, 100).await, all[position..]);
        assert_eq!(since(&another, &repo, *id, 1).await, all[position..=position]);
    }
    assert_eq!(since(&another, &repo, Ulid::nil(), 3).await, all[..3]);
    assert_eq!(since(&another, &repo, Ulid::from_parts(u64::MAX >> 16, 0), 100).await, []);
    assert_eq!(since(&another, &Ulid::nil().into(), Ulid::nil(), 100).await, []);
}

/// In one request, so in one batch of writes after another, and in the order of their names.
#[tokio::test]
async fn of_many_tags_the_oldest_come_first() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(4, 1, 3, 1);
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    let repo: RepoId = process.repo_id("song").await.parse().unwrap();
    for round in 0..3 {
        let tag = |number| json!({"tag": format!("v{:03}", 999 - round - number * 3), "commit_id": history.last()});
        let tags: Vec<_> = (0..70).map(tag).collect();
        process.post_tags("song", &json!(tags)).await.expect(200);
    }
    let all = since(&process, &repo, Ulid::nil(), 1_000).await;
    assert_eq!(all.len(), 2 + 3 * 70);
    assert!(all.is_sorted_by(|a, b| a.id < b.id));
    let mut paged = Vec::new();
    let mut after = Ulid::nil();
    loop {
        let page = since(&process, &repo, after, 40).await;
        let Some(last) = page.last() else { break };
        after = last.id.parse::<Ulid>().unwrap().increment().unwrap();
        paged.extend(page);
    }
    assert_eq!(paged, all);
}
