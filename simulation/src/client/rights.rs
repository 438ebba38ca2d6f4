//! Who may use the repository: members, tokens that were minted, and links, given and taken away while they are used.

use std::sync::{Mutex, PoisonError};

use http::Method;
use http::request::Builder;
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use service::routes::Function;
use tests::client::Answer;
use tests::encoding::Encoding;

use super::{ATTEMPTS, Client, Pushed, decoded};
use crate::register::{Action, Outcome};
use crate::world::{Bearer, GUESTS, Grant, OWNER, SLUG, Violation};

/// What a register of a member is called in the model.
const MEMBER: &str = "member ";
/// Of a token.
const TOKEN: &str = "token ";
/// Of a link.
const LINK: &str = "link ";
/// What each holds while it opens the repository.
const GOOD: &str = "good";
/// What that of a token or a link holds afterwards.
const REVOKED: &str = "revoked";
/// For how many seconds they are good: longer than any run.
const LASTS: u64 = 30 * 24 * 60 * 60;

/// What opens the repository.
#[derive(Clone, Debug)]
enum Key {
    Member(&'static str),
    Token(Grant),
    Link(Grant),
}

impl Key {
    fn register(&self) -> String {
        match self {
            Key::Member(handle) => format!("{MEMBER}{handle}"),
            Key::Token(Grant { id, .. }) => format!("{TOKEN}{id}"),
            Key::Link(Grant { id, .. }) => format!("{LINK}{id}"),
        }
    }

    fn bearer(&self) -> Bearer {
        match self {
            Key::Member(handle) => Bearer::Guest(handle),
            Key::Token(token) => Bearer::Token(token.secret.clone()),
            Key::Link(_) => Bearer::Nobody,
        }
    }

    /// The status of the refusal when it opens the repository no more, which only a token says.
    const fn refusal(&self) -> u16 {
        match self {
            Key::Member(_) | Key::Link(_) => 404,
            Key::Token(_) => 401,
        }
    }

    /// What was read of its register by one who used it.
    fn used(&self, is_good: bool) -> Action {
        match self {
            _ if is_good => Action::Read(Some(GOOD.to_owned())),
            Key::Member(_) => Action::Read(None),
            Key::Token(_) | Key::Link(_) => Action::Read(Some(REVOKED.to_owned())),
        }
    }
}

impl Client {
    /// Makes a member, a token or a link, takes one away, or uses one; what was changed is used next.
    pub(super) async fn give_take_or_use(&mut self) -> Result<(), Violation> {
        let guest = GUESTS[self.random.random_range(0..GUESTS.len())];
        let token = self.one_of(&self.world.clone().tokens).map(Key::Token);
        let link = self.one_of(&self.world.clone().links).map(Key::Link);
        let key = match self.random.random_range(0..9) {
            0 => self.put_member(guest).await?,
            1 => self.remove_member(guest).await?,
            2 => Some(Key::Member(guest)),
            3 => self.mint().await?,
            4 => self.revoke(token).await?,
            5 => token,
            6 => self.make_link().await?,
            7 => self.revoke(link).await?,
            _ => link,
        };
        let Some(key) = key else { return Ok(()) };
        if !matches!(key, Key::Link(_)) && self.random.random_bool(0.5) {
            return self.push_with(&key).await;
        }
        self.read_with(&key).await
    }

    fn one_of(&mut self, grants: &Mutex<Vec<Grant>>) -> Option<Grant> {
        let grants = grants.lock().unwrap_or_else(PoisonError::into_inner);
        // Mostly one of the newest, which may still be good.
        let newest = &grants[grants.len().saturating_sub(3)..];
        let among = if self.random.random_bool(0.8) { newest } else { &grants };
        among.choose(&mut self.random).cloned()
    }

    fn request(method: Method, path: &str) -> Builder {
        http::Request::builder().method(method).uri(path).header("content-type", Encoding::Json.content_type())
    }

    /// Asks for a change of who may use the repository, at a path behind its own.
    async fn ask_for_access(
        &mut self,
        method: Method,
        path: &str,
        parameter: (&str, &str),
        body: &Value,
    ) -> Result<Option<Answer>, Violation> {
        let request = Self::request(method, &format!("/api/repos/{OWNER}/{SLUG}{path}"));
        let body = if body.is_null() { Vec::new() } else { Encoding::Json.encode(body) };
        let place = self.place();
        self.world.send(place, Function::Access, request, &[("slug", SLUG), parameter], body).await
    }

