//! `POST /webhooks` makes a URL get the events of a repo, `GET /webhooks` lists those URLs, and `DELETE /webhooks/{id}`
//! ends one. All three are for the repo's owner and admins.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use std::borrow::Cow;
use std::collections::BTreeSet;

use common::wire::WireError;
use common::wire::request::{WebhookDeletedResponse, WebhookListResponse, WebhookRequest, WebhookResponse};
use lambda_http::http::{Method, StatusCode};
use lambda_http::{Request, Response};
use service::Hub;
use service::{Access, AnswerBody, Call};
use store::repo::{Load, Repo};
use store::table::events::Details;
use store::table::items::HookItem;
use store::table::webhooks::secret::{HookId, Secret};

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move {
        match *call.method() {
            Method::GET => list(hub, &call).await,
            Method::DELETE => delete(hub, &call).await,
            _ => create(hub, &call).await,
        }
    })
    .await
}

/// The repo of the request, and the owner or admin who sent it.
async fn administered(hub: &Hub, call: &Call) -> Result<(Repo, String), WireError> {
    let token = call.token(hub).await?;
    let access = Access::Administer("see or change its webhooks");
    let opened = hub.open(Some(&token), &call.target()?, access, Load::NOTHING).await?;
    Ok((opened.repo, opened.user.id))
}

async fn create(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let (repo, admin) = administered(hub, call).await?;
    let request: WebhookRequest<'_> = call.decode()?;
    let url =
        hub.settings.webhooks_reach.check_url(&request.url).map_err(|reason| WireError::invalid("url", reason))?;
    let events = match request.events {
        None => None,
        Some(events) => Some(event_types(events.within("events")?.iter().map(|name| &**name))?),
    };
    let ambient = hub.store.ambient();
    let secret = match request.secret {
        None => Secret::draw(ambient),
        Some(given) => given.parse().map_err(|reason| WireError::invalid("secret", reason))?,
    };
    let created_at = ambient.now_iso();
    let item =
        HookItem { url, secret, events, inactive_because: None, waiting_until: None, created_at, created_by: admin };
    let id = ambient.ulid();
    hub.store.put_hook(&repo.id, id, &item, hub.store.still_administers(&repo, &item.created_by)?).await?;
    let response = WebhookResponse { secret: Some(item.secret.reveal()), ..response(id, &item) };
    call.respond(StatusCode::CREATED, &response)
}

/// The types of events that are named: some, and each one that there is.
fn event_types<'a>(names: impl Iterator<Item = &'a str>) -> Result<BTreeSet<String>, WireError> {
    let known = Details::KINDS;
    let mut types = BTreeSet::new();
    for name in names {
        let kind = known.iter().find(|kind| **kind == name);
        let kind = kind.ok_or_else(|| WireError::invalid("events", format_args!("there are {}", known.join(", "))))?;
        types.insert((*kind).to_owned());
    }
    if types.is_empty() {
        return Err(WireError::invalid("events", "at least one; leave the list out for all"));
    }
    Ok(types)
}

async fn list(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let (repo, _) = administered(hub, call).await?;
    let hooks = hub.store.hooks(&repo.id).await?;
    let webhooks = hooks.iter().map(|(id, item)| response(*id, item)).collect();
    call.respond(StatusCode::OK, &WebhookListResponse { webhooks })
}

async fn delete(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let (repo, _) = administered(hub, call).await?;
    let named = call.path_parameter("id").unwrap_or_default();
    let id = HookId::from_string(&named).map_err(|_| WireError::invalid("id", "the id of a webhook is a ULID"))?;
    if !hub.store.delete_hook(&repo.id, id).await? {
        return Err(WireError::WebhookNotFound(id.to_string()));
    }
    call.respond(StatusCode::OK, &WebhookDeletedResponse { deleted: id.to_string() })
}

/// The webhook without its secret.
fn response(id: HookId, item: &HookItem) -> WebhookResponse<'_> {
    WebhookResponse {
        id: id.to_string(),
        url: item.url.as_str().into(),
        events: item.events.as_ref().map(Cow::Borrowed),
        active: item.inactive_because.is_none(),
        inactive_because: item.inactive_because.as_deref().map(Cow::Borrowed),
        created_at: item.created_at.as_str().into(),
        created_by: item.created_by.as_str().into(),
        secret: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_names_types_of_events_that_there_are_each_once_and_at_least_one() {
        let [first, second, ..] = Details::KINDS;
        let types = event_types([second, first, second].into_iter()).unwrap();
        assert_eq!(types, BTreeSet::from([first, second].map(str::to_owned)));
        assert!(event_types(std::iter::empty()).unwrap_err().to_string().starts_with("events: at least one"));
        let refusal = event_types(["nothing"].into_iter()).unwrap_err().to_string();
        assert!(Details::KINDS.iter().all(|kind| refusal.contains(kind)), "{refusal}");
    }

    #[test]
    fn a_webhook_is_listed_without_its_secret_and_with_why_it_is_not_active() {
        let item = |inactive_because: Option<&str>| HookItem {
            url: "https://example.com".to_owned(),
            secret: Secret::draw(&store::ambient::Ambient::replay(1, common::time::of_millis(0))),
            events: None,
            inactive_because: inactive_because.map(str::to_owned),
            waiting_until: None,
            created_at: "then".to_owned(),
            created_by: "user-ada".to_owned(),
        };
        let (active, inactive) = (item(None), item(Some("it was gone")));
        let (active, inactive) = (response(HookId::nil(), &active), response(HookId::nil(), &inactive));
        assert!(active.active && !inactive.active);
        assert_eq!(
            (active.inactive_because.as_deref(), inactive.inactive_because.as_deref()),
            (None, Some("it was gone"))
        );
        assert!(active.secret.is_none() && active.events.is_none());
    }
}
