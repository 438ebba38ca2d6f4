//! HTTP as the Muse clients speak it, and what either generation does to push, clone and fetch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::HeaderMap;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::encoding::Encoding;
use crate::history::{History, Object, Pack, list_of_text, map_of_text, objects_body};
use crate::verify;

/// The most that a client reads of a response.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

/// Longer than a client's 60 s, because debug builds and busy machines are slow and slowness is measured elsewhere.
const PATIENCE: Duration = Duration::from_secs(240);

/// Objects in one request.
const CHUNK: usize = 400;

/// Objects above this many bytes go through presigned URLs where the hub has them.
const INLINE: usize = 65_536;

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

/// An error body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// `error`
    pub code: String,
    /// `detail`
    pub detail: String,
}

impl Answer {
    /// A header, or "".
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body's start, for messages.
    pub fn excerpt(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body[..self.body.len().min(400)]))
    }

    /// The encoding that the answer says it is in.
    #[track_caller]
    pub fn encoding(&self) -> Encoding {
        let header = self.header("content-type");
        Encoding::of_content_type(header).unwrap_or_else(|| panic!("Content-Type {header:?} of {}", self.excerpt()))
    }

    /// The body of an answer of this status, decoded as it says it is encoded.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.excerpt());
        let decoded = self.encoding().decode(&self.body);
        decoded.unwrap_or_else(|error| panic!("{error}: {}", self.excerpt()))
    }

    /// The error body that every answer but a 2xx must have, checked for its form.
    pub fn refusal(&self) -> Result<Refusal, String> {
        let problem = |problem: &str| Err(format!("{problem}: {}", self.excerpt()));
        if (200..300).contains(&self.status) {
            return problem("not refused");
        }
        if Encoding::of_content_type(self.header("content-type")) != Some(Encoding::Json) {
            return problem("an error that is not application/json");
        }
        let Ok(body) = Encoding::Json.decode(&self.body) else { return problem("an error that is not JSON") };
        let (Some(code), Some(detail)) = (body["error"].as_str(), body["detail"].as_str()) else {
            return problem("no error and detail");
        };
        if code.is_empty() || !code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            return problem("an error code that is none");
        }
        if detail.trim().is_empty() {
            return problem("a detail that says nothing");
        }
        Ok(Refusal { status: self.status, code: code.to_owned(), detail: detail.to_owned() })
    }

    /// Fails unless it is a well-formed refusal of this status and, unless that is "", of this code.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Refusal {
        let refusal = self.refusal().unwrap_or_else(|problem| panic!("wanted {status} {code}: {problem}"));
        assert_eq!(refusal.status, status, "wanted {status} {code}: {}", self.excerpt());
        assert!(code.is_empty() || refusal.code == code, "wanted {status} {code}: {}", self.excerpt());
        refusal
    }

    /// Fails unless it is a well-formed refusal that blames the client.
    #[track_caller]
    pub fn refused_somehow(&self) -> Refusal {
        let refusal = self.refusal().unwrap_or_else(|problem| panic!("wanted a 4xx: {problem}"));
        assert!((400..500).contains(&refusal.status), "wanted a 4xx: {}", self.excerpt());
        refusal
    }
}

/// One request on a connection of its own, as the clients make them. An answer that breaks off is an error.
pub async fn send(method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Answer, String> {
    let exchange = exchange(method, url, headers, body.into());
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(answer) => answer.map_err(|error| format!("{method} {url}: {error}")),
        Err(_) => Err(format!("{method} {url}: no answer within {PATIENCE:?}")),
    }
}

/// A PUT to a URL that a hub signed, as bare as the clients make it.
pub async fn put(url: &str, body: impl Into<Bytes>) -> Answer {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    send("PUT", url, &headers, body).await.expect("the store answers")
}

/// Fails unless the store took what was PUT there.
pub async fn put_well(url: &str, body: impl Into<Bytes>) {
    let answer = put(url, body).await;
    assert!((200..300).contains(&answer.status), "a presigned PUT failed: {}", answer.excerpt());
}

/// A part of a path, with everything encoded but letters and digits.
pub fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

async fn exchange(method: &str, url: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer, String> {
    let rest = url.strip_prefix("http://").ok_or("the kit speaks plain HTTP only; put a TLS proxy in between")?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let address = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };

    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("connection", "close")
        .header("accept-encoding", "identity");
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", authority);
    }
    if ["POST", "PUT"].contains(&method) {
        // hyper leaves it out where there is no body, and S3 insists on it.
        request = request.header("content-length", body.len());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;

    let stream = TcpStream::connect(&address).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| format!("{error:?}"))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
    connection.abort();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

