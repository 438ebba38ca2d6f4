//! What a repo of a hub is asked in one request and answer. Each fails when the hub does not answer, or refuses.

use std::collections::HashSet;

use common::id::{CommitId, ObjectId, ObjectKey};
use common::wire::Text;
use common::wire::branches::{
    BranchDeletedResponse, BranchesResponse, LogResponse, ProtectionRequest, ProtectionResponse, RestoreRequest,
    RestoreResponse,
};
use common::wire::limits::{MAX_LISTED, MAX_NEGOTIATE};
use common::wire::request::{
    FilterObjectsRequest, FilterObjectsResponse, ForkRequest, LinkListResponse, LinkRequest, LinkResponse,
    MemberListResponse, MemberRemovedResponse, MemberRequest, MemberResponse, NegotiateRequest, NegotiateResponse,
    PresignRequest, PresignResponse, PurgeRequest, PurgeResponse, RefsResponse, RepoChanges, RepoDeletedResponse,
    RepoListResponse, RepoRequest, RepoResponse, RevokedResponse, TokenListResponse, TokenRequest, TokenResponse,
};
use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::endpoint::Endpoint;
use crate::error::{ClientError, if_there};
use crate::remote::{HubClient, Remote};

/// Seconds that a presigned URL is good.
const TTL: i64 = 3_600;

