//! What of a batch has to come again, as Lambda takes it for a stream and for a queue.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting>

use serde::Serialize;

/// What has to come again.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct BatchResponse {
    /// What was not dealt with. Of a stream, Lambda goes by the one that comes first: it comes again, and so does everything
    /// behind it. From a queue, Lambda deletes the others.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<Failure>,
}

/// A change or a message that was not dealt with.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The place of a change in its stream; the id of a message in its queue.
    #[serde(rename = "itemIdentifier")]
    pub id: String,
}

impl FromIterator<String> for BatchResponse {
    fn from_iter<I: IntoIterator<Item = String>>(ids: I) -> Self {
        Self { failures: ids.into_iter().map(|id| Failure { id }).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_lambda_reads_it() {
        let json = |ids: &[&str]| {
            let answer: BatchResponse = ids.iter().map(ToString::to_string).collect();
            serde_json::to_string(&answer).unwrap()
        };
        assert_eq!(json(&["1", "2"]), r#"{"batchItemFailures":[{"itemIdentifier":"1"},{"itemIdentifier":"2"}]}"#);
        assert_eq!(json(&[]), r#"{"batchItemFailures":[]}"#);
    }
}
