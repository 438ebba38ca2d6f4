//! Runs the function on Lambda.

use common::time;
use deliver::queue::{Event, Queues};
use deliver::sender::Sender;
use lambda_http::Error;
use lambda_http::lambda_runtime::{LambdaEvent, run, service_fn};
use service::Hub;
use service::required;
use service::webhook_target::Reach;
use store::aws;

#[tokio::main]
async fn main() -> Result<(), Error> {
    service::log_as_json();
    let store = &Hub::from_environment().await?.store;
    let (first, again) = (required("MUSEHUB_WEBHOOK_QUEUE")?, required("MUSEHUB_WEBHOOK_RETRIES")?);
    let queues = &Queues::new(&aws::config("SQS"), first, again, store.ambient().clone());
    let sender = &Sender::new(Reach::Public)?;
    run(service_fn(move |event: LambdaEvent<Event>| async move {
        Ok::<_, Error>(
            deliver::handle(store, sender, queues, event.payload, time::of_millis(event.context.deadline)).await,
        )
    }))
    .await
}
