//! What a repo of a hub is asked in one request and answer. Each fails when the hub does not answer, or refuses.

use std::collections::HashSet;

use common::id::{CommitId, ObjectId, ObjectKey};
use common::wire::Text;
use common::wire::branches::BranchDeletedResponse;
use common::wire::limits::MAX_NEGOTIATE;
use common::wire::request::{
    FilterObjectsRequest, FilterObjectsResponse, LinkListResponse, LinkRequest, LinkResponse, MemberListResponse,
    MemberRemovedResponse, MemberRequest, MemberResponse, NegotiateRequest, NegotiateResponse, PresignRequest,
    PresignResponse, PurgeRequest, PurgeResponse, RefsResponse, RepoChanges, RepoResponse, RevokedResponse,
    TokenListResponse, TokenRequest, TokenResponse,
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

    /// Deletes a branch. The head that it had.
    pub async fn delete_branch(&self, branch: &str) -> Result<CommitId, ClientError> {
        let answer: BranchDeletedResponse = self.get(Endpoint::Branch(branch)).await?;
        Ok(answer.head)
    }
}

impl HubClient {
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
