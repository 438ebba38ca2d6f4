//! Repos as an API, where it takes more than one process or a look at the stores.

use http::Method;
use serde_json::Value;
use store::table::items::Role;

use crate::process::{Cloud, Process, USER};

/// Who asks about a repo.
const WHO: [Option<&str>; 5] = [None, Some("user-stranger"), Some("user-reader"), Some("user-writer"), Some(USER)];

/// A repo with a reader and a writer.
async fn shared(process: &Process, slug: &str, is_private: bool) {
    match is_private {
        true => process.make_private_repo(slug).await.expect(201),
        false => process.make_repo(slug).await.expect(201),
    };
    process.make_member(slug, "user-reader", Role::Read).await;
    process.make_member(slug, "user-writer", Role::Write).await;
}

#[tokio::test]
async fn who_may_see_what_a_repo_is() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    for (slug, is_private, expected) in
        [("public", false, [200, 200, 200, 200, 200]), ("private", true, [404, 404, 200, 200, 200])]
    {
        shared(&process, slug, is_private).await;
        let mut seen = Vec::new();
        let mut listed = Vec::new();
        for user in WHO {
            seen.push(process.at_repo(user, Method::GET, slug, "", &Value::Null).await.status);
            let list = process.list_repos(user, "owner=dev").await.expect(200);
            let slugs = list["repos"].as_array().unwrap().iter().map(|repo| repo["slug"].as_str().unwrap().to_owned());
            listed.push(if slugs.into_iter().any(|listed| listed == slug) { 200 } else { 404 });
        }
        assert_eq!((seen, listed), (expected.to_vec(), expected.to_vec()), "{slug}");
    }
}