/// A remote, as one user with one generation of the client sees it.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The hub, without a trailing slash.
    pub hub: String,
    /// The owner's handle.
    pub owner: String,
    /// The repo's name in the URL.
    pub slug: String,
    /// The bearer token, if any.
    pub token: Option<String>,
    /// What it sends and accepts.
    pub encoding: Encoding,
}

impl Remote {
    /// The same remote in another encoding.
    pub fn speaking(&self, encoding: Encoding) -> Remote {
        Remote { encoding, ..self.clone() }
    }

    /// The same remote with another token.
    pub fn with_token(&self, token: impl Into<String>) -> Remote {
        Remote { token: Some(token.into()), ..self.clone() }
    }

    /// The same remote without a token, as `muse clone` sees it.
    pub fn anonymous(&self) -> Remote {
        Remote { token: None, ..self.clone() }
    }

    /// The URL of one of its endpoints.
    pub fn url(&self, endpoint: &str) -> String {
        format!("{}/{}/{}/{endpoint}", self.hub, self.owner, self.slug)
    }

    /// A request with exactly these headers beside the token.
    pub async fn raw(&self, method: &str, endpoint: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut all = headers.to_vec();
        all.extend(bearer.iter().map(|bearer| ("authorization", bearer.as_str())));
        send(method, &self.url(endpoint), &all, body).await.expect("the hub answers")
    }

    /// A GET as this client makes it.
    pub async fn get(&self, endpoint: &str) -> Answer {
        self.checked(self.raw("GET", endpoint, &[("accept", self.encoding.accept())], "").await)
    }

    /// A POST as this client makes it.
    pub async fn post(&self, endpoint: &str, body: &Value) -> Answer {
        self.post_bytes(endpoint, self.encoding.encode(body)).await
    }

    /// A POST of bytes that claim to be in this client's encoding.
    pub async fn post_bytes(&self, endpoint: &str, body: impl Into<Bytes>) -> Answer {
        let headers = [("content-type", self.encoding.content_type()), ("accept", self.encoding.accept())];
        self.checked(self.raw("POST", endpoint, &headers, body).await)
    }

    /// A POST of a body in `sent`, answered in this client's encoding.
    pub async fn post_in(&self, sent: Encoding, endpoint: &str, body: &Value) -> Answer {
        let headers = [("content-type", sent.content_type()), ("accept", self.encoding.accept())];
        self.checked(self.raw("POST", endpoint, &headers, sent.encode(body)).await)
    }

    /// A DELETE as this client makes it.
    pub async fn delete(&self, endpoint: &str) -> Answer {
        self.checked(self.raw("DELETE", endpoint, &[("accept", self.encoding.accept())], "").await)
    }

    /// `GET /o/{object_id}?repo_id=` at the hub's root, with `id` as it is to be in the path.
    pub async fn object(&self, repo_id: &str, id: &str, headers: &[(&str, &str)]) -> Answer {
        self.at_root("GET", &format!("o/{id}?repo_id={repo_id}"), headers).await
    }

    /// A request without a body below the hub's root, with exactly these headers beside the token.
    pub async fn at_root(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut all = headers.to_vec();
        all.extend(bearer.iter().map(|bearer| ("authorization", bearer.as_str())));
        send(method, &format!("{}/{path}", self.hub), &all, "").await.expect("the hub answers")
    }

    /// The first half of a request by reference: `POST /uploads`, and the body PUT where that says. Answers with the
    /// upload's id.
    pub async fn put_body(&self, body: impl Into<Bytes>) -> String {
        let (id, url) = self.new_upload().await;
        put_well(&url, body).await;
        id
    }

    /// `POST /uploads`: the id and the URL.
    pub async fn new_upload(&self) -> (String, String) {
        let upload = self.post_bytes("uploads", "").await.expect(200);
        let text = |field: &str| upload[field].as_str().expect("a string").to_owned();
        (text("upload_id"), text("url"))
    }

    /// The second half: the POST itself, whose body was PUT before.
    pub async fn post_reference(&self, endpoint: &str, upload_id: &str) -> Answer {
        let headers = [
            ("content-type", self.encoding.content_type()),
            ("accept", self.encoding.accept()),
            ("muse-body-upload", upload_id),
        ];
        self.checked(self.raw("POST", endpoint, &headers, "").await)
    }

