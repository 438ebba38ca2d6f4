//! How pages, bytes and redirections are sent, and for how long they are good.

use bytes::Bytes;
use common::id::CommitId;
use common::wire::WireError;
use lambda_http::Response;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, VARY};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pages::assets;
use pages::page::Page;
use service::{AnswerBody, Call, Hub};
use sha2::{Digest, Sha256};
use store::compute;
use store::table::items::Visibility;

use crate::{Opened, Reader};

pub(crate) const HTML: &str = "text/html; charset=utf-8";
/// A page that is asked for again each time, which costs a read where it has not changed.
const UNTIL_ASKED: &str = "private, no-cache";
/// What never changes under its URL: a commit, a file of a commit.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// What a page is made of, as far as its first read shows: two that are made of the same are the same page.
pub(crate) struct Version {
    hash: Sha256,
    /// Whether the page shows what others may not see.
    is_private: bool,
}

impl Version {
    /// Of this build, for this reader.
    pub(crate) fn of(reader: &Reader<'_>) -> Self {
        let mut version = Self { hash: Sha256::new(), is_private: reader.credential.is_some() };
        version.add(env!("CARGO_PKG_VERSION"));
        for asset in assets::assets() {
            version.add(&asset.name);
        }
        version.add(&reader.frame.url);
        version.add(reader.frame.viewer.as_deref().unwrap_or_default());
        version.add(reader.call.path());
        for parameter in ["after", "view", "plain"] {
            version.add(&reader.query(parameter).unwrap_or_default());
        }
        version
    }

    /// And of this repository, with its branches.
    pub(crate) fn of_repo(reader: &Reader<'_>, opened: &Opened) -> Self {
        let mut version = Self::of(reader);
        let repo = &opened.repo;
        version.is_private = repo.meta.visibility == Visibility::Private;
        for text in
            [repo.id.as_str(), repo.meta.visibility.as_str(), &opened.frame.default_branch, &repo.meta.description]
        {
            version.add(text);
        }
        version.add(&repo.purged.len().to_string());
        for (branch, head) in &repo.heads {
            version.add(branch);
            version.add(&head.to_string());
        }
        version
    }

    /// And of these commits, which the URL may name by tags.
    pub(crate) fn of_commits(reader: &Reader<'_>, opened: &Opened, commits: &[&CommitId]) -> Self {
        let mut version = Self::of_repo(reader, opened);
        for commit in commits {
            version.add(&commit.to_string());
        }
        version
    }

    /// And of this.
    pub(crate) fn add(&mut self, text: &str) {
        self.hash.update((text.len() as u64).to_le_bytes());
        self.hash.update(text.as_bytes());
    }

    /// The value of `ETag`. It is weak, because a page says how long ago things were.
    fn etag(self) -> Result<HeaderValue, WireError> {
        let digest = self.hash.finalize();
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        HeaderValue::from_str(&format!("W/\"{hex}\"")).map_err(WireError::internal)
    }
}

/// A page, unless the reader has it already: then `make` is not asked. A program that asks for JSON or msgpack gets what the page
/// shows.
pub(crate) async fn page<P, F>(
    reader: &Reader<'_>,
    mut version: Version,
    make: impl FnOnce() -> F,
) -> Result<Response<AnswerBody>, WireError>
where
    P: Page,
    F: Future<Output = Result<P, WireError>>,
{
    let is_for_people = reader.call.takes_pages();
    version.add(&if is_for_people { HTML.to_owned() } else { format!("{:?}", reader.call.answer_encoding()) });
    // A browser that is logged out again shows nothing of it, whatever button is pressed.
    let cache = if version.is_private { "private, no-store" } else { UNTIL_ASKED };
    let etag = version.etag()?;
    let known = reader.call.headers().get_all(IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|value| value.split(',')).any(|known| known.trim().as_bytes() == etag.as_bytes());
    let mut response = if is_known {
        let mut response = Response::new(AnswerBody::whole(Bytes::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        // Of pages that are large or take long, few are made at a time, and beside the other requests.
        let _permit = reader.hub.store.page_permit().await?;
        let made = make().await?;
        match is_for_people {
            true => html(reader.hub, reader.call, StatusCode::OK, compute(|| made.html())),
            false => reader.call.respond(StatusCode::OK, &made)?,
        }
    };
    response.headers_mut().insert(ETAG, etag);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept, cookie"));
    Ok(response)
}

/// A page for a status.
pub(crate) fn html(hub: &Hub, call: &Call, status: StatusCode, page: String) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(pages::under(&call.base_path(hub), page)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(HTML));
    set_policy(response.headers_mut(), assets::PAGE_POLICY);
    response
}

/// The headers without which a browser would do more with what is sent than it should.
pub(crate) fn set_policy(headers: &mut HeaderMap, policy: &'static str) {
    headers.insert("content-security-policy", HeaderValue::from_static(policy));
    for (name, value) in assets::HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

/// Says that what is sent is good for ever, if anyone may have it.
pub(crate) fn set_immutable(headers: &mut HeaderMap, reader: &Reader<'_>, opened: &Opened) {
    if opened.repo.meta.visibility == Visibility::Public && reader.credential.is_none() {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
    }
}

/// Another place of this hub, for a GET.
pub(crate) fn redirect(hub: &Hub, call: &Call, to: &str) -> Result<Response<AnswerBody>, WireError> {
    let mut response = Response::new(AnswerBody::whole(Bytes::new()));
    *response.status_mut() = StatusCode::SEE_OTHER;
    response
        .headers_mut()
        .insert(LOCATION, HeaderValue::from_str(&format!("{}{to}", call.base_path(hub))).map_err(WireError::internal)?);
    Ok(response)
}

/// `/-/{key}`: the style sheet, the script, the icon.
pub(crate) fn asset(call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let name = call.path_parameter("key").unwrap_or_default();
    let asset = assets::asset(&name).ok_or(WireError::UnknownRoute)?;
    let mut response = Response::new(AnswerBody::whole(Bytes::from_static(asset.bytes)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    let cache = if asset.name == name { assets::CACHE } else { "no-store" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    set_policy(headers, assets::RAW_POLICY);
    Ok(response)
}
