//! `POST /negotiate`: what a client has in common with the repo, so that a fetch sends little on top of what is new.
//! Stateless: each round is judged by itself.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use common::Hub;
use common::graph::Graph;
use common::id::CommitId;
use common::service::{AnswerBody, Call, compute};
use common::store::repo::Need;
use common::wire::Error;
use common::wire::request::{NegotiateRequest, NegotiateResponse};
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};

/// How many commits clients send in a round, unless they have no more.
const ROUND: usize = 64;
/// How many commits a fetch may send that more rounds could perhaps have spared it.
const GOOD_ENOUGH: usize = 256;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { negotiate(hub, &call).await }).await
}

async fn negotiate(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, Error> {
    let caller = call.caller(hub).await?;
    let (_, index) = hub.open_with_index(caller.as_ref(), &call.target()?, Need::RELIABLE_PACKS).await?;
    let request: NegotiateRequest<'_> = call.decode()?;
    let (want, have) = (request.want.within("ids in want")?, request.have.within("ids in have")?);
    let have: Vec<&str> = have.iter().map(|id| &**id).collect();
    let answer = compute(|| judge(index.graph(), &want, &have));
    call.respond(StatusCode::OK, &answer)
}

fn judge<T>(graph: &Graph<CommitId, T>, want: &[CommitId], have: &[&str]) -> NegotiateResponse {
    let ack: Vec<CommitId> = have.iter().filter_map(|id| id.parse().ok()).filter(|id| graph.contains(id)).collect();
    // Whatever the client has beside what it acknowledged, it can only spare the fetch some of these.
    let is_good_enough = || graph.difference(want, &ack).commits.len() <= GOOD_ENOUGH;
    NegotiateResponse {
        common_base: graph.best_common_ancestors(want, &ack).first().map(|id| (*id).clone()),
        ready: have.is_empty() || (!ack.is_empty() && (have.len() < ROUND || is_good_enough())),
        ack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::graph::NewCommit;

    fn id(number: usize) -> CommitId {
        format!("c{number}").parse().unwrap()
    }

    /// A linear history of `length` commits.
    fn history(length: usize) -> Graph<CommitId, ()> {
        let mut graph = Graph::new();
        let commits = (0..length).map(|number| NewCommit {
            id: id(number),
            parents: number.checked_sub(1).map(id).into_iter().collect(),
            payload: (),
        });
        graph.extend(commits).unwrap();
        graph
    }

    fn round(graph: &Graph<CommitId, ()>, want: usize, have: &[String]) -> NegotiateResponse {
        judge(graph, &[id(want)], &have.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn names(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
        numbers.into_iter().map(|number| format!("c{number}")).collect()
    }

    #[test]
    fn a_client_in_the_common_cases_is_done_after_one_round_in_whatever_order_it_sends() {
        let graph = history(1_000);
        // It is 20 commits behind, and sends 64 of its 980 from all over its history.
        let answer = round(&graph, 999, &names((0..64).map(|number| (number * 607) % 980)));
        assert!(answer.ready);
        assert_eq!(answer.ack.len(), 64);
        // A client with nothing, and one that sent all that it has.
        assert!(round(&graph, 999, &[]).ready);
        assert!(round(&graph, 999, &names([3])).ready);
    }

    #[test]
    fn a_client_goes_on_while_more_rounds_could_spare_it_much_or_nothing_was_acknowledged() {
        let graph = history(1_000);
        assert!(!round(&graph, 999, &names(0..64)).ready, "935 commits would be sent");
        assert!(!round(&graph, 999, &names(2_000..2_064)).ready);
        assert!(!round(&graph, 999, &names([2_000])).ready, "without an acknowledgement it is never ready");
    }

    #[test]
    fn what_is_acknowledged_is_in_the_order_sent_and_the_base_is_the_best() {
        let graph = history(10);
        let answer = round(&graph, 7, &names([2, 99, 9, 4, 0]));
        assert_eq!(answer.ack, [2, 9, 4, 0].map(id));
        assert_eq!(answer.common_base, Some(id(7)), "the wanted commit is behind one that the client has");
        assert_eq!(round(&graph, 7, &names([2, 4])).common_base, Some(id(4)));
        assert_eq!(round(&graph, 7, &names([99])).common_base, None);
    }
}
