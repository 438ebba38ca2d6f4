//! Runs the function on Lambda.

use common::time;
use events::Publishers;
use lambda_http::Error;
use lambda_http::lambda_runtime::{LambdaEvent, run, service_fn};
use service::Hub;
use service::item_stream::Batch;

#[tokio::main]
async fn main() -> Result<(), Error> {
    service::log_as_json();
    let store = &Hub::from_environment().await?.store;
    let publishers = &Publishers::from_environment(store.ambient())?;
    run(service_fn(move |event: LambdaEvent<Batch>| async move {
        Ok::<_, Error>(events::handle(store, publishers, event.payload, time::of_millis(event.context.deadline)).await)
    }))
    .await
}
