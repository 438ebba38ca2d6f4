//! What a hub can be asked.

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// As many repos as one page has at most.
const MOST_REPOS: &str = "100";
/// As many branches as one page has at most.
const MOST_LINES: &str = "1000";

/// What a hub can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// To make the repo.
    Repos,
    /// The repos of an owner.
    ReposOf {
        /// The owner's handle; none for the asker's own repos.
        owner: Option<&'a str>,
        /// Whether they are those that the asker has deleted.
        deleted: bool,
        /// The slug that they are behind.
        after: Option<&'a str>,
    },
    /// What the repo is.
    Repo,
    /// To change what is said of the repo.
    Settings,
    /// To delete the repo.
    DeleteRepo,
    /// To undelete the repo.
    Undelete,
    /// Making a fork of the repo.
    Fork,
    /// To purge objects.
    Purge,
    /// Its branches behind this one, with who moved them.
    Branches(Option<&'a str>),
    /// To delete this branch.
    Branch(&'a str),
    /// To protect this branch, or no more.
    Protection(&'a str),
    /// To restore this branch to where it was.
    Restore(&'a str),
    /// Lines of the push log.
    Log {
        /// The branch; none for all.
        branch: Option<&'a str>,
        /// The id of the line that they are behind.
        after: Option<&'a str>,
        /// How many at most.
        limit: usize,
    },
    /// Who its members are.
    Members,
    /// To make the user of this handle a member, or to give another role.
    PutMember(&'a str),
    /// To remove this member.
    RemoveMember(&'a str),
    /// The links that lead to it.
    Links,
    /// To make a link.
    MakeLink,
    /// To revoke this link.
    RevokeLink(&'a str),
    /// The tokens that its user has minted.
    Tokens,
    /// To mint a token.
    MintToken,
    /// To revoke this token.
    RevokeToken(&'a str),
    /// To delete this tag.
    Tag(&'a str),
    /// Where its branches are.
    Refs,
    /// The tags behind this one.
    Tags(Option<&'a str>),
    /// The releases behind this one, drafts too.
    Releases(Option<&'a str>),
    /// Commits with all that belongs to them.
    Fetch,
    /// Which commits it has.
    Negotiate,
    /// Which objects it lacks.
    FilterObjects,
    /// Where objects go and come without the hub.
    Presign,
    /// To take objects.
    PushObjects,
    /// To take commits and move a branch.
    Push,
    /// To take tags.
    PostTags,
    /// To take a release.
    PostRelease,
    /// To take the release of this tag back.
    Release(&'a str),
    /// Where the body of a request may be put.
    Uploads,
    /// The bytes of this object, of the repo of this id.
    Object(&'a str, &'a str),
}

impl Endpoint<'_> {
    /// Its name in messages, its method, and its path in the hub's table of routes.
    fn parts(&self) -> (&'static str, Method, &'static str) {
        match self {
            Self::Repos => ("POST /api/repos", Method::POST, "/api/repos"),
            Self::ReposOf { .. } => ("GET /api/repos", Method::GET, "/api/repos"),
            Self::Repo => ("GET /api/repos", Method::GET, "/api/repos/{owner}/{slug}"),
            Self::Settings => ("PATCH /api/repos", Method::PATCH, "/api/repos/{owner}/{slug}"),
            Self::DeleteRepo => ("DELETE /api/repos", Method::DELETE, "/api/repos/{owner}/{slug}"),
            Self::Fork => ("POST /forks", Method::POST, "/api/repos/{owner}/{slug}/forks"),
            Self::Undelete => ("POST /undelete", Method::POST, "/api/repos/{owner}/{slug}/undelete"),
            Self::Purge => ("POST /purge", Method::POST, "/api/repos/{owner}/{slug}/purge"),
            Self::Branches(_) => ("GET /branches", Method::GET, "/api/repos/{owner}/{slug}/branches"),
            Self::Branch(_) => ("DELETE /branches", Method::DELETE, "/api/repos/{owner}/{slug}/branches/{branch}"),
            Self::Protection(_) => {
                ("PUT /protection", Method::PUT, "/api/repos/{owner}/{slug}/branches/{branch}/protection")
            }
            Self::Restore(_) => ("POST /restore", Method::POST, "/api/repos/{owner}/{slug}/branches/{branch}/restore"),
            Self::Log { .. } => ("GET /log", Method::GET, "/api/repos/{owner}/{slug}/log"),
            Self::Members => ("GET /members", Method::GET, "/api/repos/{owner}/{slug}/members"),
            Self::PutMember(_) => ("PUT /members", Method::PUT, "/api/repos/{owner}/{slug}/members/{handle}"),
            Self::RemoveMember(_) => ("DELETE /members", Method::DELETE, "/api/repos/{owner}/{slug}/members/{handle}"),
            Self::Links => ("GET /links", Method::GET, "/api/repos/{owner}/{slug}/links"),
            Self::MakeLink => ("POST /links", Method::POST, "/api/repos/{owner}/{slug}/links"),
            Self::RevokeLink(_) => ("DELETE /links", Method::DELETE, "/api/repos/{owner}/{slug}/links/{id}"),
            Self::Tokens => ("GET /api/tokens", Method::GET, "/api/tokens"),
            Self::MintToken => ("POST /api/tokens", Method::POST, "/api/tokens"),
            Self::RevokeToken(_) => ("DELETE /api/tokens", Method::DELETE, "/api/tokens/{id}"),
            Self::Tag(_) => ("DELETE /tags", Method::DELETE, "/{owner}/{slug}/tags/{tag}"),
            Self::Refs => ("GET /refs", Method::GET, "/{owner}/{slug}/refs"),
            Self::Tags(_) => ("GET /tags", Method::GET, "/{owner}/{slug}/tags"),
            Self::Releases(_) => ("GET /releases", Method::GET, "/{owner}/{slug}/releases"),
            Self::Fetch => ("POST /fetch", Method::POST, "/{owner}/{slug}/fetch"),
            Self::Negotiate => ("POST /negotiate", Method::POST, "/{owner}/{slug}/negotiate"),
            Self::FilterObjects => ("POST /filter-objects", Method::POST, "/{owner}/{slug}/filter-objects"),
            Self::Presign => ("POST /presign", Method::POST, "/{owner}/{slug}/presign"),
            Self::PushObjects => ("POST /push/objects", Method::POST, "/{owner}/{slug}/push/objects"),
            Self::Push => ("POST /push", Method::POST, "/{owner}/{slug}/push"),
            Self::PostTags => ("POST /tags", Method::POST, "/{owner}/{slug}/tags"),
            Self::PostRelease => ("POST /releases", Method::POST, "/{owner}/{slug}/releases"),
            Self::Release(_) => ("DELETE /releases", Method::DELETE, "/{owner}/{slug}/releases/{tag}"),
            Self::Uploads => ("POST /uploads", Method::POST, "/{owner}/{slug}/uploads"),
            Self::Object(..) => ("GET /o", Method::GET, "/o/{object_id}"),
        }
    }

    /// For messages.
    pub fn name(&self) -> &'static str {
        self.parts().0
    }

    /// Its method.
    pub fn method(&self) -> Method {
        self.parts().1
    }

    /// Its path, as the hub's table of routes has it.
    pub fn path(&self) -> &'static str {
        self.parts().2
    }

    /// The parameter of its path beside the repo's.
    pub const fn parameter(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Branch(name) | Self::Protection(name) | Self::Restore(name) => Some(("branch", name)),
            Self::Tag(label) | Self::Release(label) => Some(("tag", label)),
            Self::PutMember(handle) | Self::RemoveMember(handle) => Some(("handle", handle)),
            Self::RevokeLink(id) | Self::RevokeToken(id) => Some(("id", id)),
            Self::Object(id, _) => Some(("object_id", id)),
            _ => None,
        }
    }

    /// What stands behind its path.
    pub fn query(&self) -> String {
        match *self {
            Self::ReposOf { owner, deleted, after } => {
                let deleted = deleted.then_some("true");
                query(&[("owner", owner), ("deleted", deleted), ("limit", Some(MOST_REPOS)), ("after", after)])
            }
            Self::Branches(after) => query(&[("limit", Some(MOST_LINES)), ("after", after)]),
            Self::Log { branch, after, limit } => {
                query(&[("branch", branch), ("limit", Some(&limit.to_string())), ("after", after)])
            }
            Self::Tags(after) => query(&[("after", after)]),
            Self::Releases(after) => query(&[("include_drafts", Some("1")), ("after", after)]),
            Self::Object(_, repo) => query(&[("repo_id", Some(repo))]),
            _ => String::new(),
        }
    }
}

fn query(parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded((*value)?))));
    let given = given.collect::<Vec<_>>().join("&");
    if given.is_empty() { given } else { format!("?{given}") }
}

/// A part of a path, or of a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use common::wire::limits::{MAX_LISTED, MAX_REPOS_LISTED};
    use service::routes::ROUTES;

    use super::Endpoint::*;
    use super::{MOST_LINES, MOST_REPOS};

    #[test]
    fn each_endpoint_is_one_of_the_hubs_routes() {
        #[rustfmt::skip]
        let all = [
            Repos, Settings, Purge, Branch("b"), Tag("t"), Refs, Tags(None), Releases(None), Fetch, Negotiate, FilterObjects, Presign,
            PushObjects, Push, PostTags, PostRelease, Release("t"), Uploads, Object("o", "r"), Members, PutMember("h"), RemoveMember("h"),
            Links, MakeLink, RevokeLink("l"), Tokens, MintToken, RevokeToken("t"), ReposOf { owner: None, deleted: false, after: None },
            Repo, DeleteRepo, Undelete, Fork, Branches(None), Protection("b"), Restore("b"), Log { branch: None, after: None, limit: 1 },
        ];
        for endpoint in all {
            let is_it = |method: &http::Method, path: &str| *method == endpoint.method() && path == endpoint.path();
            assert!(ROUTES.iter().any(|route| is_it(&route.method, route.path)), "{endpoint:?}");
            let parameter = endpoint.parameter().map(|(name, _)| format!("{{{name}}}"));
            assert!(parameter.is_none_or(|parameter| endpoint.path().contains(&parameter)), "{endpoint:?}");
        }
    }
    #[test]
    fn what_is_asked_for_is_in_the_query_and_what_is_not_said_is_left_out() {
        for (endpoint, query) in [
            (Refs, ""),
            (Tags(None), ""),
            (Tags(Some("v1/α")), "?after=v1%2F%CE%B1"),
            (Releases(None), "?include_drafts=1"),
            (ReposOf { owner: None, deleted: false, after: None }, "?limit=100"),
            (
                ReposOf { owner: Some("ada"), deleted: true, after: Some("a-b") },
                "?owner=ada&deleted=true&limit=100&after=a%2Db",
            ),
            (Branches(Some("a&b")), "?limit=1000&after=a%26b"),
            (Log { branch: Some("feature/x"), after: None, limit: 7 }, "?branch=feature%2Fx&limit=7"),
        ] {
            assert_eq!(endpoint.query(), query, "{endpoint:?}");
        }
        assert_eq!((MOST_REPOS, MOST_LINES), (&*MAX_REPOS_LISTED.to_string(), &*MAX_LISTED.to_string()));
    }
}
