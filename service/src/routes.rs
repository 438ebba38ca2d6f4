//! Every route of the hub. From this table come the router of `musehub serve` and what is known of a request before its body is
//! read; the routes of `cargo lambda watch`, of the template and of OpenAPI are held to it by tests.

use http::Method;
use http::request::Parts;
use lambda_http::RequestExt;
use lambda_http::request::RequestContext;

/// One of the hub's functions that answer requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `functions/refs`
    Refs,
    /// `functions/push`
    Push,
    /// `functions/push-objects`
    PushObjects,
    /// `functions/fetch`
    Fetch,
    /// `functions/filter-objects`
    FilterObjects,
    /// `functions/negotiate`
    Negotiate,
    /// `functions/presign`
    Presign,
    /// `functions/tags`
    Tags,
    /// `functions/releases`
    Releases,
    /// `functions/uploads`
    Uploads,
    /// `functions/object`
    Object,
    /// `functions/openapi`
    Openapi,
    /// `functions/health`
    Health,
    /// `functions/repos`
    Repos,
    /// `functions/forks`
    Forks,
    /// `functions/branches`
    Branches,
    /// `functions/identities`
    Identities,
    /// `functions/stats`
    Stats,
    /// `functions/webhooks`
    Webhooks,
    /// `functions/access`
    Access,
    /// `functions/web`
    Web,
}

/// What a caller needs for a request, as far as that is known without its body. Functions check it themselves, and at the same
/// moment as all else; it is for a door that wants to know before it takes a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Nothing; or what it needs depends on more than the path.
    Any,
    /// A good token.
    User,
    /// To read the repo.
    Read,
    /// A good token, and to read the repo or to make it by pushing.
    Ask,
    /// As [`Self::Ask`] with a token, as [`Self::Read`] without one.
    ReadOrAsk,
    /// To push to the repo, or to make it by pushing.
    Push,
    /// To write to a repo that is there.
    Write,
}

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its method. What answers a GET answers a HEAD.
    pub method: Method,
    /// Its path, with the names of its parameters in braces; `{name+}` is all that is left of the path, as API Gateway writes it.
    pub path: &'static str,
    /// What answers it.
    pub function: Function,
    /// What it takes.
    pub right: Right,
    /// Whether it changes nothing, so that any page of the web may ask it without a token.
    pub reads: bool,
    /// Whether its body may have been uploaded before. No webhook and no purge has 6 MB, and a request for an upload
    /// has no body.
    pub by_reference: bool,
}

impl Route {
    const fn get(path: &'static str, function: Function) -> Self {
        Self { method: Method::GET, path, function, right: Right::Any, reads: true, by_reference: false }
    }

    const fn change(method: Method, path: &'static str, function: Function) -> Self {
        Self { method, path, function, right: Right::Any, reads: false, by_reference: false }
    }

    const fn post(path: &'static str, function: Function, right: Right) -> Self {
        Self { method: Method::POST, path, function, right, reads: false, by_reference: false }
    }

    const fn large_post(path: &'static str, function: Function, right: Right) -> Self {
        Self { method: Method::POST, path, function, right, reads: false, by_reference: true }
    }

    const fn read(path: &'static str, function: Function) -> Self {
        Self { method: Method::POST, path, function, right: Right::Read, reads: true, by_reference: false }
    }

    const fn large_read(path: &'static str, function: Function, right: Right) -> Self {
        Self { method: Method::POST, path, function, right, reads: true, by_reference: true }
    }

    /// Whether this is the route of a path, percent-encoded as it is in a URL.
    fn is_of(&self, path: &str) -> bool {
        let (mut pattern, mut parts) = (self.path.split('/'), path.split('/'));
        loop {
            match (pattern.next(), parts.next()) {
                (None, None) => return true,
                (Some(name), Some(part)) if name.ends_with("+}") => return !part.is_empty(),
                (Some(name), Some(part)) if name.starts_with('{') && !part.is_empty() || name == part => {}
                _ => return false,
            }
        }
    }
}

/// What the paths begin with that lead to a repo by a link. Its secret is the key: an API Gateway has one name for all that can be in one
/// place of a path.
pub(crate) const LINKED: &str = "/-/{key}/";