    /// [`Self::post`], by reference.
    pub async fn post_by_reference(&self, endpoint: &str, body: &Value) -> Answer {
        let upload_id = self.put_body(self.encoding.encode(body)).await;
        self.post_reference(endpoint, &upload_id).await
    }

    /// A client decodes every 2xx as what it accepts, and prints every error as text.
    #[track_caller]
    fn checked(&self, answer: Answer) -> Answer {
        if (200..300).contains(&answer.status) {
            assert_eq!(answer.encoding(), self.encoding, "the encoding of {}", answer.excerpt());
        }
        answer
    }

    /// The heads that `GET /refs` names.
    pub async fn heads(&self) -> BTreeMap<String, String> {
        map_of_text(&self.get("refs").await.expect(200), "branch_heads").expect("heads")
    }

    /// `GET /refs`, `repo_id` only.
    pub async fn repo_id(&self) -> String {
        self.get("refs").await.expect(200)["repo_id"].as_str().expect("an id").to_owned()
    }

    /// `GET /refs`, `default_branch` only.
    pub async fn default_branch(&self) -> String {
        self.get("refs").await.expect(200)["default_branch"].as_str().expect("a default branch").to_owned()
    }

    /// `GET /refs`, `domain` only.
    pub async fn domain(&self) -> String {
        self.get("refs").await.expect(200)["domain"].as_str().expect("a word").to_owned()
    }

    /// `POST /push` with all that the bundle has.
    pub async fn push_pack(&self, branch: &str, force: bool, bundle: &Pack) -> Answer {
        self.post("push", &json!({"bundle": bundle.to_value(), "branch": branch, "force": force})).await
    }

    /// `POST /push/objects`
    pub async fn push_objects(&self, objects: &[Object]) -> Answer {
        self.post("push/objects", &objects_body(objects)).await
    }

    /// `POST /filter-objects`: the ids that it says are missing.
    pub async fn missing<I: AsRef<str>>(&self, ids: &[I]) -> Vec<String> {
        let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
        let answer = self.post("filter-objects", &json!({"object_ids": ids})).await.expect(200);
        list_of_text(&answer, "missing").expect("ids")
    }

    /// `POST /presign` for five minutes, answered or refused.
    pub async fn presign<I: AsRef<str>>(&self, direction: &str, ids: &[I]) -> Answer {
        let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
        self.post("presign", &json!({"object_ids": ids, "direction": direction, "ttl_seconds": 300})).await
    }

    /// The URL for each of these ids that has one. Fails unless every id is either there or inline, and nothing else is.
    pub async fn presigned<I: AsRef<str>>(&self, direction: &str, ids: &[I]) -> BTreeMap<String, String> {
        let answer = self.presign(direction, ids).await.expect(200);
        let urls = map_of_text(&answer, "presigned").expect("URLs");
        let inline = list_of_text(&answer, "inline").expect("ids");
        let mut answered: Vec<&str> = urls.keys().map(String::as_str).collect();
        answered.extend(inline.iter().map(String::as_str));
        answered.sort_unstable();
        let mut asked: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
        asked.sort_unstable();
        assert_eq!(answered, asked, "every id is in one of the two");
        urls
    }

    /// The URL to PUT this object to.
    pub async fn put_url(&self, id: &str) -> String {
        self.presigned("put", &[id]).await.remove(id).expect("a URL")
    }

    /// Sends an object through a presigned URL.
    pub async fn upload(&self, object: &Object) {
        put_well(&self.put_url(&object.id).await, object.content.clone()).await;
    }

    /// `POST /fetch`, answered or refused.
    pub async fn ask<W: AsRef<str>, H: AsRef<str>>(&self, want: &[W], have: &[H]) -> Answer {
        let want: Vec<&str> = want.iter().map(AsRef::as_ref).collect();
        let have: Vec<&str> = have.iter().map(AsRef::as_ref).collect();
        self.post("fetch", &json!({"want": want, "have": have})).await
    }

    /// `POST /fetch`, its answer believed as little as [`verify::pack`] does.
    pub async fn fetch<W: AsRef<str>, H: AsRef<str>>(&self, local: &History, want: &[W], have: &[H]) -> Pack {
        let answer = self.ask(want, have).await.expect(200);
        let pack = Pack::from_value(&answer).expect("a fetch's answer");
        verify::pack(&pack, local).expect("an answer that holds together");
        pack
    }

