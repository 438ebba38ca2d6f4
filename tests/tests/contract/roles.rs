//! Who may what: every role, every kind of token and a link, at every endpoint of a repo, from one table.

use std::collections::BTreeMap;

use local::serve::Storage;
use serde_json::{Value, json};
use store::repo::{Asker, Load};
use store::table::items::{ChangeItem, LinkItem, MemberItem, TokenItem};
use store::table::link_key::LinkKey;
use store::table::members::{Member, StillAdministers};
use store::table::transaction::Outcome;
use tests::client::{Answer, Remote, send};
use tests::history;
use tests::hub::{Hub, User, fresh_name};

/// What a member may do, and each of them all that those before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    None,
    Read,
    Write,
    Admin,
    Owner,
}

/// What a token was narrowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// The user's own.
    Whole,
    Read,
    Write,
    Admin,
    /// Of full access, and to another repo.
    Elsewhere,
    /// Of access to write, and to branches that are called otherwise than those of these requests.
    OtherBranches,
}

impl Token {
    const NARROWED: [Self; 5] = [Self::Read, Self::Write, Self::Admin, Self::Elsewhere, Self::OtherBranches];

    fn request(self, elsewhere: &str) -> Value {
        match self {
            Self::Whole => unreachable!("it is not minted"),
            Self::Read => json!({}),
            Self::Write => json!({"access": "write", "may_force": true, "may_delete": true}),
            Self::Admin => json!({"access": "admin", "may_force": true, "may_delete": true}),
            Self::Elsewhere => {
                json!({"access": "admin", "may_force": true, "may_delete": true, "repos": [elsewhere]})
            }
            Self::OtherBranches => {
                json!({"access": "write", "may_force": true, "may_delete": true, "branches": ["agent/**"]})
            }
        }
    }
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Reads,
    /// Reads it, and makes another repo.
    Forks,
    /// Something of the repo that is no branch.
    Writes,
    /// What comes before a push; no branch is named.
    Prepares,
    MovesBranch,
    Administers,
    Owns,
}

impl Needs {
    const fn role(self) -> Role {
        match self {
            Self::Reads | Self::Forks => Role::Read,
            Self::Writes | Self::Prepares | Self::MovesBranch => Role::Write,
            Self::Administers => Role::Admin,
            Self::Owns => Role::Owner,
        }
    }
}

/// What every one of them is answered: nothing if it is done, else the code of the refusal.
fn expected(is_private: bool, role: Role, token: Token, needs: Needs) -> Option<&'static str> {
    // What the owner alone may change is asked of where admins change the rest.
    if needs == Needs::Owns
        && let Some(code) = expected(is_private, role, token, Needs::Administers)
    {
        return Some(code);
    }
    // Whether a token makes repos is asked before which repo it is about.
    if needs == Needs::Forks && matches!(token, Token::Read | Token::Elsewhere) {
        return Some("token_too_narrow");
    }
    let of_all = if is_private { Role::None } else { Role::Read };
    let of_user = role.max(of_all);
    let allowed = match token {
        Token::Elsewhere => of_all,
        Token::Whole => of_user,
        Token::Read => role.min(Role::Read).max(of_all),
        Token::Write | Token::OtherBranches => role.min(Role::Write).max(of_all),
        Token::Admin => role.min(Role::Admin).max(of_all),
    };
    if allowed == Role::None {
        return Some("repo_not_found");
    }
    if allowed < needs.role() {
        let would_do = of_user >= needs.role() || token == Token::Elsewhere;
        return Some(if would_do { "token_too_narrow" } else { "not_authorized" });
    }
    let is_of_other_branches = matches!(needs, Needs::Writes | Needs::MovesBranch) && token == Token::OtherBranches;
    is_of_other_branches.then_some("token_too_narrow")
}

