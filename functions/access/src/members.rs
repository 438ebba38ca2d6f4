//! The members of a repo: each user who may do something with it and does not own it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use common::id::Slug;
use common::wire::WireError;
use common::wire::request::{MemberListResponse, MemberRemovedResponse, MemberRequest, MemberResponse};
use lambda_http::Response;
use lambda_http::http::StatusCode;
use service::{Access, AnswerBody, Call, Hub, Opened};
use store::repo::Load;
use store::table::items::{ChangeItem, MemberItem, Role};
use store::table::members::Member;
use store::table::transaction::Outcome;

use crate::ATTEMPTS;

const ADMINISTER: Access = Access::Administer("see or change its members");

/// `GET …/members`
pub(crate) async fn list(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let repo = hub.open(Some(&token), &call.target()?, ADMINISTER, Load::NOTHING).await?.repo;
    let members = hub.store.members(&repo.id).await?;
    let members = members.iter().map(|(user_id, member)| response(user_id, member)).collect();
    call.respond(StatusCode::OK, &MemberListResponse { owner: repo.meta.owner.as_str().into(), members })
}

/// `PUT …/members/{handle}`
pub(crate) async fn put(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let target = call.target()?;
    for _ in 0..ATTEMPTS {
        let Opened { repo, user, .. } = hub.open(Some(&token), &target, ADMINISTER, Load::NOTHING).await?;
        let request: MemberRequest<'_> = call.decode()?;
        let role = Role::of_member(&request.role).map_err(|reason| WireError::invalid("role", reason))?;
        let (handle, user_id) = named(hub, call).await?;
        if user_id == repo.meta.owner_user_id {
            let reason = format_args!("'{handle}' owns the repository and may do everything already");
            return Err(WireError::invalid("handle", reason));
        }
        let before = hub.store.member(&repo.id, &user_id).await?;
        let now = hub.store.ambient().now_iso();
        let after = MemberItem {
            role,
            handle: Some(handle.clone()),
            given_by: Some(user.id.clone()),
            given_at: Some(now.clone()),
        };
        let change = change(&handle, before.as_ref(), Some(&after), &user.id, now);
        let member = Member { user_id: &user_id, before: before.as_ref(), after: Some(&after) };
        if hub.store.change_member(&repo, &user.id, &member, &change).await? == Outcome::Landed {
            let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
            return call.respond(status, &response(&user_id, &after));
        }
    }
    Err(WireError::Unavailable("the members were being changed by others".into()))
}

/// `DELETE …/members/{handle}`: members may remove themselves.
pub(crate) async fn remove(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let target = call.target()?;
    for _ in 0..ATTEMPTS {
        let Opened { user, .. } = hub.open(Some(&token), &target, Access::Read, Load::NOTHING).await?;
        let own = hub.store.profile(&user.id).await?.map(|profile| profile.handle);
        let given = call.path_parameter("handle").unwrap_or_default().to_ascii_lowercase();
        let is_self = own.is_some_and(|own| own.as_str() == given);
        // Who leaves does so by a token that may do all that the user may.
        let access = if is_self && token.is_whole() { Access::Read } else { ADMINISTER };
        let Opened { repo, user, .. } = hub.open(Some(&token), &target, access, Load::NOTHING).await?;
        let (handle, user_id) = named(hub, call).await?;
        let Some(before) = hub.store.member(&repo.id, &user_id).await? else {
            return Err(WireError::MemberNotFound(format!("'{handle}' is no member of this repository")));
        };
        let change = change(&handle, Some(&before), None, &user.id, hub.store.ambient().now_iso());
        let member = Member { user_id: &user_id, before: Some(&before), after: None };
        if hub.store.change_member(&repo, &user.id, &member, &change).await? == Outcome::Landed {
            return call.respond(StatusCode::OK, &MemberRemovedResponse { removed: handle.to_string() });
        }
    }
    Err(WireError::Unavailable("the members were being changed by others".into()))
}

/// The user that the path names.
async fn named(hub: &Hub, call: &Call) -> Result<(Slug, String), WireError> {
    let given = call.path_parameter("handle").unwrap_or_default().to_ascii_lowercase();
    let none = || WireError::MemberNotFound(format!("no user has the handle '{}'", given.escape_debug()));
    let handle: Slug = given.parse().map_err(|_| none())?;
    let user_id = hub.store.user_of_handle(&handle).await?.ok_or_else(none)?;
    Ok((handle, user_id))
}

/// The line that says what has changed.
fn change(handle: &Slug, before: Option<&MemberItem>, after: Option<&MemberItem>, by: &str, at: String) -> ChangeItem {
    let role = |member: Option<&MemberItem>| member.map_or("", |member| member.role.as_str()).to_owned();
    let changed = BTreeMap::from([(ChangeItem::of_member(handle), (role(before), role(after)))]);
    ChangeItem { changed, by: by.to_owned(), at }
}

fn response<'a>(user_id: &'a str, member: &'a MemberItem) -> MemberResponse<'a> {
    MemberResponse {
        handle: member.handle.as_ref().map_or("", Slug::as_str).into(),
        user_id: user_id.into(),
        role: member.role.as_str().into(),
        given_by: member.given_by.as_deref().map(Cow::Borrowed),
        given_at: member.given_at.as_deref().map(Cow::Borrowed),
    }
}
