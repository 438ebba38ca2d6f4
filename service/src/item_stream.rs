//! The table's stream, as it wakes functions: batches of changes.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>

use std::collections::HashMap;

use common::time;
use jiff::Timestamp;
use serde::Deserialize;

use store::table::items::Item;

/// A batch of changes.
#[derive(Debug, Clone, Deserialize)]
pub struct Batch {
    /// The changes, oldest first.
    #[serde(rename = "Records")]
    pub records: Vec<Record>,
}

/// A change of an item.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// `INSERT`, `MODIFY` or `REMOVE`.
    #[serde(default)]
    pub event_name: String,
    dynamodb: Change,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    keys: Keys,
    sequence_number: String,
    #[serde(default)]
    new_image: Option<HashMap<String, serde_dynamo::AttributeValue>>,
    #[serde(default)]
    approximate_creation_date_time: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
struct Keys {
    pk: Text,
    sk: Text,
}

#[derive(Debug, Clone, Deserialize)]
struct Text {
    #[serde(rename = "S")]
    text: String,
}

impl Record {
    /// The partition key of the item.
    pub fn pk(&self) -> &str {
        &self.dynamodb.keys.pk.text
    }

    /// The sort key of the item.
    pub fn sk(&self) -> &str {
        &self.dynamodb.keys.sk.text
    }

    /// The place of the change in the stream: a number of up to 40 digits.
    pub fn sequence_number(&self) -> &str {
        &self.dynamodb.sequence_number
    }

    /// When the item was written, to the second; nothing where the stream does not say.
    pub fn written_at(&self) -> Option<Timestamp> {
        // A time of this or any near century is exact in a double. A number that is not a time becomes one of long ago
        // or far ahead.
        self.dynamodb.approximate_creation_date_time.map(|seconds| time::of_millis((seconds * 1_000.0) as u64))
    }

    /// The item as it is now; nothing if it was deleted.
    pub fn into_item(self) -> Option<Item> {
        let image = self.dynamodb.new_image?;
        Some(image.into_iter().map(|(name, value)| (name, value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_the_stream_sends_it() {
        // As in AWS's documentation, with our keys.
        let batch = r#"{"Records": [{
            "eventID": "1", "eventVersion": "1.0", "eventName": "INSERT", "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
            "dynamodb": {
                "Keys": {"pk": {"S": "REPO#01JD"}, "sk": {"S": "PACK#01JE"}},
                "NewImage": {"size": {"N": "101"}, "record": {"B": "AAE="}}, "ApproximateCreationDateTime": 1428537600,
                "SequenceNumber": "4421584500000000017450439091", "SizeBytes": 26, "StreamViewType": "NEW_IMAGE"
            },
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2025"
        }]}"#;
        let batch: Batch = serde_json::from_str(batch).unwrap();
        let [record] = &batch.records[..] else { panic!("one record") };
        assert_eq!((record.event_name.as_str(), record.pk(), record.sk()), ("INSERT", "REPO#01JD", "PACK#01JE"));
        assert_eq!(record.written_at(), Some(Timestamp::constant(1_428_537_600, 0)));
        let item = record.clone().into_item().unwrap();
        assert_eq!(item["size"].as_n().unwrap(), "101");
        assert_eq!(item["record"].as_b().unwrap().as_ref(), [0, 1]);
        assert_eq!(record.sequence_number(), "4421584500000000017450439091");
    }

    #[test]
    fn a_change_that_deletes_an_item_has_none() {
        let batch = r#"{"Records": [{"eventName": "REMOVE", "dynamodb": {
            "Keys": {"pk": {"S": "REPO#01JD"}, "sk": {"S": "SWEEP"}}, "SequenceNumber": "1"}}]}"#;
        let batch: Batch = serde_json::from_str(batch).unwrap();
        assert!(batch.records.into_iter().all(|record| record.written_at().is_none() && record.into_item().is_none()));
    }
}
