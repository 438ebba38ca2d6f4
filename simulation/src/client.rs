//! What a client does: the usual requests, in the usual order, with everything that it hears held against the model.

mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use service::routes::Function;
use tests::client::{Answer, percent_encoded};
use tests::encoding::Encoding;
use tests::history::{Object, Pack, list_of_text, map_of_text, objects_body};

use crate::fetched::{self, Purged};
use crate::model::{BRANCH, Model, RELEASE, TAG};
use crate::register::{Action, Outcome};
use crate::world::{Bearer, OWNER, SLUG, Violation, World};

/// How often a client asks again when it has no answer.
const ATTEMPTS: usize = 3;
/// Objects in one `/push/objects`: few, so that several are under way at once.
const CHUNK: usize = 3;

/// One client.
pub struct Client {
    world: Arc<World>,
    number: usize,
    random: StdRng,
    encoding: Encoding,
    /// The commits that it has.
    local: BTreeSet<String>,
    /// The commits that it saw branches at.
    seen: Vec<String>,
    made: usize,
}

/// How a push ended.
enum Pushed {
    Landed,
    Refused,
    /// Not by this bearer.
    NotAllowed,
    Unheard,
}

impl Client {
    /// A client that has nothing yet.
    pub fn new(world: Arc<World>, number: usize, seed: u64) -> Client {
        let mut random = StdRng::seed_from_u64(seed);
        let encoding = Encoding::BOTH[random.random_range(0..2)];
        Client { world, number, random, encoding, local: BTreeSet::new(), seen: Vec::new(), made: 0 }
    }

    /// Does this many things, with pauses.
    ///
    /// # Errors
    /// When an answer is wrong.
    pub async fn turn(&mut self, actions: usize) -> Result<(), Violation> {
        for _ in 0..actions {
            let longest = self.world.profile.think_ms;
            let pause = self.random.random_range(0..=longest);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if self.random.random_bool(self.world.profile.branches) {
                match self.random.random_range(0..4) {
                    0 => self.protect().await?,
                    1 => self.delete().await?,
                    2 => self.restore().await?,
                    _ => self.list_branches().await?,
                }
                continue;
            }
            if self.random.random_bool(self.world.profile.rights) {
                self.give_take_or_use().await?;
                continue;
            }
            match self.random.random_range(0..100) {
                0..35 => self.push_own().await?,
                35..60 => self.push_shared().await?,
                60..66 => self.tag().await?,
                66..71 => self.release().await?,
                71..84 => self.fetch().await?,
                84..88 => self.negotiate().await?,
                88..93 => self.filter_known().await?,
                _ => self.push_staged().await?,
            }
        }
        Ok(())
    }

    fn note(&self, line: impl std::fmt::Display) {
        self.world.network.note(format_args!("c{} {line}", self.number));
    }

    fn place(&mut self) -> usize {
        self.random.random_range(0..64)
    }