/// Every endpoint of a repo, with what it takes. The repo stays as it is but for what the requests make.
fn requests(history: &history::History, hook: &str) -> Vec<(Needs, &'static str, String, Value)> {
    use Needs::{Administers, Forks, MovesBranch, Owns, Prepares, Reads, Writes};
    let tip = history.last();
    let zeros = "0".repeat(64);
    let push = json!({"bundle": history.pack_of(tip).to_value(), "branch": "main", "force": false});
    let forced = json!({"bundle": history.pack_of(tip).to_value(), "branch": "main", "force": true});
    let api = |rest: &str| format!("api/repos/OWNER/SLUG{rest}");
    let wire = |rest: &str| format!("OWNER/SLUG/{rest}");
    vec![
        (Reads, "GET", wire("refs"), Value::Null),
        (Reads, "GET", wire("tags"), Value::Null),
        (Reads, "GET", wire("releases"), Value::Null),
        (Reads, "GET", api("/stats"), Value::Null),
        (Reads, "POST", wire("fetch"), json!({"want": [tip], "have": []})),
        (Reads, "POST", wire("negotiate"), json!({"want": [tip], "have": []})),
        (Reads, "POST", wire("presign"), json!({"object_ids": [zeros], "direction": "get"})),
        (Reads, "POST", wire("uploads"), json!({})),
        (Prepares, "POST", wire("presign"), json!({"object_ids": [zeros], "direction": "put"})),
        (Prepares, "POST", wire("filter-objects"), json!({"object_ids": [zeros]})),
        (Prepares, "POST", wire("push/objects"), json!({"objects": []})),
        (MovesBranch, "POST", wire("push"), push),
        (MovesBranch, "POST", wire("push"), forced),
        (MovesBranch, "DELETE", api("/branches/gone"), Value::Null),
        (MovesBranch, "POST", api("/branches/main/restore"), json!({"to": zeros})),
        (Reads, "GET", api(""), Value::Null),
        (Forks, "POST", api("/forks"), json!({"name": "-"})),
        (Reads, "GET", api("/branches"), Value::Null),
        (Reads, "GET", api("/log"), Value::Null),
        (Administers, "PUT", api("/branches/gone/protection"), json!({"protected": true})),
        (Owns, "PATCH", api(""), json!({"slug": "-"})),
        (Writes, "POST", wire("tags"), json!({"tags": [{"tag": "v1", "commit_id": tip}]})),
        (Writes, "DELETE", wire("tags/v0"), Value::Null),
        (Writes, "POST", wire("releases"), json!({"tag": "", "commit_id": tip})),
        (Administers, "DELETE", wire("releases/v0"), Value::Null),
        (Administers, "PATCH", api(""), json!({"description": "a song"})),
        (Administers, "POST", api("/purge"), json!({"object_ids": []})),
        (Administers, "GET", api("/purge"), Value::Null),
        (Administers, "GET", api("/webhooks"), Value::Null),
        (Administers, "POST", api("/webhooks"), json!({"url": "nowhere"})),
        (Administers, "DELETE", api(&format!("/webhooks/{hook}")), Value::Null),
        (Administers, "GET", api("/members"), Value::Null),
        (Administers, "PUT", api("/members/no-such-user"), json!({"role": "read"})),
        (Administers, "DELETE", api("/members/no-such-user"), Value::Null),
        (Administers, "GET", api("/links"), Value::Null),
        (Administers, "POST", api("/links"), json!({"ttl_seconds": 0})),
        (Administers, "DELETE", api(&format!("/links/{hook}")), Value::Null),
    ]
}

async fn ask(remote: &Remote, token: Option<&str>, method: &str, path: &str, body: &Value) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.iter().map(|bearer| ("authorization", bearer.as_str())));
    let path = path.replace("OWNER", &remote.owner).replace("SLUG", &remote.slug);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    send(method, &format!("{}/{path}", remote.hub), &headers, body).await.expect("the hub answers")
}

/// The code of a refusal that says who may do what; nothing for all others, and for what is done.
fn refusal(answer: &Answer) -> Option<String> {
    const CODES: [&str; 4] = ["repo_not_found", "not_authorized", "token_too_narrow", "unauthorized"];
    let code = answer.refusal().ok()?.code;
    CODES.contains(&code.as_str()).then_some(code)
}

