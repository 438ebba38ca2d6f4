//! The pages of a hub, as a browser gets them over HTTP: what they are sent with, whom they show what, and that what was pushed
//! stays text.

use std::collections::BTreeSet;

use scraper::{Html, Selector};
use serde_json::{Value, json};
use tests::client::{Answer, Remote, send};
use tests::history::{Builder, Formula, History, Tree};
use tests::hub::{Hub, until};

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
/// What markup would be if it came through.
const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;";

async fn page(hub: &Hub, path: &str) -> Answer {
    send("GET", &format!("{}{path}", hub.url()), &[BROWSER], "").await.unwrap()
}

async fn page_with(hub: &Hub, path: &str, cookie: &str) -> Answer {
    send("GET", &format!("{}{path}", hub.url()), &[BROWSER, ("cookie", cookie)], "").await.unwrap()
}

/// A repo with a file of each kind, whose texts would all be markup if a page let them.
async fn stocked(hub: &Hub, is_private: bool) -> (Remote, History) {
    let mut builder = Builder::new(7);
    let files = [
        (
            "README.md",
            format!(
                "# Song\n\n{HOSTILE}\n\n[a](javascript:alert(1)) <b onclick=alert(1)>b</b> ![i](https://evil.example/i.png)"
            ),
        ),
        ("src/song.py", format!("def sing():\n    return '{HOSTILE}'\n")),
        ("page.html", format!("<html><script>alert(1)</script>{HOSTILE}</html>")),
        ("image.svg", "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>".to_owned()),
        ("a & <i>b.txt", HOSTILE.to_owned()),
    ];
    let tree: Tree = files.iter().map(|(path, text)| ((*path).to_owned(), text.clone().into_bytes().into())).collect();
    let root = builder.commit(&[], &tree);
    let mut changed = tree.clone();
    changed.insert("src/song.py".to_owned(), format!("# {HOSTILE}\n").into_bytes().into());
    let tip = builder.commit_with(&[&root], &changed, Formula::CommittedAt, |fields| {
        fields.insert("message".to_owned(), format!("{HOSTILE}\n\n{HOSTILE}").into());
        fields.insert("author".to_owned(), HOSTILE.into());
        fields.insert(
            "structured_delta".to_owned(),
            json!({"domain": HOSTILE, "ops": [{"address": HOSTILE, "op": HOSTILE}]}),
        );
        fields.insert("breaking_changes".to_owned(), json!([HOSTILE]));
        fields.insert("metadata".to_owned(), json!({HOSTILE: HOSTILE}));
    });
    let history = builder.finish();
    let remote = hub.made_repo(&hub.dev(), is_private).await;
    remote.push(&history, "main", &tip).await.expect(200);
    let release = json!({"tag": "v1.0.0", "commit_id": tip, "title": HOSTILE, "body": HOSTILE, "channel": "stable"});
    remote.post("tags", &json!({"tags": [{"tag": "take/1", "commit_id": root}]})).await.expect(200);
    let released = remote.post("releases", &release).await;
    assert!(released.status < 300, "{}", released.excerpt());
    (remote, history)
}

/// The pages of a repo behind its name.
fn paths(history: &History) -> Vec<String> {
    let (first, last) = (&history.ids()[0], history.last());
    ["", "/tree/main", "/tree/main/src", "/tree/take%2F1", "/blob/main/README.md", "/blob/main/README.md?plain=1"]
        .into_iter()
        .chain([
            "/blob/main/src/song.py",
            "/blob/main/page.html",
            "/blob/main/image.svg",
            "/blob/main/a%20%26%20%3Ci%3Eb.txt",
        ])
        .chain(["/commits/main", "/branches", "/log", "/stats", "/-/tags", "/-/releases"])
        .map(str::to_owned)
        .chain([format!("/commit/{last}"), format!("/commit/{last}?view=split"), format!("/commit/{first}")])
        .chain([
            format!("/compare/{first}...main"),
            "/compare/take%2F1...main".to_owned(),
            format!("/blob/{first}/src/song.py"),
        ])
        .collect()
}