    /// Asks a function, again where there is no answer. For what only reads.
    async fn ask(&mut self, function: Function, body: &Value) -> Result<Option<Answer>, Violation> {
        for _ in 0..ATTEMPTS {
            let place = self.place();
            if let Some(answer) = self.world.call(place, function, self.encoding, body).await? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    async fn get(&mut self, function: Function, query: &str) -> Result<Option<Answer>, Violation> {
        for _ in 0..ATTEMPTS {
            let request = http::Request::get(format!("/{query}")).header("accept", self.encoding.accept());
            let place = self.place();
            if let Some(answer) = self.world.send(place, function, request, &[("slug", SLUG)], Vec::new()).await? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// `GET /refs`
    async fn refs(&mut self) -> Result<Option<(String, BTreeMap<String, String>)>, Violation> {
        let (asked, now) = (self.world.model().tick(), self.world.now());
        let Some(answer) = self.get(Function::Refs, "").await? else { return Ok(None) };
        let refs = decoded(&answer, 200)?;
        let heads = map_of_text(&refs, "branch_heads")?;
        self.world.model().read(BRANCH, &heads, asked, now, "");
        self.seen.extend(heads.values().cloned());
        let repo = refs["repo_id"].as_str().unwrap_or_default().to_owned();
        Ok(Some((repo, heads)))
    }

    /// The ids among these that `POST /filter-objects` says are missing.
    async fn filter(&mut self, ids: &[String]) -> Result<Option<Vec<String>>, Violation> {
        let asked = self.world.model().tick();
        let Some(answer) = self.ask(Function::FilterObjects, &json!({"object_ids": ids})).await? else {
            return Ok(None);
        };
        let missing = list_of_text(&decoded(&answer, 200)?, "missing")?;
        let now = self.world.now();
        let mut model = self.world.model();
        for object in &missing {
            if model.purged_for(asked).contains(object) {
                return Err(format!("filter-objects wants {object}, which was purged"));
            }
            if model.is_promised(object, asked, now) {
                return Err(format!("filter-objects misses {object}, which was acknowledged"));
            }
            model.forget(object);
        }
        Ok(Some(missing))
    }

    /// Pushes objects, some at a time, several requests at once. Tells whether all were acknowledged.
    async fn push_objects(&mut self, objects: Vec<Object>) -> Result<bool, Violation> {
        let places: Vec<usize> = objects.chunks(CHUNK).map(|_| self.place()).collect();
        let (world, encoding) = (Arc::clone(&self.world), self.encoding);
        let push = async |(chunk, place): (&[Object], usize)| {
            for attempt in 0..ATTEMPTS {
                let body = objects_body(chunk);
                let Some(answer) = world.call(place + attempt, Function::PushObjects, encoding, &body).await? else {
                    continue;
                };
                if answer.status == 422 && answer.excerpt().contains("object_purged") {
                    let may_be_purged = world.model().may_be_purged();
                    if chunk.iter().any(|object| may_be_purged.contains(&object.id)) {
                        return Ok(false);
                    }
                }
                // What was there already may be old, and be condemned at any time: a push that needs it revives it.
                if decoded(&answer, 200)?["skipped"] == 0 {
                    let now = world.now();
                    world.model().acknowledge(chunk.iter().map(|object| &object.id), now);
                }
                return Ok::<_, Violation>(true);
            }
            Ok(false)
        };
        let pushed = try_join_all(objects.chunks(CHUNK).zip(places).map(push)).await?;
        Ok(pushed.into_iter().all(|is_pushed| is_pushed))
    }

    /// Grows its own branch.
    async fn push_own(&mut self) -> Result<(), Violation> {
        let branch = format!("own-{}-{}", self.number, self.random.random_range(0..2));
        self.grow(&branch).await
    }

    /// Grows a branch that others grow too.
    async fn push_shared(&mut self) -> Result<(), Violation> {
        let branch = format!("shared-{}", self.random.random_range(0..self.world.profile.shared_branches));
        self.grow(&branch).await
    }

    async fn grow(&mut self, branch: &str) -> Result<(), Violation> {
        let Some((_, heads)) = self.refs().await? else { return Ok(()) };
        let force = self.random.random_bool(self.world.profile.forced);
        let tip = self.next_tip(branch, &heads, force);
        let mut pushed = self.push(branch, &heads, &tip, force).await?;
        // Another client was faster: merge and push again.
        for _ in 0..2 {
            let Pushed::Refused = pushed else { return Ok(()) };
            let Some((_, heads)) = self.refs().await? else { return Ok(()) };
            let Some(head) = heads.get(branch) else { return Ok(()) };
            let merge = self.world.model().commit(&[head, &tip], &mut self.random);
            pushed = self.push(branch, &heads, &merge, false).await?;
        }
        Ok(())
    }

    /// The commit to push: mostly one or several new ones on the branch; when it is forced anything that the client has seen.
    fn next_tip(&mut self, branch: &str, heads: &BTreeMap<String, String>, force: bool) -> String {
        let mut bases: Vec<&String> = heads.values().collect();
        let mut model = self.world.model();
        if force
            && self.random.random_bool(0.5)
            && let Some(seen) = self.seen.choose(&mut self.random)
        {
            // Where some branch was before, or before that.
            let parents = model.history().commit(seen).parents();
            return (*parents.choose(&mut self.random).unwrap_or(&seen.as_str())).to_owned();
        }
        let mut base = heads.get(branch).filter(|_| !force);
        if base.is_none() {
            if self.random.random_bool(0.2) {
                bases.clear();
            }
            base = bases.choose(&mut self.random).copied();
        }
        let mut tip = base.cloned();
        for _ in 0..self.random.random_range(1..=3) {
            let parents: Vec<&str> = tip.as_deref().into_iter().collect();
            tip = Some(model.commit(&parents, &mut self.random));
        }
        tip.unwrap_or_default()
    }

    /// Pushes as the owner.
    async fn push(
        &mut self,
        branch: &str,
        heads: &BTreeMap<String, String>,
        tip: &str,
        force: bool,
    ) -> Result<Pushed, Violation> {
        self.push_as(&Bearer::Owner, branch, heads, tip, force).await
    }

    /// Pushes what a tip reaches and these heads don't, as either generation of clients does. What goes before the push itself is
    /// the owner's.
    async fn push_as(
        &mut self,
        bearer: &Bearer,
        branch: &str,
        heads: &BTreeMap<String, String>,
        tip: &str,
        force: bool,
    ) -> Result<Pushed, Violation> {
        let have: Vec<&String> = heads.values().collect();
        let mut bundle = {
            let model = self.world.model();
            let history = model.history();
            history.pack(&history.between(&[tip], &have)).with_head(branch, tip)
        };
        // What it has heard of.
        let known_as_purged = {
            let mut model = self.world.model();
            let tick = model.tick();
            model.purged_for(tick)
        };
        bundle.objects.retain(|object| !known_as_purged.contains(&object.id));
        if self.encoding == Encoding::Msgpack && self.random.random_bool(0.9) {
            let ids: Vec<String> = bundle.object_ids().into_iter().collect();
            let missing = if ids.is_empty() { Some(Vec::new()) } else { self.filter(&ids).await? };
            let missing: BTreeSet<String> = missing.unwrap_or(ids).into_iter().collect();
            let objects = std::mem::take(&mut bundle.objects);
            let missing = objects.into_iter().filter(|object| missing.contains(&object.id)).collect();
            if !self.push_objects(missing).await? {
                return Ok(Pushed::Unheard);
            }
        }
        let body = json!({
            "bundle": bundle.to_value(), "branch": branch, "force": force, "purged": known_as_purged,
        });
        for _ in 0..ATTEMPTS {
            let (asked, now) = (self.world.model().tick(), self.world.now());
            let register = format!("{BRANCH}{branch}");
            let noted = self.world.model().ask(&register, Action::Move { to: tip.to_owned(), force }, now);
            self.note(format_args!("pushes {tip} to {branch}, forced: {force}"));
            let place = self.place();
            let Some(answer) = self.world.call_as(bearer, place, Function::Push, self.encoding, &body).await? else {
                self.note("does not know of its push");
                continue;
            };
            self.note(format_args!("hears {} of its push", answer.status));
            if *bearer != Bearer::Owner {
                let is_not_allowed = answer.status == 401 || answer.excerpt().contains("repo_not_found");
                if is_not_allowed || is_protected(&answer) {
                    self.world.model().hear(&noted, Outcome::Void, self.world.now());
                    return Ok(if is_not_allowed { Pushed::NotAllowed } else { Pushed::Unheard });
                }
            }
            // What is protected is forced nowhere; the same goes for it then as for a push without force.
            if answer.status == 409 && !force || force && is_protected(&answer) {
                self.world.model().hear(&noted, Outcome::Refused, self.world.now());
                return Ok(Pushed::Refused);
            }
            // An earlier attempt may have landed before the purge.
            if self.is_for_purge(&answer)? {
                return Ok(Pushed::Unheard);
            }
            if answer.status == 422 {
                // All that it needs is in it, or was acknowledged, or was said to be there.
                return Err(format!("the push of {tip} to {branch} was refused: {}", answer.excerpt()));
            }
            let answer = decoded(&answer, 200)?;
            let heads = map_of_text(&answer, "branch_heads")?;
            if heads.get(branch).is_none_or(|head| head != tip) || answer["remote_head"] != tip {
                return Err(format!("a push of {tip} to {branch} was answered {answer}"));
            }
            let mut model = self.world.model();
            model.hear(&noted, Outcome::Done, self.world.now());
            model.read(BRANCH, &heads, asked, now, branch);
            let mine = model.history().reachable(&[tip]);
            self.local.extend(mine);
            self.seen.push(tip.to_owned());
            return Ok(Pushed::Landed);
        }
        Ok(Pushed::Unheard)
    }

    /// One of the branches that were pushed to, mostly one that others push to too.
    fn any_branch(&mut self) -> Option<String> {
        let mut names = self.world.model().names(BRANCH);
        if self.random.random_bool(0.7) && names.iter().any(|name| name.starts_with("shared-")) {
            names.retain(|name| name.starts_with("shared-"));
        }
        names.choose(&mut self.random).cloned()
    }

    /// Asks for something to be done with a branch, behind its path.
    async fn ask_of_branch(
        &mut self,
        function: Function,
        method: http::Method,
        branch: &str,
        rest: &str,
        body: &Value,
    ) -> Result<Option<Answer>, Violation> {
        let encoded = percent_encoded(branch);
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/api/repos/{OWNER}/{SLUG}/branches/{encoded}{rest}"))
            .header("content-type", Encoding::Json.content_type());
        let body = if body.is_null() { Vec::new() } else { Encoding::Json.encode(body) };
        let place = self.place();
        self.world.send(place, function, request, &[("slug", SLUG), ("branch", &encoded)], body).await
    }

    /// Protects a branch, or takes its protection away.
    async fn protect(&mut self) -> Result<(), Violation> {
        let Some(branch) = self.any_branch() else { return Ok(()) };
        let protected = self.random.random_bool(0.6);
        let admins_only = protected && self.random.random_bool(0.3);
        let body = json!({"protected": protected, "admins_only": admins_only});
        for _ in 0..ATTEMPTS {
            let now = self.world.now();
            let noted = self.world.model().ask(&format!("{BRANCH}{branch}"), Action::Protect(protected), now);
            self.note(format_args!("protects {branch}: {protected}"));
            let put = http::Method::PUT;
            let answer = self.ask_of_branch(Function::Branches, put, &branch, "/protection", &body).await?;
            let Some(answer) = answer else { continue };
            let outcome = match answer.status {
                200 => Outcome::Done,
                404 => Outcome::Refused,
                _ => return Err(format!("a protection was answered {}", answer.excerpt())),
            };
            self.world.model().hear(&noted, outcome, self.world.now());
            break;
        }
        self.list_branches().await
    }

    /// Deletes a branch.
    async fn delete(&mut self) -> Result<(), Violation> {
        let Some(branch) = self.any_branch() else { return Ok(()) };
        for _ in 0..ATTEMPTS {
            let now = self.world.now();
            let noted = self.world.model().ask(&format!("{BRANCH}{branch}"), Action::Delete, now);
            self.note(format_args!("deletes {branch}"));
            let delete = http::Method::DELETE;
            let answer = self.ask_of_branch(Function::Branches, delete, &branch, "", &Value::Null).await?;
            let Some(answer) = answer else { continue };
            let outcome = match answer.status {
                200 => Outcome::Done,
                404 => Outcome::Refused,
                403 if is_protected(&answer) => Outcome::Refused,
                // The default branch is not deleted.
                422 if answer.excerpt().contains("default branch") => Outcome::Void,
                _ => return Err(format!("a deletion was answered {}", answer.excerpt())),
            };
            self.world.model().hear(&noted, outcome, self.world.now());
            break;
        }
        Ok(())
    }

    /// Brings a branch back to a commit that it was at, and looks whether it can be cloned.
    async fn restore(&mut self) -> Result<(), Violation> {
        let Some(branch) = self.any_branch() else { return Ok(()) };
        let register = format!("{BRANCH}{branch}");
        let to = self.world.model().was_at(&register, &mut self.random);
        let Some(to) = to else { return Ok(()) };
        let body = json!({"to": to});
        for _ in 0..ATTEMPTS {
            let now = self.world.now();
            let noted = self.world.model().ask(&register, Action::Restore(to.clone()), now);
            self.note(format_args!("restores {branch} to {to}"));
            let post = http::Method::POST;
            let answer = self.ask_of_branch(Function::Push, post, &branch, "/restore", &body).await?;
            let Some(answer) = answer else { continue };
            let end = self.world.now();
            let outcome = match answer.status {
                200 => Outcome::Done,
                // It is long ago that anything reached it.
                404 if answer.excerpt().contains("unknown_commit") => Outcome::Void,
                _ => return Err(format!("a restoring was answered {}", answer.excerpt())),
            };
            let mut model = self.world.model();
            model.hear(&noted, outcome, end);
            let asked = model.tick();
            if outcome == Outcome::Void && model.kept(asked, end).contains(&to) {
                return Err(format!("{to} cannot be restored, and is to be kept"));
            }
            break;
        }
        self.fetch().await
    }

    /// `GET …/branches`
    async fn list_branches(&mut self) -> Result<(), Violation> {
        for _ in 0..ATTEMPTS {
            let (asked, now) = (self.world.model().tick(), self.world.now());
            let request = http::Request::get(format!("/api/repos/{OWNER}/{SLUG}/branches?limit=1000"));
            let place = self.place();
            let answer = self.world.send(place, Function::Branches, request, &[("slug", SLUG)], Vec::new()).await?;
            let Some(answer) = answer else { continue };
            let listed = decoded(&answer, 200)?;
            let branches = listed["branches"].as_array().ok_or("no list of branches")?;
            let mut held = BTreeMap::new();
            let mut model = self.world.model();
            for branch in branches {
                let text = |field: &str| branch[field].as_str().map(str::to_owned).ok_or(format!("no {field}"));
                let (name, head) = (text("name")?, text("head")?);
                let protected = branch["protected"].as_bool().ok_or("no protected")?;
                model.look(&format!("{BRANCH}{name}"), Action::Look(head.clone(), protected), asked, now);
                held.insert(name, head);
            }
            model.read(BRANCH, &held, asked, now, "");
            return Ok(());
        }
        Ok(())
    }

    /// Undoes the last move of each branch, as the hub knows it, and looks at what there is then. For when nothing else goes on.
    ///
    /// # Errors
    /// When one cannot be undone that has to be, or leads to something that is not whole.
    pub async fn undo_all(&mut self) -> Result<(), Violation> {
        let branches = self.world.model().names(BRANCH);
        for branch in branches {
            let post = http::Method::POST;
            let answer = self.ask_of_branch(Function::Push, post, &branch, "/restore", &Value::Null).await?;
            let answer = answer.ok_or("a restoring has no answer")?;
            self.note(format_args!("undoes the last move of {branch}: {}", answer.excerpt()));
            let is_nothing = |code: &str| answer.excerpt().contains(code);
            match answer.status {
                200 => {}
                // It was only made, or its commit is gone, or it never was.
                422 if is_nothing("nothing to undo") => continue,
                404 if is_nothing("unknown_commit") || is_nothing("branch_not_found") => continue,
                _ => return Err(format!("the last move of {branch} is not undone: {}", answer.excerpt())),
            }
            let head = decoded(&answer, 200)?["head"].as_str().unwrap_or_default().to_owned();
            let now = self.world.now();
            let mut model = self.world.model();
            let noted = model.ask(&format!("{BRANCH}{branch}"), Action::Restore(head), now);
            model.hear(&noted, Outcome::Done, now);
        }
        self.list_branches().await
    }

    /// Whether a push was refused because something was purged since the client began it.
    fn is_for_purge(&self, answer: &Answer) -> Result<bool, Violation> {
        if answer.status != 422 || !answer.excerpt().contains("object_purged") {
            return Ok(false);
        }
        let may_be_purged = self.world.model().may_be_purged();
        if may_be_purged.iter().any(|id| answer.excerpt().contains(id.as_str())) {
            return Ok(true);
        }
        Err(format!("no client has purged that: {}", answer.excerpt()))
    }

    /// Pushes objects that no commit names, which no reader is to see. Asks for one, and for another that every reader may see.
    async fn push_staged(&mut self) -> Result<(), Violation> {
        let Some((repo, heads)) = self.refs().await? else { return Ok(()) };
        self.made += 1;
        let hidden = Object::new(format!("staged before everything, {} of {}", self.made, self.number).into_bytes());
        // And something that a commit may name some day.
        let others = (0..3).map(|_| Model::common(&mut self.random));
        let staged: Vec<Object> = others.chain([hidden.clone()]).collect();
        if !self.push_objects(staged).await? {
            return Ok(());
        }
        self.filter(std::slice::from_ref(&hidden.id)).await?;
        if let Some(answer) = self.object(&repo, &hidden.id).await?
            && answer.status != 404
        {
            return Err(format!("an object that nothing names is shown: {}", answer.excerpt()));
        }
        let heads: Vec<&String> = heads.values().collect();
        let Some(head) = heads.choose(&mut self.random) else { return Ok(()) };
        let shown = {
            let model = self.world.model();
            let objects: Vec<String> = model.history().objects_of([*head]).into_iter().collect();
            let Some(id) = objects.choose(&mut self.random) else { return Ok(()) };
            model.history().object(id)
        };
        let may_be_gone = self.world.model().may_be_purged().contains(&shown.id);
        let has_to_be_gone = {
            let mut model = self.world.model();
            let tick = model.tick();
            model.purged_for(tick).contains(&shown.id)
        };
        let answer = self.object(&repo, &shown.id).await?;
        if let Some(answer) = &answer
            && has_to_be_gone
            && answer.status != 410
        {
            return Err(format!("object {} was purged: {}", shown.id, answer.excerpt()));
        }
        let may_be_gone = may_be_gone || self.world.model().may_be_purged().contains(&shown.id);
        if let Some(answer) = answer
            && !(may_be_gone && answer.status == 410)
            && (answer.status != 200 || answer.body != shown.content)
        {
            return Err(format!("object {} of the head {head} is not shown: {}", shown.id, answer.excerpt()));
        }
        Ok(())
    }

    /// `GET /o/{object_id}`
    async fn object(&mut self, repo: &str, id: &str) -> Result<Option<Answer>, Violation> {
        for _ in 0..ATTEMPTS {
            let request = http::Request::get(format!("/?repo_id={repo}"));
            let place = self.place();
            let parameters = [("object_id", id)];
            if let Some(answer) = self.world.send(place, Function::Object, request, &parameters, Vec::new()).await? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Asks for objects that were acknowledged to any client.
    async fn filter_known(&mut self) -> Result<(), Violation> {
        let ids = self.world.model().acknowledged(20, &mut self.random);
        if !ids.is_empty() {
            self.filter(&ids).await?;
        }
        Ok(())
    }

    /// Gives a commit a name, and looks at all names.
    async fn tag(&mut self) -> Result<(), Violation> {
        let Some((_, heads)) = self.refs().await? else { return Ok(()) };
        let heads: Vec<&String> = heads.values().collect();
        if let Some(head) = heads.choose(&mut self.random) {
            let label = format!("t{}", self.random.random_range(0..6));
            let tag = json!({"tags": [{"tag": label, "commit_id": head}]});
            for _ in 0..ATTEMPTS {
                let action = Action::Set((*head).clone());
                let now = self.world.now();
                let noted = self.world.model().ask(&format!("{TAG}{label}"), action, now);
                let place = self.place();
                if let Some(answer) = self.world.call(place, Function::Tags, self.encoding, &tag).await? {
                    decoded(&answer, 200)?;
                    self.world.model().hear(&noted, Outcome::Done, self.world.now());
                    break;
                }
            }
        }
        self.list_tags().await
    }

    async fn list_tags(&mut self) -> Result<(), Violation> {
        let (asked, now) = (self.world.model().tick(), self.world.now());
        let Some(answer) = self.get(Function::Tags, "").await? else { return Ok(()) };
        let listed = named(&decoded(&answer, 200)?, "tags")?;
        self.world.model().read(TAG, &listed, asked, now, "");
        Ok(())
    }

    /// Publishes a commit, or takes back what was published, and looks at all that is.
    async fn release(&mut self) -> Result<(), Violation> {
        let Some((_, heads)) = self.refs().await? else { return Ok(()) };
        let tag = format!("v{}", self.random.random_range(0..5));
        let register = format!("{RELEASE}{tag}");
        let takes_back = self.random.random_bool(0.3);
        let heads: Vec<&String> = heads.values().collect();
        let head = heads.choose(&mut self.random).map(|head| (*head).clone());
        for _ in 0..ATTEMPTS {
            let now = self.world.now();
            let place = self.place();
            let (noted, answer, refused) = if takes_back {
                let noted = self.world.model().ask(&register, Action::Clear, now);
                let request = http::Request::delete("/");
                let encoded = percent_encoded(&tag);
                let parameters = [("slug", SLUG), ("tag", encoded.as_str())];
                (noted, self.world.send(place, Function::Releases, request, &parameters, Vec::new()).await?, 404)
            } else {
                let Some(head) = &head else { return Ok(()) };
                let noted = self.world.model().ask(&register, Action::Claim(head.clone()), now);
                let release = json!({"tag": tag, "commit_id": head});
                (noted, self.world.call(place, Function::Releases, Encoding::Json, &release).await?, 409)
            };
            let Some(answer) = answer else { continue };
            let outcome = match answer.status {
                200 | 201 => Outcome::Done,
                status if status == refused => Outcome::Refused,
                _ => return Err(format!("a release was answered {}", answer.excerpt())),
            };
            self.world.model().hear(&noted, outcome, self.world.now());
            break;
        }
        self.list_releases().await
    }

    async fn list_releases(&mut self) -> Result<(), Violation> {
        let (asked, now) = (self.world.model().tick(), self.world.now());
        let Some(answer) = self.get(Function::Releases, "?include_drafts=1").await? else { return Ok(()) };
        let listed = named(&decoded(&answer, 200)?, "releases")?;
        self.world.model().read(RELEASE, &listed, asked, now, "");
        Ok(())
    }

    /// Fetches branches, as a client that has some of the history.
    async fn fetch(&mut self) -> Result<(), Violation> {
        let Some((_, heads)) = self.refs().await? else { return Ok(()) };
        let mut want: Vec<String> = heads.into_values().collect();
        want.sort_unstable();
        want.dedup();
        if self.random.random_bool(0.3) {
            want.truncate(1);
        }
        let have = match self.random.random_range(0..3) {
            0 => Vec::new(),
            1 => self.local.iter().filter(|_| self.random.random_bool(0.5)).cloned().collect(),
            _ => self.local.iter().cloned().collect::<Vec<_>>(),
        };
        self.fetch_of(&want, &have).await
    }

    async fn fetch_of(&mut self, want: &[String], have: &[String]) -> Result<(), Violation> {
        let (asked, now) = (self.world.model().tick(), self.world.now());
        let Some(answer) = self.ask(Function::Fetch, &json!({"want": want, "have": have})).await? else {
            return Ok(());
        };
        let fetched = Pack::from_value(&decoded(&answer, 200)?)?;
        let end = self.world.now();
        let mut model = self.world.model();
        let purged = Purged { may: model.may_be_purged(), has_to: model.purged_for(asked) };
        fetched::check(model.history(), &model.kept(asked, end), want, have, &purged, &fetched)?;
        model.read(BRANCH, &fetched.branch_heads, asked, now, "");
        self.local.extend(fetched.commit_ids());
        Ok(())
    }

    /// Asks what it has in common with the branches.
    async fn negotiate(&mut self) -> Result<(), Violation> {
        let Some((_, heads)) = self.refs().await? else { return Ok(()) };
        let mut want: Vec<String> = heads.into_values().collect();
        want.dedup();
        let have: Vec<String> = self.local.iter().take(64).cloned().collect();
        let asked = self.world.model().tick();
        let Some(answer) = self.ask(Function::Negotiate, &json!({"want": want, "have": have})).await? else {
            return Ok(());
        };
        let answer = decoded(&answer, 200)?;
        let acknowledged = list_of_text(&answer, "ack")?;
        let now = self.world.now();
        let model = self.world.model();
        let kept = model.kept(asked, now);
        if let Some(lost) = have.iter().find(|id| kept.contains(*id) && !acknowledged.contains(id)) {
            return Err(format!("negotiate does not know {lost}"));
        }
        if let Some(base) = answer["common_base"].as_str() {
            let history = model.history();
            let is_common = |tips: &[String]| tips.iter().any(|tip| history.is_ancestor(base, tip));
            if !is_common(&want) || !is_common(&acknowledged) {
                return Err(format!("negotiate found {base} in common, which it is not"));
            }
        }
        Ok(())
    }

    /// Looks at everything there is, as a client that has nothing: what every run ends with. Once all is swept, nothing is
    /// condemned that is needed.
    ///
    /// # Errors
    /// When anything is not as it has to be.
    pub async fn inspect(&mut self, is_swept: bool) -> Result<(), Violation> {
        let (_, heads) = self.refs().await?.ok_or("refs has no answer")?;
        let want: Vec<String> = heads.into_values().collect::<BTreeSet<_>>().into_iter().collect();
        self.fetch_of(&want, &[]).await?;
        self.list_tags().await?;
        self.list_releases().await?;
        let named: Vec<String> = {
            let model = self.world.model();
            let history = model.history();
            history.objects_of(&history.reachable(&want)).into_iter().collect()
        };
        if named.is_empty() || !is_swept {
            return Ok(());
        }
        match self.filter(&named).await? {
            Some(missing) if missing.is_empty() => Ok(()),
            missing => Err(format!("filter-objects misses {missing:?}, which branches reach")),
        }
    }

    /// Pushes one more commit to a branch of its own.
    ///
    /// # Errors
    /// When that does not land.
    pub async fn push_one(&mut self) -> Result<(), Violation> {
        let (_, heads) = self.refs().await?.ok_or("refs has no answer")?;
        let branch = "the-last";
        let tip = {
            let mut model = self.world.model();
            let parents: Vec<&str> = heads.get(branch).map(String::as_str).into_iter().collect();
            model.commit(&parents, &mut self.random)
        };
        match self.push(branch, &heads, &tip, false).await? {
            Pushed::Landed => Ok(()),
            Pushed::Refused | Pushed::NotAllowed | Pushed::Unheard => Err("the last push did not land".to_owned()),
        }
    }
}

fn is_protected(answer: &Answer) -> bool {
    answer.status == 403 && answer.excerpt().contains("branch_protected")
}

pub(crate) fn decoded(answer: &Answer, status: u16) -> Result<Value, Violation> {
    if answer.status != status {
        return Err(format!("wanted {status}: {}", answer.excerpt()));
    }
    Encoding::of_content_type(answer.header("content-type")).ok_or("no encoding")?.decode(&answer.body)
}

/// The commits of a list of tags or releases, by their labels.
fn named(answer: &Value, field: &str) -> Result<BTreeMap<String, String>, Violation> {
    let list = answer[field].as_array().ok_or_else(|| format!("no list {field}"))?;
    let text = |item: &Value, field: &str| item[field].as_str().map(str::to_owned).ok_or(format!("no {field}"));
    list.iter().map(|item| Ok((text(item, "tag")?, text(item, "commit_id")?))).collect()
}