    async fn put_member(&mut self, handle: &'static str) -> Result<Option<Key>, Violation> {
        let key = Key::Member(handle);
        for _ in 0..ATTEMPTS {
            let now = self.world.now();
            let noted = self.world.model().ask(&key.register(), Action::Set(GOOD.to_owned()), now);
            self.note(format_args!("makes {handle} a member"));
            let (path, role) = (format!("/members/{handle}"), json!({"role": "write"}));
            let answer = self.ask_for_access(Method::PUT, &path, ("handle", handle), &role).await?;
            let Some(answer) = answer else { continue };
            if !matches!(answer.status, 200 | 201) {
                return Err(format!("a new member was answered {}", answer.excerpt()));
            }
            self.world.model().hear(&noted, Outcome::Done, self.world.now());
            break;
        }
        Ok(Some(key))
    }

    async fn remove_member(&mut self, handle: &'static str) -> Result<Option<Key>, Violation> {
        let key = Key::Member(handle);
        for _ in 0..ATTEMPTS {
            let now = self.world.now();
            let noted = self.world.model().ask(&key.register(), Action::Clear, now);
            self.note(format_args!("removes the member {handle}"));
            let path = format!("/members/{handle}");
            let answer = self.ask_for_access(Method::DELETE, &path, ("handle", handle), &Value::Null).await?;
            let Some(answer) = answer else { continue };
            let outcome = match answer.status {
                200 => Outcome::Done,
                404 => Outcome::Refused,
                _ => return Err(format!("the removal of a member was answered {}", answer.excerpt())),
            };
            self.world.model().hear(&noted, outcome, self.world.now());
            break;
        }
        Ok(Some(key))
    }

    /// Mints a token, for all repositories or for this one. Without an answer there may be one that no client has.
    async fn mint(&mut self) -> Result<Option<Key>, Violation> {
        let mut body = json!({"access": "write", "ttl_seconds": LASTS});
        if self.random.random_bool(0.5) {
            body["repos"] = json!([format!("{OWNER}/{SLUG}")]);
        }
        let (asked, now) = (self.world.model().tick(), self.world.now());
        let (place, request) = (self.place(), Self::request(Method::POST, "/api/tokens"));
        let (owner, body) = (&Bearer::Owner, Encoding::Json.encode(&body));
        let answer = self.world.send_while_deleted(owner, place, Function::Access, request, &[], body).await?;
        let Some(answer) = answer else { return Ok(None) };
        // No token is minted for a repository that is deleted.
        if answer.status == 422
            && self.world.profile.deletes > 0.0
            && answer.excerpt().contains("there is no repository")
        {
            return Ok(None);
        }
        let token = decoded(&answer, 201)?;
        let text = |field: &str| token[field].as_str().map(str::to_owned).ok_or(format!("no {field}"));
        let grant = Grant { id: text("id")?, secret: text("token")? };
        self.keep(Key::Token(grant), asked, now)
    }

    async fn make_link(&mut self) -> Result<Option<Key>, Violation> {
        let (asked, now) = (self.world.model().tick(), self.world.now());
        let body = json!({"ttl_seconds": LASTS});
        let answer = self.ask_for_access(Method::POST, "/links", ("slug", SLUG), &body).await?;
        let Some(answer) = answer else { return Ok(None) };
        let link = decoded(&answer, 201)?;
        let id = link["id"].as_str().ok_or("no id")?.to_owned();
        let url = link["clone_url"].as_str().and_then(|url| url.split_once("/-/")).ok_or("no clone_url")?.1;
        let secret = url.split('/').next().unwrap_or_default().to_owned();
        self.keep(Key::Link(Grant { id, secret }), asked, now)
    }

    /// Notes a token or a link that was asked for then, for all clients.
    fn keep(&self, key: Key, asked: u64, now: std::time::Duration) -> Result<Option<Key>, Violation> {
        self.note(format_args!("has the {}", key.register()));
        let (grants, grant) = match &key {
            Key::Token(grant) => (&self.world.tokens, grant),
            Key::Link(grant) => (&self.world.links, grant),
            Key::Member(_) => return Ok(Some(key)),
        };
        self.world.model().look(&key.register(), Action::Set(GOOD.to_owned()), asked, now);
        grants.lock().unwrap_or_else(PoisonError::into_inner).push(grant.clone());
        Ok(Some(key))
    }

