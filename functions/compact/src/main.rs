//! Runs the function on Lambda.

use common::time;
use lambda_http::Error;
use lambda_http::lambda_runtime::{LambdaEvent, run, service_fn};
use service::Hub;
use service::item_stream::Batch;

#[tokio::main]
async fn main() -> Result<(), Error> {
    service::log_as_json();
    let store = &Hub::from_environment().await?.store;
    let shares = &compact::Shares::default();
    run(service_fn(move |event: LambdaEvent<Batch>| async move {
        Ok::<_, Error>(compact::handle(store, shares, event.payload, time::of_millis(event.context.deadline)).await)
    }))
    .await
}