    /// What `muse clone` does: everything, without a token unless this remote has one.
    pub async fn clone_all(&self) -> Pack {
        let heads = self.heads().await;
        let want: BTreeSet<&String> = heads.values().collect();
        let pack = self.fetch::<_, &str>(&History::default(), &want.into_iter().collect::<Vec<_>>(), &[]).await;
        let fetched = pack.commit_ids();
        assert!(heads.values().all(|head| fetched.contains(head)), "every head was sent");
        pack
    }

    /// The same of a repo of which these objects were purged: the answer says that they are left out, and nothing else is.
    pub async fn clone_all_but(&self, purged: &[&str]) -> Pack {
        let want: BTreeSet<String> = self.heads().await.into_values().collect();
        let answer = self.ask::<_, &str>(&want.into_iter().collect::<Vec<_>>(), &[]).await.expect(200);
        assert_eq!(answer["purged"], json!(purged));
        let pack = Pack::from_value(&answer).expect("a fetch's answer");
        let mut had = History::default();
        had.objects.extend(purged.iter().map(|id| ((*id).to_owned(), Bytes::new())));
        verify::pack(&pack, &had).expect("an answer that holds together");
        pack
    }

    /// What `muse push` does, in the steps that this generation takes it in. Answers with the final push's answer, or
    /// with the first that was a refusal.
    pub async fn push(&self, local: &History, branch: &str, tip: &str) -> Answer {
        let refs = self.get("refs").await;
        let heads = if refs.status == 404 {
            BTreeMap::new()
        } else {
            map_of_text(&refs.expect(200), "branch_heads").expect("heads")
        };
        let have: Vec<String> = heads.into_values().collect();
        let bundle = local.pack(&local.between(&[tip], &have)).with_head(branch, tip);
        let staged = match self.encoding {
            Encoding::Json if bundle.objects.len() <= CHUNK => return self.push_pack(branch, false, &bundle).await,
            Encoding::Json => self.push_in_chunks(&bundle.objects, 1).await,
            Encoding::Msgpack => {
                let missing = self.missing_of(&bundle.objects).await;
                let inline = self.put_presigned(missing).await;
                self.push_in_chunks(&inline, 4).await
            }
        };
        match staged {
            Err(refused) => *refused,
            Ok(()) => self.push_pack(branch, false, &bundle.without_objects()).await,
        }
    }

    async fn push_in_chunks(&self, objects: &[Object], at_once: usize) -> Result<(), Box<Answer>> {
        let chunks = objects.chunks(CHUNK).map(|chunk| async move {
            let answer = self.push_objects(chunk).await;
            if answer.status == 200 { Ok(()) } else { Err(Box::new(answer)) }
        });
        futures_util::stream::iter(chunks).buffer_unordered(at_once).try_collect().await
    }

    /// The objects that `/filter-objects` says are missing; all of them where it doesn't answer.
    async fn missing_of(&self, objects: &[Object]) -> Vec<Object> {
        let ids: Vec<&str> = objects.iter().map(|object| object.id.as_str()).collect();
        let answer = self.post("filter-objects", &json!({"object_ids": ids})).await;
        if answer.status != 200 {
            return objects.to_vec();
        }
        let answer = answer.expect(200);
        let missing: BTreeSet<&str> =
            answer["missing"].as_array().expect("a list").iter().map(|id| id.as_str().expect("an id")).collect();
        objects.iter().filter(|object| missing.contains(object.id.as_str())).cloned().collect()
    }

    /// Sends the big objects where `/presign` says, and returns those that are left to send inline.
    async fn put_presigned(&self, objects: Vec<Object>) -> Vec<Object> {
        let (big, mut inline): (Vec<Object>, Vec<Object>) =
            objects.into_iter().partition(|object| object.content.len() > INLINE);
        let ids: Vec<&str> = big.iter().map(|object| object.id.as_str()).collect();
        if ids.is_empty() {
            return inline;
        }
        let answer = self.post("presign", &json!({"object_ids": ids, "direction": "put", "ttl_seconds": 300})).await;
        let urls = if answer.status == 200 {
            map_of_text(&answer.expect(200), "presigned").expect("URLs")
        } else {
            BTreeMap::new()
        };
        for object in big {
            let Some(url) = urls.get(&object.id) else {
                inline.push(object);
                continue;
            };
            put_well(url, object.content).await;
        }
        inline
    }
}
