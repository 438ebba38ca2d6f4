//! `POST /releases` publishes a commit under a name, `GET /releases` lists what is published, and
//! `DELETE /releases/{tag}` takes it back.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use std::collections::HashSet;

use common::id::Label;
use common::wire::WireError;
use common::wire::error::Missing;
use common::wire::limits::MAX_PAGE;
use common::wire::page::Page;
use common::wire::release::{Release, ReleaseFilter};
use common::wire::request::{ReleaseResponse, RetractedResponse};
use lambda_http::http::{Method, StatusCode};
use lambda_http::{Request, Response};
use service::Hub;
use service::{Access, AnswerBody, Call, Opened};
use store::compute;
use store::repo::Load;
use store::table::items::Role;
use store::table::transaction::Outcome;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move {
        match *call.method() {
            Method::GET => list(hub, &call).await,
            Method::DELETE => retract(hub, &call).await,
            _ => publish(hub, &call).await,
        }
    })
    .await
}

async fn publish(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let Opened { repo, view, user, .. } =
        hub.open(Some(&token), &call.target()?, Access::Write, Load::RELIABLE_PACKS).await?;
    let ambient = hub.store.ambient();
    let release_id = ambient.ulid().to_string();
    let release = Release::check(call.decode()?, &release_id, repo.id.as_str(), &ambient.now_iso())?;

    let named = HashSet::from([&release.commit]);
    if hub.settings.ids.are_checked() && hub.store.commits_to_name(&repo, &view, &named).await?.is_empty() {
        let mut missing = Missing::default();
        missing.note(|| format!("commit '{}' of release '{}'", release.commit, release.tag));
        missing.refuse()?;
    }
    if hub.store.put_release(&repo.id, &release, &user.id).await? == Outcome::Conflict {
        // A client that got no answer sends it again.
        let published = match release.has_own_id() {
            true => hub.store.release(&repo.id, &release.tag).await?,
            false => None,
        };
        let published = published.map(|published| published.value()).transpose()?;
        if !published.is_some_and(|published| release.is_again(&published)) {
            return Err(WireError::ReleaseExists(release.tag));
        }
    }
    call.respond(StatusCode::CREATED, &ReleaseResponse { release_id: release.id().to_owned() })
}

async fn list(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    if call.takes_pages() {
        return Ok(call.redirect_to_page("-/releases"));
    }
    let credential = call.credential(hub).await?;
    let repo = hub.open(credential.as_ref(), &call.target()?, Access::Read, Load::NOTHING).await?.repo;
    let (channel, drafts) = (call.query_parameter("channel"), call.query_parameter("include_drafts"));
    let mut filter = ReleaseFilter::parse(channel.as_deref(), drafts.as_deref())?;
    // Drafts are for those who make them.
    filter.include_drafts &= repo.is_for(Role::Write);
    let releases = hub.store.releases(&repo.id, filter).await?;
    let start = match call.query_parameter("after").filter(|after| !after.is_empty()) {
        None => 0,
        Some(after) => {
            let last = releases.iter().position(|release| release.tag == after);
            1 + last
                .ok_or_else(|| WireError::invalid("after", "no release that is listed has this tag: begin again"))?
        }
    };
    let page = compute(|| {
        let mut page = Page::new(call.answer_encoding(), "releases", MAX_PAGE);
        for release in releases.iter().skip(start) {
            if page.push_record(&release.record()?, &release.tag)?.is_break() {
                break;
            }
        }
        Ok::<_, WireError>(page)
    })?;
    call.respond_with(page)
}

async fn retract(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let access = Access::Administer("retract a release");
    let repo = hub.open(Some(&token), &call.target()?, access, Load::NOTHING).await?.repo;
    let tag = call.path_parameter("tag").unwrap_or_default();
    let tag: Label = tag.parse().map_err(|reason| WireError::invalid("tag", reason))?;
    if !hub.store.delete_release(&repo.id, &tag).await? {
        return Err(WireError::ReleaseNotFound(tag));
    }
    call.respond(StatusCode::OK, &RetractedResponse { retracted: tag })
}