async fn put_member(hub: &Hub, remote: &Remote, by: &str, member: &User, role: &str) -> Answer {
    let path = format!("api/repos/{}/{}/members/{}", remote.owner, remote.slug, member.handle);
    let _ = hub;
    ask(remote, Some(by), "PUT", &path, &json!({"role": role})).await
}

async fn mint(hub: &Hub, user: &User, request: &Value) -> (String, String) {
    let made = hub.post("api/tokens", Some(&user.token), request).await.expect(201);
    let text = |field: &str| made[field].as_str().expect("text").to_owned();
    (text("id"), text("token"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_and_token_does_what_it_may_at_each_endpoint_and_no_more() {
    let hub = Hub::start().await;
    let history = history::linear(1, 3, 4, 1);
    let owner = hub.user().await;
    let elsewhere = hub.made_repo(&owner, false).await;
    let elsewhere = format!("{}/{}", elsewhere.owner, elsewhere.slug);
    let requests = requests(&history, "01JXT21Q2PYJYZGM06QYMWFQRX");
    for is_private in [false, true] {
        let remote = hub.made_repo(&owner, is_private).await;
        remote.push(&history, "main", history.last()).await.expect(200);
        let mut users = vec![(Role::Owner, owner.clone()), (Role::None, hub.user().await)];
        for (role, name) in [(Role::Read, "read"), (Role::Write, "write"), (Role::Admin, "admin")] {
            let user = hub.user().await;
            put_member(&hub, &remote, &owner.token, &user, name).await.expect(201);
            users.push((role, user));
        }
        for (role, user) in &users {
            let mut tokens = vec![(Token::Whole, user.token.clone())];
            for token in Token::NARROWED {
                tokens.push((token, mint(&hub, user, &token.request(&elsewhere)).await.1));
            }
            for (token, bearer) in &tokens {
                for (needs, method, path, body) in &requests {
                    let what = format!("private {is_private}, {role:?}, token {token:?}, {method} {path}");
                    let answer = ask(&remote, Some(bearer), method, path, body).await;
                    let expected = expected(is_private, *role, *token, *needs);
                    assert_eq!(refusal(&answer).as_deref(), expected, "{what}: {}", answer.excerpt());
                    assert!(answer.status < 500, "{what}: {}", answer.excerpt());
                }
            }
        }
        for (needs, method, path, body) in &requests {
            let answer = ask(&remote, None, method, path, body).await;
            let reads = *needs == Needs::Reads && !path.ends_with("uploads");
            let codes: &[Option<&str>] = match (reads, is_private) {
                (true, false) => &[None],
                (true, true) => &[Some("repo_not_found")],
                (false, _) => &[Some("unauthorized")],
            };
            assert!(codes.contains(&refusal(&answer).as_deref()), "no token, {method} {path}: {}", answer.excerpt());
        }
        assert_eq!(remote.heads().await["main"], history.last(), "and all that was refused left no trace");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_given_or_taken_counts_at_the_next_request() {
    let hub = Hub::start().await;
    let history = history::linear(1, 3, 4, 1);
    let (owner, member) = (hub.user().await, hub.user().await);
    let remote = hub.made_repo(&owner, true).await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let theirs = remote.with_token(&member.token);
    let list = format!("api/repos/{}/{}/members", remote.owner, remote.slug);
    let one = format!("{list}/{}", member.handle);

    theirs.get("refs").await.refused(404, "repo_not_found");
    let made = put_member(&hub, &remote, &owner.token, &member, "read").await.expect(201);
    assert_eq!((&made["handle"], &made["role"]), (&json!(member.handle), &json!("read")));
    theirs.get("refs").await.expect(200);
    let refused = theirs.push(&history, "main", history.last()).await;
    assert_eq!(refused.refused(403, "not_authorized").detail, "push rejected: not authorized");
    let hint: Value = serde_json::from_slice(&refused.body).unwrap();
    assert!(hint["hint"].as_str().unwrap().contains("'write'"), "it says what is lacking: {hint}");
    put_member(&hub, &remote, &owner.token, &member, "write").await.expect(200);
    theirs.push(&history, "other", history.last()).await.expect(200);
    let listed = ask(&remote, Some(&owner.token), "GET", &list, &Value::Null).await.expect(200);
    assert_eq!(listed["members"].as_array().unwrap().len(), 1);
    assert_eq!((&listed["owner"], &listed["members"][0]["role"]), (&json!(owner.handle), &json!("write")));
    ask(&theirs, Some(&member.token), "GET", &list, &Value::Null).await.refused(403, "not_authorized");

    // A token that is for another repo does not take its user out of this one, be it public or not.
    let public = hub.made_repo(&owner, false).await;
    put_member(&hub, &public, &owner.token, &member, "read").await.expect(201);
    let elsewhere = json!({"repos": [format!("{}/{}", remote.owner, remote.slug)], "access": "read"});
    let (_, elsewhere) = mint(&hub, &member, &elsewhere).await;
    let of_public = format!("api/repos/{}/{}/members/{}", public.owner, public.slug, member.handle);
    ask(&public, Some(&elsewhere), "DELETE", &of_public, &Value::Null).await.refused(403, "");
    ask(&remote, Some(&elsewhere), "DELETE", &one, &Value::Null).await.refused(403, "");
    ask(&public, Some(&member.token), "DELETE", &of_public, &Value::Null).await.expect(200);

    // A member leaves, and is gone.
    let left = ask(&remote, Some(&member.token), "DELETE", &one, &Value::Null).await.expect(200);
    assert_eq!(left["removed"], json!(member.handle));
    theirs.get("refs").await.refused(404, "repo_not_found");
    ask(&remote, Some(&owner.token), "DELETE", &one, &Value::Null).await.refused(404, "member_not_found");

    for (role, code) in [("owner", "invalid"), ("", "invalid"), ("Read", "invalid")] {
        put_member(&hub, &remote, &owner.token, &member, role).await.refused(422, code);
    }
    let nobody = User { handle: fresh_name("h"), ..member.clone() };
    put_member(&hub, &remote, &owner.token, &nobody, "read").await.refused(404, "member_not_found");
    put_member(&hub, &remote, &owner.token, &owner, "read").await.refused(422, "invalid");
}

/// What an admin does lands while he is one, or not at all: also what was under way when he was removed.
#[tokio::test(flavor = "multi_thread")]
async fn an_admin_who_was_removed_changes_no_members() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let (owner, admin, other) = (hub.user().await, hub.user().await, hub.user().await);
    let remote = hub.made_repo(&owner, true).await;
    put_member(&hub, &remote, &owner.token, &admin, "admin").await.expect(201);
    let store = &hub.running().hub().store;
    let id = remote.repo_id().await.parse().unwrap();
    let opened = store.repo(&id, Asker::user(&admin.id), Load::NOTHING).await.unwrap().unwrap();
    let as_admin = MemberItem { role: store::table::items::Role::Admin, handle: None, given_by: None, given_at: None };
    let line = ChangeItem { changed: BTreeMap::new(), by: admin.id.clone(), at: store.ambient().now_iso() };
    let make = async |user: &User| {
        let before = store.member(&id, &user.id).await.unwrap();
        let member = Member { user_id: &user.id, before: before.as_ref(), after: Some(&as_admin) };
        store.change_member(&opened, &admin.id, &member, &line).await.unwrap()
    };
    assert_eq!(make(&admin).await, Outcome::Landed);
    let one = format!("api/repos/{}/{}/members/{}", remote.owner, remote.slug, admin.handle);
    ask(&remote, Some(&owner.token), "DELETE", &one, &Value::Null).await.expect(200);
    for user in [&admin, &other] {
        assert_eq!(make(user).await, Outcome::Conflict);
        remote.with_token(&user.token).get("refs").await.refused(404, "repo_not_found");
    }
    put_member(&hub, &remote, &owner.token, &admin, "write").await.expect(201);
    for user in [&admin, &other] {
        assert_eq!(make(user).await, Outcome::Conflict);
    }
}

/// DynamoDB deletes what has expired days later. So what is deleted before bounds what there is, and no list becomes too long to read.
#[tokio::test(flavor = "multi_thread")]
async fn links_and_tokens_that_have_ended_give_way_to_others() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let owner = hub.user().await;
    let remote = hub.made_repo(&owner, true).await;
    let store = &hub.running().hub().store;
    let id = remote.repo_id().await.parse().unwrap();
    let (now, ulid) = (store.ambient().now(), || store.ambient().ulid().to_string());
    for number in 0..150 {
        let key = LinkKey::of_secret(&number.to_string());
        let link = LinkItem {
            id: ulid(),
            name: String::new(),
            created_by: owner.id.clone(),
            created_at: String::new(),
            expires_at: now,
        };
        store.put_link(&id, &key, &link, StillAdministers::as_owner()).await.unwrap();
        let token = TokenItem {
            name: String::new(),
            agent: None,
            repos: None,
            access: store::table::items::Role::Read,
            branches: None,
            may_force: false,
            may_delete: false,
            created_at: String::new(),
            expires_at: now,
        };
        store.put_token(&owner.id, &ulid(), &token).await.unwrap();
    }
    let (of_repo, of_user) = (store::table::items::repo_pk(&id), store::table::items::user_pk(&owner.id));
    for (pk, prefix) in [(of_repo, "LINK#"), (of_user, "TOKEN#")] {
        assert_eq!(store.items_page(&pk, prefix, None).await.unwrap().entries.len(), 1, "{prefix}");
    }
    let links = format!("api/repos/{}/{}/links", remote.owner, remote.slug);
    ask(&remote, Some(&owner.token), "POST", &links, &json!({})).await.expect(201);
    mint(&hub, &owner, &json!({})).await;
    for (path, list) in [(links.as_str(), "links"), ("api/tokens", "tokens")] {
        let listed = ask(&remote, Some(&owner.token), "GET", path, &Value::Null).await.expect(200);
        assert_eq!(listed[list].as_array().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_is_refused_everywhere_at_the_next_request() {
    let hub = Hub::start().await;
    let history = history::linear(1, 3, 4, 1);
    let owner = hub.user().await;
    let remote = hub.made_repo(&owner, true).await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let all = json!({"access": "admin", "may_force": true, "may_delete": true, "name": "CI", "agent_name": "builder"});
    let (id, token) = mint(&hub, &owner, &all).await;
    let theirs = remote.with_token(&token);
    theirs.get("refs").await.expect(200);
    let (repo_id, object) = (remote.repo_id().await, history.objects.keys().next().expect("an object"));
    assert_eq!(theirs.object(&repo_id, object, &[]).await.status, 200);
    hub.post("api/tokens", Some(&token), &json!({})).await.refused(403, "token_too_narrow");
    let listed = |answer: Answer| answer.expect(200)["tokens"].clone();
    let tokens = listed(ask(&remote, Some(&owner.token), "GET", "api/tokens", &Value::Null).await);
    assert_eq!((tokens.as_array().unwrap().len(), &tokens[0]["id"]), (1, &json!(id)));
    assert_eq!((&tokens[0]["name"], &tokens[0]["agent_name"]), (&json!("CI"), &json!("builder")));
    assert_eq!(tokens[0]["token"], Value::Null, "it is shown once");

    let path = format!("api/tokens/{id}");
    let stranger = hub.user().await;
    ask(&remote, Some(&stranger.token), "DELETE", &path, &Value::Null).await.refused(404, "token_not_found");
    theirs.get("refs").await.expect(200);
    ask(&remote, Some(&owner.token), "DELETE", &path, &Value::Null).await.expect(200);
    ask(&remote, Some(&owner.token), "DELETE", &path, &Value::Null).await.refused(404, "token_not_found");
    for (_, method, path, body) in requests(&history, &id) {
        let answer = ask(&remote, Some(&token), method, &path, &body).await;
        assert_eq!(answer.status, 401, "{method} {path}: {}", answer.excerpt());
    }
    for (method, path, body) in [
        ("POST", "api/repos", json!({"name": fresh_name("song")})),
        ("POST", "api/identities", json!({"handle": fresh_name("h")})),
        ("GET", "api/tokens", Value::Null),
        ("GET", "health?deep=1", Value::Null),
        ("POST", "OWNER/new-song/push", json!({})),
        ("GET", "OWNER/new-song/refs", Value::Null),
    ] {
        let answer = ask(&remote, Some(&token), method, path, &body).await;
        assert_eq!(answer.status, 401, "{method} {path}: {}", answer.excerpt());
    }
    assert_eq!(theirs.object(&repo_id, object, &[]).await.status, 401);
    assert_eq!(listed(ask(&remote, Some(&owner.token), "GET", "api/tokens", &Value::Null).await), json!([]));
    // A token may end itself.
    let (id, token) = mint(&hub, &owner, &json!({})).await;
    ask(&remote, Some(&token), "DELETE", &format!("api/tokens/{id}"), &Value::Null).await.expect(200);
    remote.with_token(&token).get("refs").await.refused(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_pushes_to_its_branches_and_makes_repos_only_if_it_is_for_all() {
    let hub = Hub::start().await;
    let history = history::linear(1, 4, 4, 1);
    let owner = hub.user().await;
    let remote = hub.made_repo(&owner, false).await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let name = format!("{}/{}", remote.owner, remote.slug);
    let request = json!({"access": "write", "branches": ["agent/*"], "repos": [name], "agent_name": "composer"});
    let (_, token) = mint(&hub, &owner, &request).await;
    let theirs = remote.with_token(&token);
    theirs.push(&history, "agent/tune", history.last()).await.expect(200);
    let refused = theirs.push(&history, "main", history.last()).await.refused(403, "token_too_narrow");
    assert!(refused.detail.contains("'main' is none of its branches, agent/*"), "{}", refused.detail);
    // It goes forward all the same, and what does not is refused.
    let pack = history.pack_of(history.last());
    theirs.push_pack("agent/tune", true, &pack).await.expect(200);
    let other = history::linear(2, 3, 4, 1);
    let pack = other.pack_of(other.last());
    theirs.push_pack("agent/tune", true, &pack).await.refused(403, "token_too_narrow");
    let log = ask(&remote, Some(&token), "GET", &format!("api/repos/{name}/log"), &Value::Null).await.expect(200);
    assert_eq!((&log["log"][0]["branch"], &log["log"][0]["agent"]), (&json!("agent/tune"), &json!("composer")));
    assert!(log["log"][0]["token"].is_string() && log["log"][1].get("agent").is_none(), "{log}");
    let branch = format!("api/repos/{name}/branches/agent%2Ftune");
    ask(&remote, Some(&token), "DELETE", &branch, &Value::Null).await.refused(403, "token_too_narrow");
    let new = hub.remote(&owner, &fresh_name("song")).with_token(&token);
    new.push(&history, "agent/tune", history.last()).await.refused(404, "repo_not_found");
    hub.make(&new, false).await.refused(403, "token_too_narrow");
    let (_, token) = mint(&hub, &owner, &json!({"access": "write"})).await;
    hub.make(&new.with_token(&token), false).await.expect(201);

    for (request, says) in [
        (json!({"access": "owner"}), "access: it is read, write or admin"),
        (json!({"branches": ["main"]}), "access: a token that only reads"),
        (json!({"may_force": true}), "access: a token that only reads"),
        (json!({"access": "admin", "branches": ["main"]}), "branches: a token for some branches"),
        (json!({"access": "write", "branches": []}), "branches: name at least one"),
        (json!({"access": "write", "branches": ["["]}), "branches: '[' is no pattern"),
        (json!({"repos": []}), "repos: name at least one"),
        (json!({"repos": ["nowhere"]}), "repos: a repository is named owner/slug"),
        (json!({"repos": ["no-one/nothing"]}), "repos: there is no repository 'no-one/nothing'"),
        (json!({"ttl_seconds": 0}), "ttl_seconds: it is 1 to"),
        (json!({"ttl_seconds": 30_000_000}), "ttl_seconds: the token that you send is good for"),
        (json!({"name": "two\nlines"}), "name: at most 100"),
        (json!({"repos": vec!["a/b"; 21]}), "21 repos: the limit is 20"),
        (json!({"access": "write", "branches": vec!["b"; 21]}), "21 branches: the limit is 20"),
    ] {
        let refused = hub.post("api/tokens", Some(&owner.token), &request).await.refused(422, "");
        assert!(refused.detail.starts_with(says), "{request}: {}", refused.detail);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_clones_its_repo_until_it_is_revoked_and_does_nothing_else() {
    let hub = Hub::start().await;
    let history = history::linear(1, 3, 4, 1);
    let owner = hub.user().await;
    let remote = hub.made_repo(&owner, true).await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let other = hub.made_repo(&owner, true).await;
    other.push(&history, "main", history.last()).await.expect(200);
    let links = format!("api/repos/{}/{}/links", remote.owner, remote.slug);
    let made = ask(&remote, Some(&owner.token), "POST", &links, &json!({"ttl_seconds": 600, "name": "for Ada"})).await;
    let made = made.expect(201);
    let url = made["clone_url"].as_str().unwrap();
    let key = url.strip_prefix(&format!("{}/-/", hub.url())).and_then(|rest| rest.split('/').next()).unwrap();
    let linked = |remote: &Remote, key: &str| Remote {
        hub: format!("{}/-/{key}", hub.url()),
        token: None,
        ..remote.anonymous()
    };
    let clone = linked(&remote, key).clone_all().await;
    tests::verify::same_history(&history, &clone, &owner.handle).expect("the history that was pushed");
    let asked = linked(&remote, key).post("negotiate", &json!({"want": [history.last()], "have": []})).await;
    asked.expect(200);
    let zeros = "0".repeat(64);
    let presign = |direction: &str| json!({"object_ids": [zeros], "direction": direction});
    linked(&remote, key).post("presign", &presign("get")).await.expect(200);
    linked(&remote, key).post("presign", &presign("put")).await.refused(401, "unauthorized");
    // Whose token comes with it does not matter.
    Remote { token: Some("no token".to_owned()), ..linked(&remote, key) }.get("refs").await.expect(200);

    linked(&other, key).get("refs").await.refused(404, "repo_not_found");
    let public = hub.made_repo(&owner, false).await;
    linked(&public, key).get("refs").await.refused(404, "repo_not_found");
    remote.anonymous().get("refs").await.refused(404, "repo_not_found");
    remote.with_token(key).get("refs").await.refused(401, "unauthorized");
    for wrong in ["x", &key[1..], &format!("{key}x"), &key.to_lowercase()] {
        linked(&remote, wrong).get("refs").await.refused(404, "repo_not_found");
    }
    for endpoint in ["push", "tags", "releases", "filter-objects", "push/objects", "uploads"] {
        linked(&remote, key).post(endpoint, &json!({})).await.refused(404, "not_found");
    }
    let listed = ask(&remote, Some(&owner.token), "GET", &links, &Value::Null).await.expect(200);
    assert_eq!((&listed["links"][0]["id"], &listed["links"][0]["name"]), (&made["id"], &json!("for Ada")));
    assert!(!listed.to_string().contains(key), "its secret is shown once");
    let one = format!("{links}/{}", made["id"].as_str().unwrap());
    ask(&remote, Some(&owner.token), "DELETE", &one, &Value::Null).await.expect(200);
    ask(&remote, Some(&owner.token), "DELETE", &one, &Value::Null).await.refused(404, "link_not_found");
    linked(&remote, key).get("refs").await.refused(404, "repo_not_found");
    for ttl in [0, 30 * 24 * 60 * 60 + 1] {
        let body = json!({"ttl_seconds": ttl});
        ask(&remote, Some(&owner.token), "POST", &links, &body).await.refused(422, "invalid");
    }
}
