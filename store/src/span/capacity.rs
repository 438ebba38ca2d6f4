//! What DynamoDB says that a call costs, which it says for nothing when it is asked.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>

use aws_sdk_dynamodb::operation::batch_write_item::{BatchWriteItemInput, BatchWriteItemOutput};
use aws_sdk_dynamodb::operation::delete_item::{DeleteItemInput, DeleteItemOutput};
use aws_sdk_dynamodb::operation::get_item::{GetItemInput, GetItemOutput};
use aws_sdk_dynamodb::operation::put_item::{PutItemInput, PutItemOutput};
use aws_sdk_dynamodb::operation::query::{QueryInput, QueryOutput};
use aws_sdk_dynamodb::operation::transact_write_items::{TransactWriteItemsInput, TransactWriteItemsOutput};
use aws_sdk_dynamodb::operation::update_item::{UpdateItemInput, UpdateItemOutput};
use aws_sdk_dynamodb::types::{ConsumedCapacity, ReturnConsumedCapacity};
use aws_smithy_runtime_api::client::interceptors::context::{Input, Output};

use common::price::Usage;

/// Asks with each call that has a cost.
pub(super) fn ask(input: &mut Input) {
    macro_rules! ask {
        ($($operation:ty),*) => {
            $(if let Some(input) = input.downcast_mut::<$operation>() {
                input.return_consumed_capacity = Some(ReturnConsumedCapacity::Total);
            })*
        };
    }
    ask!(
        GetItemInput,
        QueryInput,
        PutItemInput,
        UpdateItemInput,
        DeleteItemInput,
        BatchWriteItemInput,
        TransactWriteItemsInput
    );
}

/// What a call has cost, by its answer.
pub(super) fn consumed(output: &Output) -> Usage {
    let read = |consumed: Option<&ConsumedCapacity>| Usage { read_units: units(consumed), ..Usage::default() };
    let written = |consumed: Option<&ConsumedCapacity>| Usage { write_units: units(consumed), ..Usage::default() };
    let all_written = |consumed: &[ConsumedCapacity]| Usage {
        write_units: consumed.iter().map(|consumed| units(Some(consumed))).sum(),
        ..Usage::default()
    };
    if let Some(output) = output.downcast_ref::<GetItemOutput>() {
        read(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<QueryOutput>() {
        read(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<PutItemOutput>() {
        written(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<UpdateItemOutput>() {
        written(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<DeleteItemOutput>() {
        written(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<BatchWriteItemOutput>() {
        all_written(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<TransactWriteItemsOutput>() {
        all_written(output.consumed_capacity())
    } else {
        Usage::default()
    }
}

/// Strongly consistent reads and writes cost whole units.
fn units(consumed: Option<&ConsumedCapacity>) -> u64 {
    consumed.and_then(ConsumedCapacity::capacity_units).map_or(0, |units| units.max(0.0).ceil() as u64)
}