    /// Revokes a token or a link.
    async fn revoke(&mut self, key: Option<Key>) -> Result<Option<Key>, Violation> {
        let Some(key) = key else { return Ok(None) };
        for _ in 0..ATTEMPTS {
            let now = self.world.now();
            // One that is revoked already may be revoked again, at the same time.
            let noted = self.world.model().ask(&key.register(), Action::Set(REVOKED.to_owned()), now);
            let asked = self.world.model().tick();
            self.note(format_args!("revokes the {}", key.register()));
            let answer = match &key {
                Key::Member(_) => return Ok(None),
                Key::Token(Grant { id, .. }) => {
                    let (place, request) = (self.place(), Self::request(Method::DELETE, &format!("/api/tokens/{id}")));
                    let (owner, parameters) = (&Bearer::Owner, [("id", id.as_str())]);
                    let access = Function::Access;
                    self.world.send_while_deleted(owner, place, access, request, &parameters, Vec::new()).await?
                }
                Key::Link(Grant { id, .. }) => {
                    self.ask_for_access(Method::DELETE, &format!("/links/{id}"), ("id", id), &Value::Null).await?
                }
            };
            let Some(answer) = answer else { continue };
            let now = self.world.now();
            match answer.status {
                200 => self.world.model().hear(&noted, Outcome::Done, now),
                404 => {
                    self.world.model().hear(&noted, Outcome::Void, now);
                    self.world.model().look(&key.register(), key.used(false), asked, now);
                }
                _ => return Err(format!("a revocation was answered {}", answer.excerpt())),
            }
            break;
        }
        Ok(Some(key))
    }

    /// Reads the branches with a key, and notes whether that was refused.
    async fn read_with(&mut self, key: &Key) -> Result<(), Violation> {
        for _ in 0..ATTEMPTS {
            let (asked, now) = (self.world.model().tick(), self.world.now());
            let (path, secret) = match key {
                Key::Link(link) => (format!("/-/{}/{OWNER}/{SLUG}/refs", link.secret), link.secret.as_str()),
                _ => (format!("/{OWNER}/{SLUG}/refs"), ""),
            };
            let parameters = [("slug", SLUG), ("key", secret)];
            let parameters = if secret.is_empty() { &parameters[..1] } else { &parameters };
            let (place, request) = (self.place(), http::Request::get(path));
            let answer =
                self.world.send_as(&key.bearer(), place, Function::Refs, request, parameters, Vec::new()).await?;
            let Some(answer) = answer else { continue };
            self.note(format_args!("reads with the {}: {}", key.register(), answer.status));
            let is_good = match answer.status {
                200 => true,
                status if status == key.refusal() => false,
                _ => return Err(format!("a read with the {} was answered {}", key.register(), answer.excerpt())),
            };
            self.world.model().look(&key.register(), key.used(is_good), asked, now);
            break;
        }
        Ok(())
    }

    /// Pushes with a key, to a branch of those who have one, and notes whether that was refused.
    async fn push_with(&mut self, key: &Key) -> Result<(), Violation> {
        let Some((_, heads)) = self.refs().await? else { return Ok(()) };
        let branch = format!("guests-{}", self.random.random_range(0..2));
        let tip = {
            let mut model = self.world.model();
            let parents: Vec<&str> = heads.get(&branch).map(String::as_str).into_iter().collect();
            model.commit(&parents, &mut self.random)
        };
        let (asked, now) = (self.world.model().tick(), self.world.now());
        let is_good = match self.push_as(&key.bearer(), &branch, &heads, &tip, false).await? {
            // It was refused for what the branch is at, which only a writer may know.
            Pushed::Landed | Pushed::Refused => true,
            Pushed::NotAllowed => false,
            Pushed::Unheard => return Ok(()),
        };
        self.note(format_args!("pushes with the {}: {is_good}", key.register()));
        self.world.model().look(&key.register(), key.used(is_good), asked, now);
        Ok(())
    }
}
