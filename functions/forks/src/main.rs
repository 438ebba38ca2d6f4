//! Runs the function on Lambda.

use lambda_http::Error;

#[tokio::main]
async fn main() -> Result<(), Error> {
    service::lambda::streamed(forks::handle).await
}
