//! `GET /api/repos/{owner}/{slug}/stats`: for readers of the repo, in both encodings.

use tests::encoding::Encoding;
use tests::history;
use tests::hub::Hub;

#[tokio::test]
async fn stats_are_for_readers_of_the_repo() {
    let hub = Hub::start().await;
    let (owner, stranger) = (hub.user().await, hub.user().await);
    let history = history::linear(3, 5, 4, 2);
    for is_private in [false, true] {
        let remote = hub.made_repo(&owner, is_private).await;
        let path = format!("api/repos/{}/{}/stats", remote.owner, remote.slug);
        let empty = remote.at_root("GET", &path, &[]).await.expect(200);
        assert_eq!((empty["commits"].as_u64(), empty["packs"]["count"].as_u64()), (Some(0), Some(0)), "{empty}");
        remote.push(&history, "main", history.last()).await.expect(200);
        for encoding in Encoding::BOTH {
            let answer = remote.at_root("GET", &path, &[("accept", encoding.accept())]).await;
            assert_eq!(answer.encoding(), encoding);
            let stats = answer.expect(200);
            assert_eq!(stats["repo_id"], remote.repo_id().await);
            assert_eq!((stats["branches"].as_u64(), stats["commits"].as_u64()), (Some(1), Some(5)), "{stats}");
            assert_eq!(stats["objects"].as_u64(), Some(history.objects.len() as u64));
            let answer = &stats["clone"]["answer"];
            let size = async |encoding: Encoding| {
                let heads: Vec<String> = remote.heads().await.into_values().collect();
                let have: [&str; 0] = [];
                let asking = remote.speaking(encoding);
                let body = serde_json::json!({"want": heads, "have": have});
                asking.post("fetch", &body).await.body.len() as f64
            };
            for (name, encoding) in [("msgpack_bytes", Encoding::Msgpack), ("json_bytes", Encoding::Json)] {
                let (estimated, sent) = (answer[name].as_f64().unwrap(), size(encoding).await);
                assert!((0.9..1.2).contains(&(estimated / sent)), "{name}: {estimated} for {sent}");
            }
            assert_eq!(answer["stock_bytes"], 67_108_864);
            assert!(stats["clone"]["warm"]["dollars"].as_f64().is_some_and(|dollars| dollars > 0.0), "{stats}");
        }
        for other in [remote.anonymous(), remote.with_token(&stranger.token)] {
            let answer = other.at_root("GET", &path, &[]).await;
            if is_private {
                answer.refused(404, "repo_not_found");
            } else {
                answer.expect(200);
            }
        }
    }
    hub.get("api/repos/nobody/nothing/stats").await.refused(404, "repo_not_found");
    hub.stop().await;
}