impl Remote {
    /// The branches of the repo; none if there is no such repo, or one may not know of it.
    pub async fn refs(&self) -> Result<Option<RefsResponse<'static>>, ClientError> {
        if_there(self.get(Endpoint::Refs).await)
    }

    /// The id of the repo, which objects are asked for with.
    pub async fn repo_id(&self) -> Result<String, ClientError> {
        let RefsResponse { repo_id, .. } = self.get(Endpoint::Refs).await?;
        if repo_id.is_empty() {
            return Err(self.broken("the answer to GET /refs has no repo_id"));
        }
        Ok(repo_id.into_owned())
    }

    /// What not every hub has: none where this one has no such endpoint.
    pub async fn get_if_there<T: DeserializeOwned>(&self, endpoint: Endpoint<'_>) -> Result<Option<T>, ClientError> {
        match if_there(self.get(endpoint).await) {
            Err(error) if error.has_status(StatusCode::METHOD_NOT_ALLOWED) => Ok(None),
            answer => answer,
        }
    }

    /// What the repo has in common with the asker; none if the hub does not say.
    pub async fn negotiate(
        &self,
        want: &[&CommitId],
        have: &[&CommitId],
    ) -> Result<Option<NegotiateResponse>, ClientError> {
        let want: Vec<CommitId> = want.iter().copied().cloned().collect();
        let have: Vec<Text<'_>> = have.iter().map(|id| id.to_string().into()).collect();
        let request = NegotiateRequest { want: want.into(), have: have.into() };
        if_there(self.ask(Endpoint::Negotiate, &request).await)
    }

    /// Which of these commits the repo has, as far as it has them from the first one on: what an earlier attempt has sent.
    pub async fn known<'c>(
        &self,
        commits: impl Iterator<Item = &'c CommitId>,
    ) -> Result<HashSet<CommitId>, ClientError> {
        let commits: Vec<&CommitId> = commits.collect();
        let mut known = HashSet::new();
        for have in commits.chunks(MAX_NEGOTIATE) {
            match self.negotiate(&[], have).await? {
                Some(answer) if !answer.ack.is_empty() => known.extend(answer.ack),
                // What is there is sent again, which is harmless.
                _ => break,
            }
        }
        Ok(known)
    }

    /// Where to put an object (`put`), or to get it from (`get`), if the hub has such a place.
    pub async fn presigned(&self, id: &ObjectId, direction: &'static str) -> Result<Option<String>, ClientError> {
        let object_ids = vec![id.clone()].into();
        let request = PresignRequest { object_ids, direction: direction.into(), ttl_seconds: Some(TTL), limit: None };
        let answer: Option<PresignResponse> = if_there(self.ask(Endpoint::Presign, &request).await)?;
        Ok(answer.and_then(|mut answer| answer.presigned.remove(id)))
    }

    /// Which of these objects a push would have to bring.
    pub async fn missing(&self, object_ids: &[ObjectId]) -> Result<HashSet<ObjectKey>, ClientError> {
        let request = FilterObjectsRequest { object_ids: object_ids.to_vec().into() };
        let answer: Option<FilterObjectsResponse> = if_there(self.ask(Endpoint::FilterObjects, &request).await)?;
        // Where the hub does not say, everything is sent.
        let missing = answer.as_ref().map_or(object_ids, |answer| &answer.missing);
        Ok(missing.iter().map(ObjectId::key).collect())
    }

    /// Makes the repo under its name. The hub makes it under the handle of whom the token is of, so that is looked at first.
    pub async fn make(&self, request: &RepoRequest<'_>) -> Result<RepoResponse<'static>, ClientError> {
        let owner = self.target.owner.as_str();
        // Without a token the hub says that it wants one. What an owner has deleted is for that owner alone.
        if self.has_token() {
            let deleted = Endpoint::ReposOf { owner: Some(owner), deleted: true, after: None };
            match self.get::<RepoListResponse<'static>>(deleted).await {
                Err(error) if error.has_status(StatusCode::UNPROCESSABLE_ENTITY) => {
                    return Err(ClientError::NotAllowed(format!(
                        "a repository is made under one's own handle, and the token is not that of '{owner}', or is for some repositories only"
                    )));
                }
                answer => answer?,
            };
        }
        self.ask(Endpoint::Repos, request).await
    }

    /// What the repo is.
    pub async fn about(&self) -> Result<RepoResponse<'static>, ClientError> {
        self.get(Endpoint::Repo).await
    }

    /// Deletes the repo.
    pub async fn delete(&self) -> Result<RepoDeletedResponse, ClientError> {
        self.get(Endpoint::DeleteRepo).await
    }

    /// Undeletes the repo.
    pub async fn undelete(&self) -> Result<RepoResponse<'static>, ClientError> {
        self.get(Endpoint::Undelete).await
    }

    /// Makes a fork of the repo, under the handle of whom the token is of.
    pub async fn fork(&self, request: &ForkRequest<'_>) -> Result<RepoResponse<'static>, ClientError> {
        self.ask(Endpoint::Fork, request).await
    }

    /// Changes what is said of the repo.
    pub async fn change(&self, changes: &RepoChanges<'_>) -> Result<RepoResponse<'static>, ClientError> {
        self.ask(Endpoint::Settings, changes).await
    }

    /// Purges objects.
    pub async fn purge(&self, objects: &[ObjectId], reason: &str) -> Result<PurgeResponse, ClientError> {
        let request = PurgeRequest { objects: objects.to_vec().into(), reason: Some(reason.into()) };
        self.ask(Endpoint::Purge, &request).await
    }

    /// Who the members of the repo are.
    pub async fn members(&self) -> Result<MemberListResponse<'static>, ClientError> {
        self.get(Endpoint::Members).await
    }

    /// Makes a user a member, or gives a member another role.
    pub async fn put_member(&self, handle: &str, role: &str) -> Result<MemberResponse<'static>, ClientError> {
        self.ask(Endpoint::PutMember(handle), &MemberRequest { role: role.into() }).await
    }

    /// Removes a member.
    pub async fn remove_member(&self, handle: &str) -> Result<MemberRemovedResponse, ClientError> {
        self.get(Endpoint::RemoveMember(handle)).await
    }

    /// The links that lead to the repo.
    pub async fn links(&self) -> Result<LinkListResponse<'static>, ClientError> {
        self.get(Endpoint::Links).await
    }

    /// Makes a link to the repo.
    pub async fn make_link(&self, request: &LinkRequest<'_>) -> Result<LinkResponse<'static>, ClientError> {
        self.ask(Endpoint::MakeLink, request).await
    }

    /// Revokes a link.
    pub async fn revoke_link(&self, id: &str) -> Result<RevokedResponse, ClientError> {
        self.get(Endpoint::RevokeLink(id)).await
    }

    /// All branches, with who moved them.
    pub async fn branches(&self) -> Result<BranchesResponse, ClientError> {
        let mut all = BranchesResponse { branches: Vec::new(), next: None };
        loop {
            let page: BranchesResponse = self.get(Endpoint::Branches(all.next.as_deref())).await?;
            all.branches.extend(page.branches);
            all.next = self.goes_on(all.next, page.next)?;
            if all.next.is_none() {
                return Ok(all);
            }
        }
    }

    /// Protects a branch, or takes its protection away.
    pub async fn protect(&self, branch: &str, wanted: &ProtectionRequest) -> Result<ProtectionResponse, ClientError> {
        self.ask(Endpoint::Protection(branch), wanted).await
    }

    /// Restores a branch to where it was.
    pub async fn restore(&self, branch: &str, to: Option<CommitId>) -> Result<RestoreResponse, ClientError> {
        self.ask(Endpoint::Restore(branch), &RestoreRequest { to }).await
    }

    /// Deletes a branch.
    pub async fn delete_branch(&self, branch: &str) -> Result<BranchDeletedResponse, ClientError> {
        self.get(Endpoint::Branch(branch)).await
    }

    /// The newest lines of the push log behind this one, of this branch or of all: `most` of them, and what to go on behind.
    pub async fn log(
        &self,
        branch: Option<&str>,
        after: Option<String>,
        most: usize,
    ) -> Result<LogResponse, ClientError> {
        let mut all = LogResponse { log: Vec::new(), next: after };
        loop {
            let limit = most.saturating_sub(all.log.len()).min(MAX_LISTED);
            let page: LogResponse = self.get(Endpoint::Log { branch, after: all.next.as_deref(), limit }).await?;
            all.log.extend(page.log);
            all.next = self.goes_on(all.next, page.next)?;
            if all.next.is_none() || all.log.len() >= most {
                return Ok(all);
            }
        }
    }
}

