//! Work for the processor, beside the async threads.

/// Runs what takes the processor for a while, so that other requests of the process are not held up by it.
pub fn compute<R>(work: impl FnOnce() -> R) -> R {
    match tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
