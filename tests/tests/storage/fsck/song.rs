//! A repo with something of every kind: packs, two branches, a forced push, staged objects, a large object, tags, releases.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use common::id::RepoId;
use fsck::{self, Options, Report, Subject};
use serde_json::json;
use store::Store;
use store::table::items::Item;
use tests::history::{Builder, History, Object};
use tests::wiretap::stop_clock;

use crate::process::{Cloud, put};

pub struct Song {
    pub slug: &'static str,
    pub history: History,
    pub heads: BTreeMap<String, String>,
    pub large: Object,
    /// Sent alone: no branch reaches it.
    pub staged: Object,
    pub repo: RepoId,
}

impl Song {
    pub async fn push(cloud: &Cloud) -> Song {
        let slug = "song";
        let process = cloud.process();
        let mut builder = Builder::new(11);
        let large = Object::new(builder.bytes(70_000));
        let mut tree = builder.files(4);
        let mut line: Vec<String> = vec![builder.commit(&[], &tree)];
        for index in 0..7 {
            tree.insert(format!("take-{index}.mid"), builder.bytes(900));
            if index == 3 {
                tree.insert("large.flac".to_owned(), large.content.clone());
            }
            let parent = line.last().unwrap().clone();
            line.push(builder.commit(&[&parent], &tree));
        }
        let side = builder.child(&[&line[2]]);
        let away = builder.child(&[&line[1]]);
        let staged = Object::new(builder.bytes(500));
        let history = builder.finish();

        process.push_onto(slug, "main", &history, &[], &line[1]).await.expect(200);
        process.push_onto(slug, "main", &history, &[&line[1]], &line[3]).await.expect(200);
        process.push_onto(slug, "side", &history, &[&line[2]], &side).await.expect(200);
        put(&process.put_url(slug, &large.id).await, large.content.clone()).await;
        assert!(process.missing(slug, &[&large.id]).await.is_empty());
        let mut rest = history.pack(&history.between(&[&line[7]], &[&line[3]])).with_head("main", &line[7]);
        rest.objects.retain(|object| object.id != large.id);
        process.push(slug, "main", false, &rest).await.expect(200);
        // A branch that goes elsewhere, and back.
        process.push_onto(slug, "away", &history, &[&line[1]], &away).await.expect(200);
        let back = history.pack(&history.between(&[&line[2]], &[&line[1]])).with_head("away", &line[2]);
        process.push(slug, "away", true, &back).await.expect(200);
        process.push_objects(slug, std::slice::from_ref(&staged)).await.expect(200);

        let tag = |label: &str, commit: &str| json!({"tag": label, "commit_id": commit});
        process.post_tags(slug, &json!([tag("v1", &line[1]), tag("v2", &line[6])])).await.expect(200);
        let release = json!({"tag": "v2", "commit_id": line[6], "title": "The second", "body": "x".repeat(300)});
        process.post_release(slug, &release).await.expect(201);

        let head = |branch: &str, commit: &String| (branch.to_owned(), commit.clone());
        let heads = BTreeMap::from([head("main", &line[7]), head("side", &side), head("away", &line[2])]);
        let repo = process.repo_id(slug).await.parse().unwrap();
        Song { slug, history, heads, large, staged, repo }
    }

    pub async fn check(&self, cloud: &Cloud, is_deep: bool) -> Report {
        check(cloud, self.slug, is_deep).await
    }

    /// What S3 has of the repo, by key.
    pub async fn files(&self, cloud: &Cloud) -> BTreeMap<String, Bytes> {
        let mut files = BTreeMap::new();
        for prefix in ["packs", "objects"] {
            for key in cloud.keys(&format!("{prefix}/{}/", self.repo)).await {
                let content = cloud.get(&key).await;
                files.insert(key, content);
            }
        }
        files
    }

    /// Every item that is the repo's, with those that lead to it.
    pub async fn items(&self, cloud: &Cloud) -> Vec<Item> {
        let store = store(cloud);
        let mut items = Vec::new();
        for pk in [
            format!("REPO#{}", self.repo),
            format!("NAME#dev/{}", self.slug),
            "USER#user-dev".to_owned(),
            "HANDLE#dev".to_owned(),
        ] {
            items.extend(store.items_page(&pk, "", None).await.unwrap().entries);
        }
        items
    }

    pub async fn assert_holds(&self, cloud: &Cloud) {
        cloud.assert_holds(self.slug, &self.history, &self.heads).await;
    }
}

pub fn store(cloud: &Cloud) -> Arc<Store> {
    cloud.process().hub.store
}

pub async fn subject(cloud: &Cloud, slug: &str) -> Subject {
    let found = fsck::find(&store(cloud), &"dev".parse().unwrap(), &slug.parse().unwrap()).await;
    found.unwrap().expect("there is such a repo")
}

pub async fn check(cloud: &Cloud, slug: &str, is_deep: bool) -> Report {
    let subject = subject(cloud, slug).await;
    let options = Options { is_deep, ids: cloud.ids() };
    fsck::check(&store(cloud), &subject, options, &|_| ()).await.expect("the stores answer")
}

impl Cloud {
    /// The keys in S3 that have a prefix.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = store(self).objects_page(prefix, None).await.unwrap();
        listed.entries.into_iter().map(|listed| listed.key).collect()
    }

    /// What S3 has under a key.
    pub async fn get(&self, key: &str) -> Bytes {
        let _clock = stop_clock();
        let got = self.s3().get_object().bucket(&self.backends.location.bucket).key(key).send().await.unwrap();
        got.body.collect().await.unwrap().into_bytes()
    }
}