/// Fails unless an answer is a page that a browser runs nothing of but the hub's own script.
fn assert_is_page(path: &str, answer: &Answer) {
    assert!(answer.header("content-type").starts_with("text/html"), "{path}: {}", answer.excerpt());
    let policy = answer.header("content-security-policy");
    for directive in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(directive), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{path}: {policy}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    let text = std::str::from_utf8(&answer.body).unwrap();
    let html = Html::parse_document(text);
    let all = |selector: &str| html.select(&Selector::parse(selector).unwrap()).map(|it| it.html()).collect::<Vec<_>>();
    for script in all("script") {
        assert!(script.contains("src=\"/-/app.") || script.contains("type=\"application/json\""), "{path}: {script}");
    }
    assert_eq!(all("h1").len(), 1, "{path} has one heading of the first level");
    for element in html.select(&Selector::parse("*").unwrap()) {
        for (name, value) in element.value().attrs() {
            assert!(!name.starts_with("on") && name != "style", "{path}: {name}={value}");
            if ["href", "src", "action"].contains(&name) {
                let is_own = value.starts_with('/') && !value.starts_with("//") || value.starts_with('#');
                let leads_away = name == "href" && value.starts_with("https://");
                assert!(is_own || leads_away || value.is_empty(), "{path}: {name}={value}");
            }
        }
        assert_ne!(element.value().attr("src"), Some("x"), "{path}: markup came through");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_safe_whatever_was_pushed() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub, false).await;
    let repo = format!("/{}/{}", remote.owner, remote.slug);
    let mut linked: BTreeSet<String> = BTreeSet::new();
    let pages = paths(&history).into_iter().map(|path| format!("{repo}{path}"));
    for path in pages.chain(["/", "/login", "/dev"].map(str::to_owned)) {
        let answer = page(&hub, &path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.excerpt());
        assert_is_page(&path, &answer);
        let html = Html::parse_document(std::str::from_utf8(&answer.body).unwrap());
        let links = Selector::parse("a[href], link[href], img[src], script[src], audio[src]").unwrap();
        for link in html.select(&links) {
            let to = link.value().attr("href").or(link.value().attr("src")).unwrap();
            if to.starts_with('/') {
                linked.insert(to.split('#').next().unwrap().to_owned());
            }
        }
    }
    assert!(linked.len() > 40, "{linked:?}");
    // No link of a page leads to nothing, but for what README files name.
    for to in linked {
        let answer = page(&hub, &to).await;
        assert!([200, 303].contains(&answer.status), "{to}: {}", answer.excerpt());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_files_run_nothing() {
    let hub = Hub::start().await;
    let (remote, _) = stocked(&hub, false).await;
    for file in ["page.html", "image.svg", "README.md", "src/song.py"] {
        let answer = page(&hub, &format!("/{}/{}/raw/main/{file}", remote.owner, remote.slug)).await;
        assert_eq!(answer.status, 200, "{file}");
        assert!(answer.header("content-type").starts_with("text/plain"), "{file}: {}", answer.header("content-type"));
        assert!(answer.header("content-security-policy").contains("sandbox"), "{file}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{file}");
    }
    let url = format!("{}/{}/{}/raw/main/src/song.py", hub.url(), remote.owner, remote.slug);
    let whole = send("GET", &url, &[], "").await.unwrap();
    let again = send("GET", &url, &[("if-none-match", whole.header("etag"))], "").await.unwrap();
    assert_eq!((again.status, again.body.len()), (304, 0));
    let other = send("GET", &url, &[("range", "bytes=2-4"), ("if-range", "\"another\"")], "").await.unwrap();
    assert_eq!((other.status, &other.body), (200, &whole.body), "a part of another file is none of this");
    let part = send("GET", &url, &[("range", "bytes=2-4")], "").await.unwrap();
    assert_eq!((part.status, &part.body[..]), (206, &b"\"><"[..]), "{}", part.excerpt());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repo_is_not_there_until_its_reader_logs_in() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub, true).await;
    let repo = format!("/{}/{}", remote.owner, remote.slug);
    let nowhere = format!("/{}/no-such-song", remote.owner);
    let stranger = format!("musehub_token={}", hub.user().await.token);
    let owner = format!("musehub_token={}", hub.dev().token);
    for path in paths(&history) {
        for cookie in ["", &stranger] {
            let hidden = page_with(&hub, &format!("{repo}{path}"), cookie).await;
            let absent = page_with(&hub, &format!("{nowhere}{path}"), cookie).await;
            assert_eq!(hidden.status, 404, "{path}: {}", hidden.excerpt());
            assert_is_page(&path, &hidden);
            // But for the path that was asked for, which a login leads back to.
            let said = |answer: &Answer, slug: &str| {
                let text = String::from_utf8_lossy(&answer.body).replace(slug, "SLUG");
                (answer.status, text, answer.header("etag").to_owned())
            };
            assert_eq!(said(&hidden, &remote.slug), said(&absent, "no-such-song"), "{path}");
        }
        let shown = page_with(&hub, &format!("{repo}{path}"), &owner).await;
        assert_eq!(shown.status, 200, "{path}: {}", shown.excerpt());
        assert!(!shown.header("cache-control").contains("public"), "{path}: {}", shown.header("cache-control"));
    }
    let listed = |answer: &Answer| String::from_utf8_lossy(&answer.body).contains(&remote.slug);
    assert!(!listed(&page(&hub, "/").await));
    // Of a user with no other: a list has pages.
    let ada = hub.user().await;
    let hers = hub.made_repo(&ada, true).await;
    let (list, cookie) = (format!("/{}", ada.handle), format!("musehub_token={}", ada.token));
    let has_hers = |answer: &Answer| String::from_utf8_lossy(&answer.body).contains(&hers.slug);
    assert!(!has_hers(&page(&hub, &list).await) && has_hers(&page_with(&hub, &list, &cookie).await));
    // The API takes no cookies.
    let refs = send("GET", &format!("{}{repo}/refs", hub.url()), &[("cookie", &owner)], "").await.unwrap();
    refs.refused(404, "repo_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_logs_in_with_a_token_and_out_again() {
    let hub = Hub::start().await;
    let token = hub.dev().token;
    let post = async |path: &str, headers: &[(&str, &str)], body: String| {
        let mut all = vec![BROWSER, ("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        send("POST", &format!("{}{path}", hub.url()), &all, body).await.unwrap()
    };
    let own = [("sec-fetch-site", "same-origin")];
    let answer = post("/login", &own, format!("token={token}&next=%2Fdev")).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/dev"), "{}", answer.excerpt());
    let cookie = answer.header("set-cookie").to_owned();
    for flag in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap();
    assert!(String::from_utf8_lossy(&page_with(&hub, "/", cookie).await.body).contains("dev"));
    let out = post("/logout", &[own[0], ("cookie", cookie)], String::new()).await;
    assert_eq!((out.status, out.header("location")), (303, "/"));
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{}", out.header("set-cookie"));

    for bad in ["", "nonsense", "a.b.c", &token[1..], &format!("{token}%0d%0aset-cookie: x")] {
        let refused = post("/login", &own, format!("token={bad}")).await;
        assert_eq!(refused.status, 401, "{bad}: {}", refused.excerpt());
        assert_is_page("/login", &refused);
        assert_eq!(refused.header("set-cookie"), "", "{bad}");
        assert!(bad.is_empty() || !String::from_utf8_lossy(&refused.body).contains(bad), "a token is not shown");
    }
    // Forms of other sites.
    for site in [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example")]
    {
        for path in ["/login", "/logout"] {
            let refused = post(path, &[site], format!("token={token}")).await;
            assert_eq!(refused.status, 422, "{site:?}: {}", refused.excerpt());
            assert_eq!(refused.header("set-cookie"), "", "{site:?}");
        }
    }
    let elsewhere = post("/login", &own, format!("token={token}&next=https%3A%2F%2Fevil.example")).await;
    assert_eq!(elsewhere.header("location"), "/");
    let failed = post("/login", &own, "token=a.b.c&next=%2Fdev%2Fsong".to_owned()).await;
    assert!(String::from_utf8_lossy(&failed.body).contains("value=\"/dev/song\""), "where it was to lead is not lost");
    // A token that is not good any more is none: what is public stays in sight, and the browser forgets the token.
    let user = hub.user().await;
    let minted = hub.post("api/tokens", Some(&user.token), &json!({})).await.expect(201);
    let revoked = format!("{}/api/tokens/{}", hub.url(), minted["id"].as_str().unwrap());
    let bearer = format!("Bearer {}", user.token);
    send("DELETE", &revoked, &[("authorization", &bearer)], "").await.unwrap().expect(200);
    for token in ["a.b.c", minted["token"].as_str().unwrap()] {
        let ended = page_with(&hub, "/dev", &format!("musehub_token={token}")).await;
        assert_eq!(ended.status, 200);
        let forgets = ended.header("set-cookie");
        assert!(forgets.starts_with("musehub_token=; Path=/; Max-Age=0"), "{forgets}");
    }
    // An error does not log a reader out.
    let nowhere = page_with(&hub, "/dev/no-such-song", cookie).await;
    let text = String::from_utf8_lossy(&nowhere.body).into_owned();
    assert!(nowhere.status == 404 && text.contains("action=\"/logout\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_changes_may_be_kept_and_the_rest_is_asked_for_again() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub, false).await;
    let repo = format!("/{}/{}", remote.owner, remote.slug);
    for path in
        ["/blob/ID/src/song.py", "/raw/ID/src/song.py", "/commit/ID"].map(|path| path.replace("ID", history.last()))
    {
        let kept = page(&hub, &format!("{repo}{path}")).await;
        assert!(kept.header("cache-control").contains("immutable"), "{path}: {}", kept.header("cache-control"));
    }
    for path in ["", "/blob/main/src/song.py", "/raw/main/src/song.py", "/commits/main"] {
        let asked = page(&hub, &format!("{repo}{path}")).await;
        assert_eq!(asked.header("cache-control"), "private, no-cache", "{path}");
    }
    let style = page(&hub, &repo).await;
    let style = Html::parse_document(std::str::from_utf8(&style.body).unwrap());
    let style = style
        .select(&Selector::parse("link[rel=stylesheet]").unwrap())
        .next()
        .unwrap()
        .value()
        .attr("href")
        .unwrap()
        .to_owned();
    let asset = send("GET", &format!("{}{style}", hub.url()), &[("accept", "text/css,*/*;q=0.1")], "").await.unwrap();
    assert_eq!((asset.status, asset.header("content-type")), (200, "text/css; charset=utf-8"));
    assert!(asset.header("cache-control").contains("immutable"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_url_answers_programs_that_ask_for_data_and_no_others() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub, false).await;
    let url = format!("{}/{}/{}", hub.url(), remote.owner, remote.slug);
    let get =
        async |path: &str, accept: &str| send("GET", &format!("{url}{path}"), &[("accept", accept)], "").await.unwrap();
    let repo: Value = get("", "application/json").await.expect(200);
    assert_eq!((&repo["repo"]["slug"], &repo["head"]["id"]), (&json!(remote.slug), &json!(history.last())));
    let commits = get("/commits/main", "application/x-msgpack").await.expect(200);
    assert_eq!(commits["commits"].as_array().unwrap().len(), history.commits().len());
    for accept in ["*/*", "text/plain"] {
        get("", accept).await.refused(404, "not_found");
        get("/commits/main", accept).await.refused(404, "not_found");
    }
    // What clients ask is what it was.
    assert!(get("/tags", "application/json").await.expect(200)["tags"].is_array());
    assert!(get("/tags", "*/*").await.expect(200)["tags"].is_array());
    let led = get("/tags", BROWSER.1).await;
    assert_eq!((led.status, led.header("location")), (303, "-/tags"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_has_a_page_that_says_so() {
    let hub = Hub::start().await;
    let (remote, _) = stocked(&hub, false).await;
    let repo = format!("/{}/{}", remote.owner, remote.slug);
    for path in [
        "/tree/nowhere",
        "/blob/main/nothing",
        "/blob/main/src%2Fsong.py%00",
        "/commits/nowhere",
        "/commit/nothing",
        "/compare/main",
        "/compare/a...b",
        "/commits/main?after=x!",
        "/log?after=!",
    ] {
        let answer = page(&hub, &format!("{repo}{path}")).await;
        assert!([404, 422].contains(&answer.status), "{path}: {}", answer.excerpt());
        assert_is_page(path, &answer);
    }
    for path in ["/nobody-at-all", "/%FF", "/dev/%00", "/-/nothing.css"] {
        let answer = page(&hub, path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.excerpt());
    }
    // A folder's URL leads to the folder, and a file's to the file.
    assert_eq!(page(&hub, &format!("{repo}/blob/main/src")).await.header("location"), format!("{repo}/tree/main/src"));
    assert_eq!(
        page(&hub, &format!("{repo}/tree/main/README.md")).await.header("location"),
        format!("{repo}/blob/main/README.md")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_lists_public_repos_the_one_pushed_to_last_first() {
    let hub = Hub::start().await;
    let (first, history) = stocked(&hub, false).await;
    let (second, _) = stocked(&hub, false).await;
    let order = async || {
        let answer = page(&hub, "/").await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let at = |remote: &Remote| text.find(&format!("href=\"/{}/{}\"", remote.owner, remote.slug));
        (at(&first), at(&second))
    };
    // The list is written behind the push.
    until(async || matches!(order().await, (Some(first), Some(second)) if second < first)).await;
    first.push(&history, "other", &history.ids()[0]).await.expect(200);
    until(async || matches!(order().await, (Some(first), Some(second)) if first < second)).await;
    let private = json!({"visibility": "private"});
    let url = format!("{}/api/repos/{}/{}", hub.url(), first.owner, first.slug);
    let bearer = format!("Bearer {}", hub.dev().token);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    send("PATCH", &url, &headers, private.to_string()).await.unwrap().expect(200);
    assert_eq!(order().await.0, None, "what is private now is not shown, whatever the list says");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_shows_no_commit_that_no_branch_has_reached() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub, false).await;
    let mut builder = Builder::new(9);
    let tree = builder.files(2);
    let staged = builder.commit_with(&[], &tree, Formula::CommittedAt, |fields| {
        fields.insert("message".to_owned(), "a take that was not to be heard".into());
    });
    let bundle = builder.finish().pack_of(&staged).with_head("main", history.last());
    remote.push_pack("main", false, &bundle).await.expect(200);
    let repo = format!("/{}/{}", remote.owner, remote.slug);
    for path in [
        "/commits/main?after=1,ID",
        "/commits/ID",
        "/commit/ID",
        "/tree/ID",
        "/compare/ID...main",
        "/compare/main...ID",
    ] {
        let answer = page(&hub, &format!("{repo}{}", path.replace("ID", &staged))).await;
        assert!(!String::from_utf8_lossy(&answer.body).contains("not to be heard"), "{path}: {}", answer.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_page_says_nothing_of_what_is_private() {
    let hub = Hub::start().await;
    let user = hub.user().await;
    let push = async |slug: String, is_private: bool| {
        let remote = hub.remote(&user, &slug);
        hub.make(&remote, is_private).await.expect(201);
        let history = tests::history::linear(3, 1, 1, 0);
        remote.push(&history, "main", history.last()).await.expect(200);
    };
    for number in 0..35 {
        push(format!("a{number:02}"), false).await;
    }
    let path = format!("/{}", user.handle);
    let listed = async || {
        let (mut after, mut names, mut texts) = (String::new(), Vec::new(), String::new());
        loop {
            let shown = page(&hub, &format!("{path}{after}")).await;
            let text = String::from_utf8_lossy(&shown.body).into_owned();
            let prefix = format!("href=\"/{}/", user.handle);
            names.extend(text.split(&prefix).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
            let next = text.split(&format!("href=\"{path}?after=")).nth(1).and_then(|rest| rest.split('"').next());
            after = next.map(|next| format!("?after={next}")).unwrap_or_default();
            texts.push_str(&text);
            if after.is_empty() {
                return (names, texts);
            }
        }
    };
    until(async || listed().await.0.len() == 35).await;
    let (before, _) = listed().await;
    for number in 0..3 {
        push(format!("a1{number}-secret"), true).await;
    }
    let (after, texts) = listed().await;
    assert_eq!(after, before);
    assert!(!texts.contains("secret"), "{texts}");
}

/// Side branches that are all open at the same time: more than a cursor can name.
#[tokio::test(flavor = "multi_thread")]
async fn every_commit_of_a_wide_history_is_on_one_page() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(5);
    let tree = builder.files(1);
    let root = builder.commit(&[], &tree);
    let (mut sides, mut tip) = (Vec::new(), root.clone());
    for _ in 0..90 {
        let first = builder.commit(&[&root], &tree);
        sides.push(builder.commit(&[&first], &tree));
    }
    for side in &sides {
        tip = builder.commit(&[&tip, side], &tree);
    }
    let history = builder.finish();
    let remote = hub.repo().await;
    remote.push(&history, "main", &tip).await.expect(200);
    let (mut after, mut shown) = (String::new(), Vec::new());
    loop {
        let url = format!("{}/{}/{}/commits/main{after}", hub.url(), remote.owner, remote.slug);
        let answer = send("GET", &url, &[("accept", "application/json")], "").await.unwrap().expect(200);
        let commits = answer["commits"].as_array().unwrap().iter();
        shown.extend(commits.map(|commit| commit["id"].as_str().unwrap().to_owned()));
        match answer["next"].as_str() {
            Some(next) => after = format!("?after={}", tests::client::percent_encoded(next)),
            None => break,
        }
        assert!(shown.len() < 1_000, "it comes to an end");
    }
    let mut wanted = history.ids();
    wanted.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, wanted);
}
