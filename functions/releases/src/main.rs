//! Runs the function on Lambda.

use lambda_http::{Error, Request, run_with_streaming_response, service_fn};
use service::Hub;
use service::cut_off::whole_or_no_process;

#[tokio::main]
async fn main() -> Result<(), Error> {
    service::log_as_json();
    let hub = &Hub::from_environment().await?;
    run_with_streaming_response(service_fn(move |request: Request| async move {
        Ok::<_, Error>(whole_or_no_process(releases::handle(hub, request).await))
    }))
    .await
}
