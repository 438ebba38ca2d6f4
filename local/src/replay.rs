//! Hands dead letters of the table's stream to the function that failed, in this process.
//!
//! Lambda keeps a batch that failed for good as one object of a bucket, the changes included. Its name has the time:
//! `aws/lambda/<event source mapping>/<shard>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<random>`.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html>

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use common::wire::error::{Cause, with_causes};
use events::Publishers;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use service::item_stream::{Batch, Record};
use store::Store;

/// What the keys of dead letters begin with.
pub const PREFIX: &str = "aws/lambda/";
/// Dead letters of one run. The oldest come first; another run finds the rest.
pub const MAX_LETTERS: usize = 10_000;
/// Keys that are looked through for them.
const MAX_KEYS: usize = 100_000;
/// Bytes of a dead letter. A batch has at most 6 MB, and is written as a text within a text.
const MAX_LETTER: usize = 32 << 20;

/// The bucket that Lambda keeps dead letters in.
pub struct DeadLetters {
    s3: aws_sdk_s3::Client,
    bucket: String,
}

/// Why a run ended before it had seen every dead letter.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The bucket does not answer, or may not be read.
    #[error("the bucket of dead letters does not answer")]
    Bucket(#[source] Cause),
    /// The bucket is full of something.
    #[error("there are more than {MAX_KEYS} objects under {PREFIX}")]
    TooMany,
    /// A dead letter for `events` needs to know where events go.
    #[error("it is not known where events go")]
    Publishers(#[source] Cause),
}

/// Which function a batch was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// It merges packs.
    Compact,
    /// It publishes events.
    Events,
}

impl fmt::Display for Function {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Compact => "compact",
            Self::Events => "events",
        })
    }
}

/// What became of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It can be replayed, and was not, as that was not asked for.
    Listed,
    /// Everything in it was done, and it is deleted.
    Replayed,
    /// This many changes failed again. It stays.
    Failed(usize),
    /// It was not tried, because an earlier dead letter about one of its repos stays.
    Waits,
    /// It cannot be read as a dead letter of this hub, for this reason. It stays.
    Unreadable(String),
}

/// A dead letter, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its key in the bucket.
    pub key: String,
    /// Which function it is for, if that is known.
    pub function: Option<Function>,
    /// Changes in it.
    pub changes: usize,
    /// What became of it.
    pub fate: Fate,
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, function, changes, fate } = self;
        write!(formatter, "{key}: ")?;
        if let Some(function) = function {
            write!(formatter, "{changes} changes for {function}: ")?;
        }
        match fate {
            Fate::Listed => formatter.write_str("can be replayed"),
            Fate::Replayed => formatter.write_str("replayed and deleted"),
            Fate::Failed(failed) => write!(formatter, "kept, {failed} failed again"),
            Fate::Waits => formatter.write_str("kept, it waits for an earlier one"),
            Fate::Unreadable(why) => write!(formatter, "kept, {why}"),
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Dead letters that were listed or replayed.
    pub good: usize,
    /// Dead letters that stay though they were to be replayed.
    pub kept: usize,
    /// Dead letters beyond [`MAX_LETTERS`], which were not looked at.
    pub more: usize,
}

/// A dead letter as Lambda writes it.
#[derive(Deserialize)]
struct Letter {
    #[serde(rename = "DDBStreamBatchInfo")]
    _batch: IgnoredAny,
    payload: Payload,
}

/// The event that the function was invoked with: a text, as AWS documents it. The event itself would be as good.
#[derive(Deserialize)]
#[serde(untagged)]
enum Payload {
    Text(String),
    Batch(Batch),
}

impl DeadLetters {
    /// The dead letters in this bucket.
    pub const fn new(s3: aws_sdk_s3::Client, bucket: String) -> Self {
        Self { s3, bucket }
    }

