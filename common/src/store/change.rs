//! The one commit point: a pack and a branch become visible together, in one conditional transaction, or not at all.

use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde::de::DeserializeOwned;

use super::account::NewRepo;
use super::items::{Item, Key, LogItem, PK, PackItem, RefItem, encode};
use super::packs::StoredPack;
use super::view::remember_pack;
use super::{Error, FIRST_PAUSE, Store, passes};
use crate::id::{BranchName, CommitId, RepoId};
use crate::wire::domain::Domain;

/// Attempts at a transaction that was throttled, in conflict with another, or not answered.
const TRANSACT_ATTEMPTS: u32 = 10;
/// How long they may take together.
const TRANSACT_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest pause between two of them is random below this.
pub(super) const LAST_PAUSE: Duration = Duration::from_millis(1_600);

/// What a push changes.
#[derive(Debug)]
pub struct Change<'a> {
    /// The repo.
    pub repo: &'a RepoId,
    /// The repo again, if this push makes it.
    pub creates: Option<&'a NewRepo>,
    /// The pack to register; it is in S3 already.
    pub pack: Option<&'a StoredPack>,
    /// The branch to move.
    pub branch: Option<BranchMove<'a>>,
    /// The user that pushes.
    pub by: &'a str,
}

/// A branch on its way from one commit to another.
#[derive(Debug)]
pub struct BranchMove<'a> {
    /// The branch.
    pub name: &'a BranchName,
    /// The head that the move was judged against; none for a new branch.
    pub before: Option<&'a CommitId>,
    /// Its next head.
    pub after: &'a CommitId,
    /// Whether the pusher asked for the move to be made whatever the head was.
    pub forced: bool,
    /// Whether no branch was ever pushed to the repo, so that this one becomes its default branch.
    pub is_first: bool,
    /// What kind of content the repo holds, if this is the first, says so, and nobody has chosen.
    pub domain: Option<Domain>,
}

/// What became of a conditional transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is visible.
    Landed,
    /// None of it is: something was no longer as it was judged.
    Conflict,
}

/// What one attempt at a transaction came to, by what the service answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// A condition did not hold.
    ConditionFailed,
    /// Nothing was written, and trying again may help.
    Busy,
    /// It may have been written.
    Lost,
    /// Trying again does not help.
    Refused,
}

impl Store {
    /// Makes a change visible.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it may not have been made; the marker was read back, so it most probably was not.
    pub async fn commit(&self, change: &Change<'_>) -> Result<Outcome, Error> {
        let table = &self.location.table;
        let now = self.ambient.now_iso();
        let mut items = Vec::new();
        let mut marker = None;
        let mut line = None;
        let mut meta = None;

        if let Some(StoredPack { id, written, .. }) = change.pack {
            let key = Key::pack(change.repo, *id);
            items.push(put_new(table, encode(&key, &PackItem::new(&written.summary, &now, change.by))?)?);
            marker = Some(key);
        }
        if let Some(branch) = &change.branch {
            let head =
                RefItem { head: branch.after.clone(), updated_at: now.clone(), updated_by: change.by.to_owned() };
            let ref_key = Key::branch(change.repo, branch.name);
            items.push(match branch.before {
                None => put_new(table, encode(&ref_key, &head)?)?,
                Some(before) => put_instead(table, encode(&ref_key, &head)?, before)?,
            });
            let log_key = Key::log(change.repo, self.ambient.ulid());
            let moved = LogItem {
                branch: branch.name.clone(),
                before: branch.before.cloned(),
                after: branch.after.clone(),
                forced: branch.forced,
                by: change.by.to_owned(),
                at: now.clone(),
            };
            let moved = encode(&log_key, &moved)?;
            line = self.to_tell(&moved);
            items.push(put_new(table, moved)?);
            marker.get_or_insert(log_key);
        }
        let first = change.branch.as_ref().filter(|branch| branch.is_first);
        match (change.creates, first) {
            (Some(repo), None) => {
                items.extend(repo.items(self)?);
                meta = Some(encode(&Key::meta(&repo.id), &repo.meta)?);
            }
            (Some(repo), Some(branch)) => {
                let mut repo = repo.clone();
                repo.meta.default_branch = branch.name.to_string();
                repo.meta.domain = branch.domain.map_or(repo.meta.domain, |domain| domain.as_str().to_owned());
                repo.meta.first_pushed_at = Some(now);
                items.extend(repo.items(self)?);
                meta = Some(encode(&Key::meta(&repo.id), &repo.meta)?);
            }
            (None, Some(branch)) => items.push(note_first_push(table, change.repo, branch, now)?),
            (None, None) => {}
        }

        let Some(marker) = marker else {
            // Nothing but perhaps a repo that is still empty.
            return match change.creates {
                Some(repo) => self.create_repo(repo).await,
                None => Ok(Outcome::Landed),
            };
        };
        // The marker's name was drawn for this change, so that it is there says that the change is.
        let outcome = self.transact(items, &marker, |_: serde::de::IgnoredAny| true).await?;
        if outcome == Outcome::Landed {
            if let Some(repo) = change.creates {
                self.names.insert(format!("{}/{}", repo.meta.owner, repo.meta.slug), repo.id.clone());
            }
            if let Some(StoredPack { id, written, .. }) = change.pack {
                remember_pack(&self.bucket, *id, &written.summary, &written.bytes);
                // Nobody may be listening.
                let _ = self.landed.send(change.repo.clone());
            }
            self.tell(meta.into_iter().chain(line));
        }
        Ok(outcome)
    }