/// All of them.
pub static ROUTES: [Route; 69] = [
    Route::get("/health", Function::Health),
    Route::get("/openapi.json", Function::Openapi),
    Route::post("/api/identities", Function::Identities, Right::User),
    Route::post("/api/repos", Function::Repos, Right::User),
    Route::post("/api/v1/domains", Function::Repos, Right::User),
    Route::get("/api/repos/{owner}/{slug}", Function::Repos),
    Route::get("/api/repos", Function::Repos),
    Route::change(Method::PATCH, "/api/repos/{owner}/{slug}", Function::Repos),
    Route::change(Method::DELETE, "/api/repos/{owner}/{slug}", Function::Repos),
    Route::post("/api/repos/{owner}/{slug}/undelete", Function::Repos, Right::User),
    Route::post("/api/repos/{owner}/{slug}/forks", Function::Forks, Right::User),
    Route::get("/api/repos/{owner}/{slug}/branches", Function::Branches),
    Route::change(Method::DELETE, "/api/repos/{owner}/{slug}/branches/{branch}", Function::Branches),
    Route::change(Method::PUT, "/api/repos/{owner}/{slug}/branches/{branch}/protection", Function::Branches),
    Route::get("/api/repos/{owner}/{slug}/log", Function::Branches),
    Route::post("/api/repos/{owner}/{slug}/purge", Function::Repos, Right::User),
    Route::get("/api/repos/{owner}/{slug}/purge", Function::Repos),
    Route::get("/api/repos/{owner}/{slug}/stats", Function::Stats),
    Route::post("/api/repos/{owner}/{slug}/webhooks", Function::Webhooks, Right::Ask),
    Route::get("/api/repos/{owner}/{slug}/webhooks", Function::Webhooks),
    Route::change(Method::DELETE, "/api/repos/{owner}/{slug}/webhooks/{id}", Function::Webhooks),
    Route::get("/api/repos/{owner}/{slug}/members", Function::Access),
    Route::change(Method::PUT, "/api/repos/{owner}/{slug}/members/{handle}", Function::Access),
    Route::change(Method::DELETE, "/api/repos/{owner}/{slug}/members/{handle}", Function::Access),
    Route::post("/api/repos/{owner}/{slug}/links", Function::Access, Right::Ask),
    Route::get("/api/repos/{owner}/{slug}/links", Function::Access),
    Route::change(Method::DELETE, "/api/repos/{owner}/{slug}/links/{id}", Function::Access),
    Route::post("/api/tokens", Function::Access, Right::User),
    Route::get("/api/tokens", Function::Access),
    Route::change(Method::DELETE, "/api/tokens/{id}", Function::Access),
    Route::get("/{owner}/{slug}/refs", Function::Refs),
    Route::large_post("/{owner}/{slug}/push", Function::Push, Right::Push),
    Route::post("/api/repos/{owner}/{slug}/branches/{branch}/restore", Function::Push, Right::Write),
    Route::large_post("/{owner}/{slug}/push/objects", Function::PushObjects, Right::Push),
    Route::large_read("/{owner}/{slug}/fetch", Function::Fetch, Right::Read),
    Route::large_post("/{owner}/{slug}/filter-objects", Function::FilterObjects, Right::Push),
    Route::large_read("/{owner}/{slug}/presign", Function::Presign, Right::ReadOrAsk),
    Route::large_read("/{owner}/{slug}/negotiate", Function::Negotiate, Right::Read),
    Route::large_post("/{owner}/{slug}/tags", Function::Tags, Right::Write),
    Route::get("/{owner}/{slug}/tags", Function::Tags),
    Route::change(Method::DELETE, "/{owner}/{slug}/tags/{tag}", Function::Tags),
    Route::large_post("/{owner}/{slug}/releases", Function::Releases, Right::Write),
    Route::get("/{owner}/{slug}/releases", Function::Releases),
    Route::change(Method::DELETE, "/{owner}/{slug}/releases/{tag}", Function::Releases),
    Route::post("/{owner}/{slug}/uploads", Function::Uploads, Right::Ask),
    Route::get("/-/{key}/{owner}/{slug}/refs", Function::Refs),
    Route::read("/-/{key}/{owner}/{slug}/fetch", Function::Fetch),
    Route::read("/-/{key}/{owner}/{slug}/negotiate", Function::Negotiate),
    Route::read("/-/{key}/{owner}/{slug}/presign", Function::Presign),
    Route::get("/o/{object_id}", Function::Object),
    Route::get("/", Function::Web),
    Route::get("/-/{key}", Function::Web),
    Route::get("/login", Function::Web),
    Route::post("/login", Function::Web, Right::Any),
    Route::post("/logout", Function::Web, Right::Any),
    Route::get("/{owner}", Function::Web),
    Route::get("/{owner}/{slug}", Function::Web),
    Route::get("/{owner}/{slug}/tree/{ref}", Function::Web),
    Route::get("/{owner}/{slug}/tree/{ref}/{path+}", Function::Web),
    Route::get("/{owner}/{slug}/blob/{ref}/{path+}", Function::Web),
    Route::get("/{owner}/{slug}/raw/{ref}/{path+}", Function::Web),
    Route::get("/{owner}/{slug}/commits/{ref}", Function::Web),
    Route::get("/{owner}/{slug}/commit/{commit}", Function::Web),
    Route::get("/{owner}/{slug}/compare/{range}", Function::Web),
    Route::get("/{owner}/{slug}/branches", Function::Web),
    Route::get("/{owner}/{slug}/log", Function::Web),
    Route::get("/{owner}/{slug}/stats", Function::Web),
    Route::get("/{owner}/{slug}/-/tags", Function::Web),
    Route::get("/{owner}/{slug}/-/releases", Function::Web),
];

