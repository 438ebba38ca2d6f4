//! Runs the function on Lambda.

use common::Hub;
use common::buffered::Buffered;
use lambda_http::{Error, Request, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    common::service::log_as_json();
    let hub = &Hub::from_environment().await?;
    run(service_fn(
        move |request: Request| async move { Ok::<_, Error>(Buffered(webhooks::handle(hub, request).await)) },
    ))
    .await
}
