//! What a push that has landed is answered.

use std::borrow::Cow;

use common::answer_size::{Held, is_beyond_stock_clients};
use common::id::CommitId;
use common::push::ValidatedBundle;
use common::wire::WireError;
use common::wire::limits::STOCK_ANSWER;
use common::wire::request::PushResponse;
use lambda_http::Response;
use lambda_http::http::StatusCode;
use service::{AnswerBody, Call, Hub};
use store::bucket::packs::StoredPack;
use store::repo::Repo;
use store::span;
use store::table::items::Visibility;

use crate::Landed;

/// What a push that has landed is answered.
pub fn answer(
    hub: &Hub,
    call: &Call,
    landed: &Landed,
    bundle: &ValidatedBundle<'_>,
) -> Result<Response<AnswerBody>, WireError> {
    let (repo, pack) = (&landed.repo, landed.pack.as_ref().map(|pack| &pack.stored));
    let tip = landed.tips.first().and_then(Option::as_ref);
    span::note(|stats| stats.commits = pack.map_or(0, |pack| pack.written.summary.commits));
    let mut heads = repo.heads.clone();
    for (update, tip) in bundle.updates.iter().zip(&landed.tips) {
        heads.extend(tip.iter().map(|tip| (update.branch.to_string(), tip.clone())));
    }
    let branches: Vec<String> = bundle.updates.iter().map(|update| format!("'{}'", update.branch)).collect();
    let mut message = format!("pushed {} commit(s) to {}", bundle.sent_commits, branches.join(", "));
    message.push_str(&made(repo, tip.filter(|_| bundle.sent_commits > 0)).unwrap_or_default());
    message.push_str(&too_large_to_clone(hub, call, repo, pack).unwrap_or_default());
    let remote_head = tip.map(Cow::Borrowed);
    call.respond(StatusCode::OK, &PushResponse { ok: true, message, branch_heads: Cow::Owned(heads), remote_head })
}

/// The message to a user who has made a repo by pushing to a name, perhaps a mistyped one: that it is there now, and
/// who can read it. The same push sent again gets it again, because the answer to the first may have been lost.
fn made(repo: &Repo, tip: Option<&CommitId>) -> Option<String> {
    if !repo.meta.is_made_by_push || repo.was_pushed_to() && (tip.is_none() || repo.meta.first_head.as_ref() != tip) {
        return None;
    }
    let (readers, other) = match repo.meta.visibility {
        Visibility::Public => ("anybody can read", "private"),
        Visibility::Private => ("only you can read", "public"),
    };
    Some(format!(
        "; this made a new repository, which {readers}: PATCH /api/repos/<owner>/<slug> {{\"visibility\": \"{other}\"}} changes that"
    ))
}

/// What is said where a clone has more bytes than a stock client reads, in the encoding that this client asks for.
fn too_large_to_clone(hub: &Hub, call: &Call, repo: &Repo, new: Option<&StoredPack>) -> Option<String> {
    let held = Held::by(repo.packs.iter().map(|(_, pack)| pack));
    let held = new.map_or(held, |new| held.and(&new.written.summary));
    let bytes = held.clone_bytes(call.answer_encoding());
    is_beyond_stock_clients(bytes).then(|| {
        format!(
            "; a clone has about {} MiB now, and 'muse clone' gives up beyond {}: 'musehub clone {}/{}/{}' fetches it in parts",
            bytes >> 20,
            STOCK_ANSWER >> 20,
            call.hub_url(hub).as_deref().unwrap_or("URL"),
            repo.meta.owner,
            repo.meta.slug
        )
    })
}
