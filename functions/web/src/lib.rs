//! The hub in a browser: a page for the hub, for each user and each repository, and for what is in it.
//!
//! Pages are made here of what the stores have, and laid out by the crate `pages`, which knows nothing of stores. A page reads
//! what it shows and no more: `at` finds the commit, `content` reads snapshots and files, and each other module makes some
//! pages. `session` keeps a browser logged in, and `respond` says how long what is sent is good.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod at;
mod content;
mod files;
mod history;
mod hub_pages;
mod names;
mod respond;
mod session;
mod stats;

use std::sync::OnceLock;

use common::wire::WireError;
use lambda_http::{Request, Response};
use pages::frame;
use pages::page::Page;
use pages::page::error::ErrorPage;
use service::auth::{Credential, User};
use service::{Access, AnswerBody, Call, Hub};
use session::Session;
use store::read::view::View;
use store::repo::{Load, Repo};
use store::table::items::Visibility;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    let session = Box::pin(Session::of(hub, &request)).await;
    let mut request = request;
    session.add_to(&mut request);
    if !service::takes_pages(request.headers()) {
        return hub
            .answer(env!("CARGO_PKG_NAME"), request, |call| async move { Box::pin(answer(hub, &call)).await })
            .await;
    }
    let (base, asked) = (
        service::base_path(hub, &request),
        request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
    );
    let viewer = Box::pin(session.viewer(hub)).await;
    let refuse = move |error: &WireError, request_id: &str| {
        let page = refusal(error, request_id, viewer.clone(), &asked);
        Some((respond::HTML, pages::under(&base, page).into_bytes()))
    };
    let answered = hub.answer_shown(
        env!("CARGO_PKG_NAME"),
        request,
        |call| async move { Box::pin(answer(hub, &call)).await },
        &refuse,
    );
    let mut response = Box::pin(answered).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        respond::set_policy(response.headers_mut(), pages::assets::PAGE_POLICY);
    }
    session.end_in(&mut response);
    response
}

async fn answer(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    // What a page loads, and files: for any client.
    match call.route_path() {
        "/-/{key}" => return respond::asset(call),
        "/{owner}/{slug}/raw/{ref}/{path+}" => return files::raw(&Reader::of(hub, call).await?).await,
        _ => {}
    }
    // Clients that show no pages, and do not ask for data by name, find here what they did before there were pages: nothing.
    if !call.takes_pages() && !call.takes_data() {
        return Err(WireError::UnknownRoute);
    }
    match call.route_path() {
        "/login" if call.method() == lambda_http::http::Method::POST => return session::log_in(hub, call).await,
        "/login" => return session::form(hub, call, None),
        "/logout" => return session::log_out(hub, call),
        _ => {}
    }
    let reader = Reader::of(hub, call).await?;
    let shown = page_of(&reader).await?;
    // A link to a name that the repository had before leads a browser to the one that it has.
    match reader.moved.get() {
        Some(to) if call.takes_pages() => respond::redirect(hub, call, to),
        _ => Ok(shown),
    }
}

async fn page_of(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    match reader.call.route_path() {
        "/" => hub_pages::home(reader).await,
        "/{owner}" => hub_pages::owner(reader).await,
        "/{owner}/{slug}" => files::repo(reader).await,
        "/{owner}/{slug}/tree/{ref}" | "/{owner}/{slug}/tree/{ref}/{path+}" => files::tree(reader).await,
        "/{owner}/{slug}/blob/{ref}/{path+}" => files::blob(reader).await,
        "/{owner}/{slug}/commits/{ref}" => history::commits(reader).await,
        "/{owner}/{slug}/commit/{commit}" => history::commit(reader).await,
        "/{owner}/{slug}/compare/{range}" => history::compare(reader).await,
        "/{owner}/{slug}/branches" => names::branches(reader).await,
        "/{owner}/{slug}/log" => names::log(reader).await,
        "/{owner}/{slug}/-/tags" => names::tags(reader).await,
        "/{owner}/{slug}/-/releases" => names::releases(reader).await,
        "/{owner}/{slug}/stats" => stats::stats(reader).await,
        _ => Err(WireError::UnknownRoute),
    }
}

/// A request for a page, and who asks.
pub(crate) struct Reader<'a> {
    hub: &'a Hub,
    call: &'a Call,
    credential: Option<Credential>,
    user: Option<User>,
    frame: frame::Hub,
    /// Where the page is, if it was asked for by a name that its repository had before.
    moved: OnceLock<String>,
}

/// A repository that a page is of.
pub(crate) struct Opened {
    repo: Repo,
    view: View,
    frame: frame::Repo,
}

impl<'a> Reader<'a> {
    async fn of(hub: &'a Hub, call: &'a Call) -> Result<Self, WireError> {
        let credential = call.credential(hub).await?;
        let user = match &credential {
            Some(credential) => Some(hub.user(credential).await?),
            None => None,
        };
        let viewer = match &user {
            Some(user) => {
                let profile = hub.store.profile(&user.id).await?;
                Some(profile.map_or_else(|| user.id.clone(), |profile| profile.handle.to_string()))
            }
            None => None,
        };
        let url = call.hub_url(hub)?;
        let frame = frame::Hub { name: String::new(), url, viewer, form_token: None };
        Ok(Self { hub, call, credential, user, frame, moved: OnceLock::new() })
    }

    /// Opens the repository in the path, as its reader.
    async fn open(&self, load: Load) -> Result<Opened, WireError> {
        let target = self.call.target()?;
        let found = self.hub.open(self.credential.as_ref(), &target, Access::Read, load).await?;
        let (repo, view) = (found.repo, found.view);
        let meta = &repo.meta;
        if meta.slug != target.slug {
            self.moved.get_or_init(|| self.call.path_under(&meta.slug));
        }
        // Where nothing was pushed there is no branch to lead to.
        let default_branch = match repo.heads.is_empty() {
            true => String::new(),
            false => meta.shown_default(&repo.heads).to_owned(),
        };
        let frame = frame::Repo {
            owner: meta.owner.to_string(),
            slug: meta.slug.to_string(),
            description: meta.description.clone(),
            is_private: meta.visibility == Visibility::Private,
            default_branch,
        };
        Ok(Opened { repo, view: view.newest_first(), frame })
    }

    fn query(&self, name: &str) -> Option<String> {
        self.call.query_parameter(name).filter(|value| !value.is_empty())
    }
}

/// The page for a request that is refused.
fn refusal(error: &WireError, request_id: &str, viewer: Option<String>, asked: &str) -> String {
    let mut sentence = error.to_string();
    if error.status().is_server_error() {
        sentence.push_str(&format!(" (request {request_id})"));
    }
    // The words of the API are for clients; a person at a browser logs in.
    let advice = match error {
        WireError::RepoNotFoundUnasked(_) | WireError::RepoNotFound if viewer.is_none() => {
            sentence = "There is no such repository, or it is private.".to_owned();
            "If it is yours, log in.".to_owned()
        }
        WireError::Unauthorized(_) => {
            sentence = "This hub shows nothing to readers who are not logged in.".to_owned();
            "Log in with a token of this hub.".to_owned()
        }
        WireError::UnknownRoute => {
            sentence = "There is no such page.".to_owned();
            String::new()
        }
        _ => String::new(),
    };
    let page = ErrorPage {
        hub: frame::Hub { viewer, ..frame::Hub::default() },
        repo: None,
        status: error.status().as_u16(),
        code: error.code().to_owned(),
        sentence,
        advice,
        next: Some(asked.to_owned()),
    };
    page.html()
}