    /// Replays all dead letters, oldest first, or only looks at them. Reports of each what became of it.
    ///
    /// `publishers` is asked when a dead letter is the first that needs them.
    ///
    /// # Errors
    /// When the bucket does not answer, or `publishers` does not know; what was replayed by then is done.
    pub async fn replay(
        &self,
        store: &Arc<Store>,
        publishers: impl Fn() -> Result<Publishers, Cause>,
        is_dry: bool,
        mut report: impl FnMut(&Line),
    ) -> Result<Summary, ReplayError> {
        let mut keys = self.keys().await?;
        let mut summary = Summary { more: keys.len().saturating_sub(MAX_LETTERS), ..Summary::default() };
        keys.truncate(MAX_LETTERS);
        let mut open: Option<Publishers> = None;
        // Repos of which something stays, by the function that it is for: what came later is not to be published before.
        let mut held: BTreeSet<(bool, String)> = BTreeSet::new();
        for key in keys {
            let mut line = Line { key, function: None, changes: 0, fate: Fate::Listed };
            match self.read(&line.key).await? {
                Err(why) => line.fate = Fate::Unreadable(why),
                Ok((function, batch)) => {
                    (line.function, line.changes) = (Some(function), batch.records.len());
                    let repo = |record: &Record| (function == Function::Events, record.pk().to_owned());
                    let repos: BTreeSet<_> = batch.records.iter().map(repo).collect();
                    if !is_dry {
                        line.fate = if repos.is_disjoint(&held) {
                            self.hand_over(store, &publishers, &mut open, function, batch).await?
                        } else {
                            Fate::Waits
                        };
                        if line.fate == Fate::Replayed {
                            self.delete(&line.key).await?;
                        } else {
                            held.extend(repos);
                        }
                    }
                }
            }
            match line.fate {
                Fate::Listed | Fate::Replayed => summary.good += 1,
                Fate::Failed(_) | Fate::Waits | Fate::Unreadable(_) => summary.kept += 1,
            }
            report(&line);
        }
        Ok(summary)
    }

    async fn hand_over(
        &self,
        store: &Arc<Store>,
        publishers: &impl Fn() -> Result<Publishers, Cause>,
        open: &mut Option<Publishers>,
        function: Function,
        batch: Batch,
    ) -> Result<Fate, ReplayError> {
        // On Lambda a run has to end in time. Here there is no such limit.
        let answer = match function {
            Function::Compact => compact::handle(store, &compact::Shares::default(), batch, Timestamp::MAX).await,
            Function::Events => {
                let publishers = match open {
                    Some(open) => open,
                    None => open.insert(publishers().map_err(ReplayError::Publishers)?),
                };
                events::handle(store, publishers, batch, Timestamp::MAX).await
            }
        };
        Ok(if answer.failures.is_empty() { Fate::Replayed } else { Fate::Failed(answer.failures.len()) })
    }

    /// The keys of all dead letters, in the order of time, of whatever mapping and shard.
    async fn keys(&self) -> Result<Vec<String>, ReplayError> {
        let list = self.s3.list_objects_v2().bucket(&self.bucket).prefix(PREFIX);
        let mut pages = list.into_paginator().send();
        let mut keys: Vec<String> = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| ReplayError::Bucket(error.into()))?;
            keys.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
            if keys.len() > MAX_KEYS {
                return Err(ReplayError::TooMany);
            }
        }
        keys.sort_by(|a, b| {
            let name = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
            name(a).cmp(&name(b)).then_with(|| a.cmp(b))
        });
        Ok(keys)
    }

    /// The batch in a dead letter, and the function that it was for, or why that is not known.
    async fn read(&self, key: &str) -> Result<Result<(Function, Batch), String>, ReplayError> {
        let got = match self.s3.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(got) => got,
            Err(SdkError::ServiceError(error)) if matches!(error.err(), GetObjectError::NoSuchKey(_)) => {
                return Ok(Err("it was deleted meanwhile".to_owned()));
            }
            Err(error) => return Err(ReplayError::Bucket(error.into())),
        };
        match whole(got.body).await? {
            Some(bytes) => Ok(parse(&bytes)),
            None => Ok(Err(format!("it has more than {} MiB", MAX_LETTER >> 20))),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), ReplayError> {
        let deleted = self.s3.delete_object().bucket(&self.bucket).key(key).send().await;
        deleted.map(drop).map_err(|error| ReplayError::Bucket(error.into()))
    }
}