    /// Writes items in one transaction. `marker` is one of them, and `is_ours` tells whether what is there is what this
    /// transaction would have put there.
    pub(crate) async fn transact<T: DeserializeOwned>(
        &self,
        items: Vec<TransactWriteItem>,
        marker: &Key,
        is_ours: impl Fn(T) -> bool,
    ) -> Result<Outcome, Error> {
        let attempts = self.transact_until_answered(items, marker, &is_ours);
        match tokio::time::timeout(TRANSACT_TIMEOUT, attempts).await {
            Ok(outcome) => outcome,
            Err(_) if self.get_item(marker).await?.is_some_and(is_ours) => Ok(Outcome::Landed),
            Err(elapsed) => Err(Error::Unavailable(elapsed.into())),
        }
    }

    async fn transact_until_answered<T: DeserializeOwned>(
        &self,
        items: Vec<TransactWriteItem>,
        marker: &Key,
        is_ours: &impl Fn(T) -> bool,
    ) -> Result<Outcome, Error> {
        // With one token, an attempt that follows one that landed unheard is answered as that one was.
        // <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
        let token = self.ambient.ulid().to_string();
        let mut pause = FIRST_PAUSE;
        let mut attempts_left = TRANSACT_ATTEMPTS;
        loop {
            let sent = self
                .dynamodb
                .transact_write_items()
                .set_transact_items(Some(items.clone()))
                .client_request_token(&token)
                .send()
                .await;
            let Err(error) = sent else {
                return Ok(Outcome::Landed);
            };
            let answer = classify(&error);
            if answer == Answer::Refused {
                return Err(Error::fault(error));
            }
            // A condition may fail on our own write, made by an attempt whose answer was lost.
            let may_have_landed = matches!(answer, Answer::ConditionFailed | Answer::Lost);
            if may_have_landed && self.get_item(marker).await?.is_some_and(is_ours) {
                return Ok(Outcome::Landed);
            }
            if answer == Answer::ConditionFailed {
                return Ok(Outcome::Conflict);
            }
            attempts_left -= 1;
            if attempts_left == 0 {
                return Err(Error::Unavailable(error.into()));
            }
            tokio::time::sleep(self.ambient.jitter(pause)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

/// Tells what an error of `TransactWriteItems` means, from its cancellation reasons where it has some.
fn classify(error: &SdkError<TransactWriteItemsError, HttpResponse>) -> Answer {
    const BUSY: [&str; 3] = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
    if let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.as_service_error() {
        let mut codes = canceled.cancellation_reasons().iter().filter_map(|reason| reason.code());
        return if codes.clone().any(|code| code == "ConditionalCheckFailed") {
            Answer::ConditionFailed
        } else if codes.any(|code| BUSY.contains(&code)) {
            Answer::Busy
        } else {
            Answer::Refused
        };
    }
    match error {
        error if !passes(error) => Answer::Refused,
        // A throttle says that nothing was done; a fault, or no answer that could be read, says nothing at all.
        SdkError::ServiceError(answer) if answer.raw().status().as_u16() < 500 => Answer::Busy,
        _ => Answer::Lost,
    }
}

/// A write of an item that is not there yet.
pub(crate) fn put_new(table: &str, item: Item) -> Result<TransactWriteItem, Error> {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(#pk)")
        .expression_attribute_names("#pk", PK)
        .build()
        .map_err(Error::fault)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// A write of a branch whose head is still the one it was judged against.
fn put_instead(table: &str, item: Item, before: &CommitId) -> Result<TransactWriteItem, Error> {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression("#head = :before")
        .expression_attribute_names("#head", "head")
        .expression_attribute_values(":before", AttributeValue::S(before.to_string()))
        .build()
        .map_err(Error::fault)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// What a repo's item about itself says from its first push on.
fn note_first_push(
    table: &str,
    repo: &RepoId,
    branch: &BranchMove<'_>,
    now: String,
) -> Result<TransactWriteItem, Error> {
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(Key::meta(repo).item()))
        .condition_expression("attribute_exists(#pk) AND attribute_not_exists(first_pushed_at)")
        .expression_attribute_names("#pk", PK)
        .expression_attribute_values(":branch", AttributeValue::S(branch.name.to_string()))
        .expression_attribute_values(":now", AttributeValue::S(now));
    let set = "SET default_branch = :branch, first_pushed_at = :now";
    let update = match branch.domain {
        None => update.update_expression(set),
        // DynamoDB keeps the name for itself.
        Some(domain) => update
            .update_expression(format!("{set}, #domain = :domain"))
            .expression_attribute_names("#domain", "domain")
            .expression_attribute_values(":domain", AttributeValue::S(domain.as_str().to_owned())),
    };
    Ok(TransactWriteItem::builder().update(update.build().map_err(Error::fault)?).build())
}