/// The route of a request. An API Gateway names it, because it may have a base path in front of the one that functions know.
pub fn of(parts: &Parts) -> Option<&'static Route> {
    if let Some(RequestContext::ApiGatewayV1(context)) = parts.request_context_ref()
        && let Some(resource) = &context.resource_path
    {
        return of_method(&parts.method).find(|route| route.path == *resource);
    }
    find(&parts.method, parts.uri.path())
}

/// What a log calls a request. Never its path, which may hold the secret of a link.
pub(crate) fn label(method: &Method, route: Option<&Route>) -> String {
    format!("{method} {}", route.map_or("unknown", |route| route.path))
}

/// What a log calls a request that is passed on to a hub whose paths begin anywhere.
pub fn label_of(method: &Method, path: &str) -> String {
    label(method, find(method, path))
}

/// The route of a method and a path.
fn find(method: &Method, path: &str) -> Option<&'static Route> {
    // What a path names by words counts before what takes any: `/health` is no user.
    let words = |route: &&Route| route.path.split('/').filter(|part| !part.starts_with('{')).count();
    of_method(method).filter(|route| route.is_of(path)).max_by_key(words)
}

fn of_method(method: &Method) -> impl Iterator<Item = &'static Route> {
    let method = if method == Method::HEAD { Method::GET } else { method.clone() };
    ROUTES.iter().filter(move |route| route.method == method)
}

impl Function {
    /// What its crate is called, and so its binary.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refs => "refs",
            Self::Push => "push",
            Self::PushObjects => "push-objects",
            Self::Fetch => "fetch",
            Self::FilterObjects => "filter-objects",
            Self::Negotiate => "negotiate",
            Self::Presign => "presign",
            Self::Tags => "tags",
            Self::Releases => "releases",
            Self::Uploads => "uploads",
            Self::Object => "object",
            Self::Openapi => "openapi",
            Self::Health => "health",
            Self::Repos => "repos",
            Self::Forks => "forks",
            Self::Branches => "branches",
            Self::Identities => "identities",
            Self::Stats => "stats",
            Self::Webhooks => "webhooks",
            Self::Access => "access",
            Self::Web => "web",
        }
    }

    /// Whether its answer is streamed, which a front door has to know beforehand: those that may be over 6 MB, or take
    /// longer than the 29 seconds that an API Gateway waits for a buffered one.
    pub const fn streams(self) -> bool {
        matches!(
            self,
            Self::Fetch
                | Self::FilterObjects
                | Self::Forks
                | Self::Object
                | Self::Presign
                | Self::Push
                | Self::PushObjects
                | Self::Releases
                | Self::Tags
                | Self::Web
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_found_by_its_path_and_by_no_other() {
        for route in &ROUTES {
            let path = route.path.replace('{', "").replace('}', "%7D");
            let found = find(&route.method, &path).unwrap();
            assert_eq!((found.path, found.function), (route.path, route.function));
            let mut others = vec![format!("/hub{path}"), path.replace('/', "//")];
            if !route.path.ends_with("+}") {
                others.extend([format!("{path}/"), format!("{path}/more")]);
            }
            for other in others {
                assert!(find(&route.method, &other).is_none_or(|found| found.path != route.path), "{other}");
            }
        }
        assert!(find(&Method::HEAD, "/a/b/refs").is_some(), "what answers a GET answers a HEAD");
        assert!(find(&Method::PUT, "/a/b/refs").is_none() && find(&Method::GET, "/a//refs").is_none());
    }
}