async fn whole(mut body: ByteStream) -> Result<Option<Vec<u8>>, ReplayError> {
    let mut bytes = Vec::new();
    while let Some(more) = body.try_next().await.map_err(|error| ReplayError::Bucket(error.into()))? {
        if bytes.len() + more.len() > MAX_LETTER {
            return Ok(None);
        }
        bytes.extend_from_slice(&more);
    }
    Ok(Some(bytes))
}

fn parse(bytes: &[u8]) -> Result<(Function, Batch), String> {
    let letter: Letter = serde_json::from_slice(bytes)
        .map_err(|error| format!("it is no dead letter of a stream with its changes: {}", with_causes(&error)))?;
    let batch = match letter.payload {
        Payload::Batch(batch) => batch,
        Payload::Text(text) => {
            serde_json::from_str(&text).map_err(|error| format!("its payload is no batch: {}", with_causes(&error)))?
        }
    };
    // The filters of the two have nothing in common, and let nothing else through.
    let all = |is_own: fn(&Record) -> bool| !batch.records.is_empty() && batch.records.iter().all(is_own);
    let function = if all(compact::is_compacted) {
        Function::Compact
    } else if all(events::is_published) {
        Function::Events
    } else {
        return Err("its changes are not those that one function of this hub is woken for".to_owned());
    };
    Ok((function, batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in AWS's documentation, with our keys in the payload.
    fn letter(payload: &serde_json::Value) -> Vec<u8> {
        let letter = serde_json::json!({
            "requestContext": {
                "requestId": "316aa6d0-8154-xmpl-9af7-85d5f4a6bc81",
                "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:myfunction",
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": 1,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": "2019-11-14T00:13:49.717Z",
            "DDBStreamBatchInfo": {
                "shardId": "shardId-00000001573689847184-864758bb",
                "startSequenceNumber": "800000000003126276362",
                "endSequenceNumber": "800000000003126276362",
                "approximateArrivalOfFirstRecord": "2019-11-14T00:13:19Z",
                "approximateArrivalOfLastRecord": "2019-11-14T00:13:19Z",
                "batchSize": 1,
                "streamArn": "arn:aws:dynamodb:us-east-2:123456789012:table/mytable/stream/2019-11-14T00:04:06.388",
            },
            "payload": payload,
        });
        serde_json::to_vec(&letter).unwrap()
    }

    fn change(name: &str, pk: &str, sk: &str) -> serde_json::Value {
        serde_json::json!({"eventName": name, "dynamodb": {"SequenceNumber": "1", "Keys": {"pk": {"S": pk}, "sk": {"S": sk}}}})
    }

    #[test]
    fn a_letter_says_which_function_it_is_for() {
        let repo = "REPO#01JXT21Q2PYJYZGM06QYMWFQRX";
        let of = |changes: &[serde_json::Value]| {
            let batch = serde_json::json!({"Records": changes});
            let as_text = parse(&letter(&batch.to_string().into())).map(|(function, _)| function);
            assert_eq!(parse(&letter(&batch)).map(|(function, _)| function), as_text);
            as_text
        };
        for sk in ["LOG#1", "TAG#a", "REL#a", "META"] {
            assert_eq!(of(&[change("INSERT", repo, sk)]), Ok(Function::Events), "{sk}");
        }
        assert_eq!(of(&[change("MODIFY", repo, "TAG#a"), change("INSERT", repo, "LOG#1")]), Ok(Function::Events));
        assert_eq!(of(&[change("INSERT", repo, "PACK#1"), change("REMOVE", repo, "SWEEP")]), Ok(Function::Compact));
        assert!(of(&[]).is_err());
        assert!(of(&[change("INSERT", repo, "PACK#1"), change("INSERT", repo, "LOG#1")]).is_err());
        assert!(of(&[change("REMOVE", repo, "LOG#1")]).is_err());
        assert!(of(&[change("INSERT", repo, "HOOK#1")]).is_err());
        assert!(of(&[change("INSERT", "USER#1", "LOG#1")]).is_err());
    }

    #[test]
    fn what_is_no_letter_says_so() {
        for bytes in [&b""[..], b"{}", b"{\"payload\": \"{}\"}", &letter(&"not JSON".into()), &letter(&1.into())] {
            assert!(parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
