//! The rights that a call takes, as IAM names them, and what it takes them on: the partition key of an item, or the key
//! of an S3 object or the prefix of a list; nothing for a bus or a queue, of which there is one.
//!
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html>,
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html>

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemInput;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemInput;
use aws_sdk_dynamodb::operation::get_item::GetItemInput;
use aws_sdk_dynamodb::operation::put_item::PutItemInput;
use aws_sdk_dynamodb::operation::query::QueryInput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsInput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemInput;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use aws_sdk_s3::operation::copy_object::CopyObjectInput;
use aws_sdk_s3::operation::delete_object::DeleteObjectInput;
use aws_sdk_s3::operation::get_object::GetObjectInput;
use aws_sdk_s3::operation::head_bucket::HeadBucketInput;
use aws_sdk_s3::operation::head_object::HeadObjectInput;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsInput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Input;
use aws_sdk_s3::operation::put_object::PutObjectInput;
use aws_smithy_runtime_api::client::interceptors::context::Input;

use store::span::calls::{ObservedCall, Service};
use store::table::items::PK;

type Attributes = HashMap<String, AttributeValue>;

/// Actions and what they are for.
pub(crate) fn of(call: &ObservedCall<'_>) -> Vec<(String, String)> {
    match call.service {
        Service::Dynamodb | Service::S3 => of_stores(call.input, call.operation),
        Service::Eventbridge => named("events", call.operation),
        Service::Sqs => named("sqs", call.operation),
    }
}

/// A call that is not known here takes the right of its own name.
fn of_stores(input: &Input, operation: &str) -> Vec<(String, String)> {
    let right = |action: &str, key: Option<&str>| vec![(action.to_owned(), key.unwrap_or_default().to_owned())];
    if let Some(input) = input.downcast_ref::<GetItemInput>() {
        right("dynamodb:GetItem", partition_key(input.key()))
    } else if let Some(input) = input.downcast_ref::<QueryInput>() {
        let values = input.expression_attribute_values();
        right("dynamodb:Query", values.and_then(|values| text(values.get(":pk")?)))
    } else if let Some(input) = input.downcast_ref::<PutItemInput>() {
        right("dynamodb:PutItem", partition_key(input.item()))
    } else if let Some(input) = input.downcast_ref::<UpdateItemInput>() {
        right("dynamodb:UpdateItem", partition_key(input.key()))
    } else if let Some(input) = input.downcast_ref::<DeleteItemInput>() {
        right("dynamodb:DeleteItem", partition_key(input.key()))
    } else if let Some(input) = input.downcast_ref::<BatchWriteItemInput>() {
        let writes = input.request_items().into_iter().flat_map(HashMap::values).flatten();
        let key = |item: Option<&Attributes>| partition_key(item).unwrap_or_default().to_owned();
        let of_write = writes.flat_map(|write| {
            let put = write.put_request().map(|put| key(Some(put.item())));
            put.or_else(|| write.delete_request().map(|delete| key(Some(delete.key()))))
        });
        of_write.map(|key| ("dynamodb:BatchWriteItem".to_owned(), key)).collect()
    } else if let Some(input) = input.downcast_ref::<TransactWriteItemsInput>() {
        input.transact_items().iter().map(of_write).collect()
    } else if let Some(input) = input.downcast_ref::<GetObjectInput>() {
        right(if input.version_id().is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" }, input.key())
    } else if let Some(input) = input.downcast_ref::<HeadObjectInput>() {
        right("s3:GetObject", input.key())
    } else if let Some(input) = input.downcast_ref::<PutObjectInput>() {
        right("s3:PutObject", input.key())
    } else if let Some(input) = input.downcast_ref::<DeleteObjectInput>() {
        right(if input.version_id().is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" }, input.key())
    } else if let Some(input) = input.downcast_ref::<ListObjectVersionsInput>() {
        right("s3:ListBucketVersions", input.prefix())
    } else if let Some(input) = input.downcast_ref::<ListObjectsV2Input>() {
        right("s3:ListBucket", input.prefix())
    } else if input.downcast_ref::<HeadBucketInput>().is_some() {
        right("s3:ListBucket", None)
    } else if let Some(input) = input.downcast_ref::<CopyObjectInput>() {
        let source = input.copy_source().and_then(|source| source.split_once('/')).map(|(_, key)| key);
        let mut both = right("s3:GetObject", source);
        both.extend(right("s3:PutObject", input.key()));
        both
    } else {
        right(operation, None)
    }
}

/// The right of a service whose calls each take the one of their own name, on something that no key names. A batch of SQS
/// takes the right to its single call.
fn named(service: &str, operation: &str) -> Vec<(String, String)> {
    vec![(format!("{service}:{}", operation.trim_end_matches("Batch")), String::new())]
}

/// The rights that a transaction takes are those of its writes.
fn of_write(write: &TransactWriteItem) -> (String, String) {
    let (action, key) = if let Some(put) = write.put() {
        ("dynamodb:PutItem", partition_key(Some(put.item())))
    } else if let Some(update) = write.update() {
        ("dynamodb:UpdateItem", partition_key(Some(update.key())))
    } else if let Some(delete) = write.delete() {
        ("dynamodb:DeleteItem", partition_key(Some(delete.key())))
    } else if let Some(check) = write.condition_check() {
        ("dynamodb:ConditionCheckItem", partition_key(Some(check.key())))
    } else {
        ("dynamodb:TransactWriteItems", None)
    };
    (action.to_owned(), key.unwrap_or_default().to_owned())
}

fn partition_key(item: Option<&Attributes>) -> Option<&str> {
    text(item?.get(PK)?)
}

fn text(value: &AttributeValue) -> Option<&str> {
    value.as_s().ok().map(String::as_str)
}
