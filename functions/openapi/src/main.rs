//! Runs the function on Lambda.

use lambda_http::{Error, Request, run, service_fn};
use service::Hub;
use service::buffered::Buffered;

#[tokio::main]
async fn main() -> Result<(), Error> {
    service::log_as_json();
    let hub = &Hub::from_environment().await?;
    run(service_fn(
        move |request: Request| async move { Ok::<_, Error>(Buffered(openapi::handle(hub, request).await)) },
    ))
    .await
}
