//! Several items written at once, or none of them; and what became of that when the answer was lost.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::items::{ChangeItem, Item, Key, PK, encode};
use crate::{FIRST_PAUSE, Store, StoreError, passes};
use common::id::RepoId;

/// Attempts at a transaction that was throttled, in conflict with another, or not answered.
const TRANSACT_ATTEMPTS: u32 = 10;
/// How long they may take together.
const TRANSACT_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest pause between two of them is random below this.
pub(crate) const LAST_PAUSE: Duration = Duration::from_millis(1_600);

/// What became of a conditional write, or of a transaction of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is visible.
    Landed,
    /// None of it is: something was no longer as the plan had it.
    Conflict,
}

/// What one attempt at a transaction came to, by what the service answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttemptOutcome {
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
    /// Writes items in one transaction. `marker` is one of them, and `is_ours` decides whether the item that is there
    /// is the one that this transaction would have put.
    pub(crate) async fn transact<T: DeserializeOwned>(
        &self,
        items: Vec<TransactWriteItem>,
        marker: &Key,
        is_ours: impl Fn(T) -> bool,
    ) -> Result<Outcome, StoreError> {
        let attempts = self.transact_until_answered(items, marker, &is_ours);
        match tokio::time::timeout(TRANSACT_TIMEOUT, attempts).await {
            Ok(outcome) => outcome,
            Err(_) if self.get_item(marker).await?.is_some_and(is_ours) => Ok(Outcome::Landed),
            Err(elapsed) => Err(StoreError::Unavailable(elapsed.into())),
        }
    }

    /// Writes items together with the line that says what they change of a repo, and publishes that.
    pub(crate) async fn transact_with_line(
        &self,
        mut items: Vec<TransactWriteItem>,
        repo: &RepoId,
        change: &ChangeItem,
    ) -> Result<Outcome, StoreError> {
        let marker = Key::change(repo, self.ambient.ulid());
        let line = encode(&marker, change)?;
        let to_publish = self.to_publish(&line);
        items.push(put_new(&self.location.table, line)?);
        let outcome = self.transact(items, &marker, |_: IgnoredAny| true).await?;
        if outcome == Outcome::Landed {
            self.publish(to_publish);
        }
        Ok(outcome)
    }

    async fn transact_until_answered<T: DeserializeOwned>(
        &self,
        items: Vec<TransactWriteItem>,
        marker: &Key,
        is_ours: &impl Fn(T) -> bool,
    ) -> Result<Outcome, StoreError> {
        // With one token, an attempt that follows one that landed unheard is answered as that one was.
        // <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
        let token = self.ambient.ulid().to_string();
        let mut backoff = self.ambient.backoff(FIRST_PAUSE).up_to(LAST_PAUSE);
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
            if answer == AttemptOutcome::Refused {
                return Err(StoreError::fault(error));
            }
            // A condition may fail on our own write, made by an attempt whose answer was lost.
            let may_have_landed = matches!(answer, AttemptOutcome::ConditionFailed | AttemptOutcome::Lost);
            if may_have_landed && self.get_item(marker).await?.is_some_and(is_ours) {
                return Ok(Outcome::Landed);
            }
            if answer == AttemptOutcome::ConditionFailed {
                return Ok(Outcome::Conflict);
            }
            attempts_left -= 1;
            if attempts_left == 0 {
                return Err(StoreError::Unavailable(error.into()));
            }
            backoff.pause().await;
        }
    }
}

/// What an error of `TransactWriteItems` means, by its cancellation reasons if it has any.
fn classify(error: &SdkError<TransactWriteItemsError, HttpResponse>) -> AttemptOutcome {
    const BUSY: [&str; 3] = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
    if let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.as_service_error() {
        let mut codes = canceled.cancellation_reasons().iter().filter_map(|reason| reason.code());
        return if codes.clone().any(|code| code == "ConditionalCheckFailed") {
            AttemptOutcome::ConditionFailed
        } else if codes.any(|code| BUSY.contains(&code)) {
            AttemptOutcome::Busy
        } else {
            AttemptOutcome::Refused
        };
    }
    match error {
        error if !passes(error) => AttemptOutcome::Refused,
        // A throttle says that nothing was done; a fault, or no answer that could be read, says nothing at all.
        SdkError::ServiceError(answer) if answer.raw().status().as_u16() < 500 => AttemptOutcome::Busy,
        _ => AttemptOutcome::Lost,
    }
}

/// What became of one conditional write.
pub(crate) fn outcome_of<T, E>(
    written: Result<T, SdkError<E, HttpResponse>>,
    key: impl fmt::Display,
) -> Result<Outcome, StoreError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match written {
        Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(Outcome::Conflict),
        written => written.map(|_| Outcome::Landed).map_err(StoreError::at(key)),
    }
}

/// A write of an item, whether it is there or not.
pub(crate) fn put(table: &str, item: Item) -> Result<TransactWriteItem, StoreError> {
    let put = Put::builder().table_name(table).set_item(Some(item)).build().map_err(StoreError::fault)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// A write of an item that is not there yet.
pub(crate) fn put_new(table: &str, item: Item) -> Result<TransactWriteItem, StoreError> {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(#pk)")
        .expression_attribute_names("#pk", PK)
        .build()
        .map_err(StoreError::fault)?;
    Ok(TransactWriteItem::builder().put(put).build())
}
