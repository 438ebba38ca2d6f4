//! Runs the function on Lambda.

use common::Hub;
use common::stream::Batch;
use lambda_http::Error;
use lambda_http::lambda_runtime::{LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    common::service::log_as_json();
    let store = &Hub::from_environment().await?.store;
    run(service_fn(move |event: LambdaEvent<Batch>| async move {
        Ok::<_, Error>(compact::handle(store, event.payload, event.context.deadline).await)
    }))
    .await
}