impl HubClient {
    /// All repos of the owner of a handle that the asker may read, else the asker's own; or those that the asker has deleted.
    pub async fn repos(&self, owner: Option<&str>, deleted: bool) -> Result<RepoListResponse<'static>, ClientError> {
        let mut all = RepoListResponse { repos: Vec::new(), next: None };
        loop {
            let page: RepoListResponse<'static> =
                self.get(Endpoint::ReposOf { owner, deleted, after: all.next.as_deref() }).await?;
            all.repos.extend(page.repos);
            all.next = self.goes_on(all.next, page.next)?;
            if all.next.is_none() {
                return Ok(all);
            }
        }
    }

    /// What to go on behind. A hub that says the same twice would be asked for ever.
    fn goes_on<T: PartialEq>(&self, after: Option<T>, next: Option<T>) -> Result<Option<T>, ClientError> {
        match next.is_some() && next == after {
            true => Err(self.broken("its list goes on behind where it went on before")),
            false => Ok(next),
        }
    }

    /// The tokens that the user has minted.
    pub async fn tokens(&self) -> Result<TokenListResponse<'static>, ClientError> {
        self.get(Endpoint::Tokens).await
    }

    /// Mints a token.
    pub async fn mint(&self, request: &TokenRequest<'_>) -> Result<TokenResponse<'static>, ClientError> {
        self.ask(Endpoint::MintToken, request).await
    }

    /// Revokes a token.
    pub async fn revoke_token(&self, id: &str) -> Result<RevokedResponse, ClientError> {
        self.get(Endpoint::RevokeToken(id)).await
    }
}
