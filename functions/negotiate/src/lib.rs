//! `POST /negotiate`: what a client has in common with the repo, so that a fetch sends little on top of what is new.
//! Stateless: each round is answered by itself.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use common::id::CommitId;
use common::wire::WireError;
use common::wire::request::{NegotiateRequest, NegotiateResponse};
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};
use service::Hub;
use service::{Access, AnswerBody, Call};
use store::read::view::View;
use store::repo::Load;

/// How many commits clients send in a round, unless they have no more.
const ROUND: usize = 64;
/// How many commits a fetch may send that more rounds could perhaps have spared it.
const GOOD_ENOUGH: usize = 256;
/// How many commits are looked at for the one and for the other answer. Beyond that the client goes on asking, which is
/// never wrong, and no common base is named.
const LOOKED_AT: usize = 10_000;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { negotiate(hub, &call).await }).await
}

async fn negotiate(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let credential = call.credential(hub).await?;
    let view = hub.open(credential.as_ref(), &call.target()?, Access::Read, Load::PACKS).await?.view;
    let request: NegotiateRequest<'_> = call.decode()?;
    let (want, have) = (request.want.within("ids in want")?, request.have.within("ids in have")?);
    let have: Vec<&str> = have.iter().map(|id| &**id).collect();
    call.respond(StatusCode::OK, &answer(&view, &want, &have).await?)
}

async fn answer(view: &View, want: &[CommitId], have: &[&str]) -> Result<NegotiateResponse, store::StoreError> {
    let have_ids: Vec<CommitId> = have.iter().filter_map(|id| id.parse().ok()).collect();
    let present = view.present_commits(&have_ids).await?;
    let ack: Vec<CommitId> = have_ids.into_iter().filter(|id| present.contains(id)).collect();
    if ack.is_empty() {
        return Ok(NegotiateResponse { ack, common_base: None, ready: have.is_empty() });
    }
    let mut history = view.history_within(LOOKED_AT);
    let common_base = history.common_ancestor(want, &ack).await?;
    let distance = match have.len() < ROUND {
        true => None,
        false => history.distance(want, &ack).await?,
    };
    let ready = is_ready(have.len(), distance);
    Ok(NegotiateResponse { ack, common_base, ready })
}

/// Whether a client that sent this many ids, of which some were acknowledged, should fetch now. `distance` is how many
/// commits a fetch would send with those acknowledgements, if that is known.
fn is_ready(sent: usize, distance: Option<usize>) -> bool {
    // What the client has besides can only reduce what the fetch sends.
    sent < ROUND || distance.is_some_and(|commits| commits <= GOOD_ENOUGH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_goes_on_while_it_has_more_to_send_and_more_rounds_could_spare_it_much() {
        assert!(is_ready(ROUND - 1, None), "it has sent all that it has");
        assert!(is_ready(ROUND, Some(GOOD_ENOUGH)));
        assert!(!is_ready(ROUND, Some(GOOD_ENOUGH + 1)));
        assert!(!is_ready(ROUND, None), "it is not known");
    }
}
