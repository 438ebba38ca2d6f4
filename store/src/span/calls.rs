//! Watches the calls to DynamoDB and S3, and those to EventBridge and SQS, where the SDK makes them.
//!
//! Each attempt is counted, with what it costs. [`observe`] shows each call to a test run, presigned ones too, which others
//! will make with the function's rights.

use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextMut,
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
    Input,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};

use super::{capacity, current, note};
use crate::ambient::Ambient;

/// Which service a client calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// DynamoDB.
    Dynamodb,
    /// S3.
    S3,
    /// EventBridge.
    Eventbridge,
    /// SQS.
    Sqs,
}

/// A call, before it is made.
#[derive(Debug)]
pub struct ObservedCall<'a> {
    /// The service that is called.
    pub service: Service,
    /// The operation, as AWS calls it.
    pub operation: &'a str,
    /// What is asked, the SDK's own struct for the operation.
    pub input: &'a Input,
    /// The function that calls, or `none`.
    pub function: &'static str,
}

static OBSERVER: OnceLock<fn(&ObservedCall<'_>)> = OnceLock::new();

/// Shows all calls of this process to `observer` from now on: a test run records them, to hold the policies of
/// `template.yaml` to them. Only the first observer sees them.
pub fn observe(observer: fn(&ObservedCall<'_>)) {
    let _ = OBSERVER.set(observer);
}

/// What watches the calls of one SDK client.
#[derive(Debug, Clone)]
pub struct CallInterceptor {
    service: Service,
    ambient: Ambient,
}

impl CallInterceptor {
    /// Watches a client of this service.
    pub const fn new(service: Service, ambient: Ambient) -> Self {
        Self { service, ambient }
    }
}

/// When the attempt under way began.
#[derive(Debug, Clone, Copy)]
struct Began(Duration);

impl Storable for Began {
    type Storer = StoreReplace<Self>;
}

impl Intercept for CallInterceptor {
    fn name(&self) -> &'static str {
        "CallInterceptor"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        capacity::ask(context.input_mut());
        Ok(())
    }

    fn read_before_serialization(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(observer) = OBSERVER.get() {
            let function = current().map_or("none", |span| span.function());
            observer(&ObservedCall {
                service: self.service,
                operation: operation(config),
                input: context.input(),
                function,
            });
        }
        Ok(())
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(Began(self.ambient.elapsed()));
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Ok(output) = context.output_or_error() {
            let consumed = capacity::consumed(output);
            note(|stats| stats.usage += consumed);
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // A call that is only presigned ends with neither.
        let was_made = context.response().is_some() || context.output_or_error().is_some_and(|output| output.is_err());
        let Some(Began(began)) = config.load::<Began>().copied().filter(|_| was_made) else {
            return Ok(());
        };
        let time = self.ambient.elapsed().saturating_sub(began);
        let operation = operation(config);
        note(|stats| {
            let calls = match self.service {
                Service::Dynamodb => &mut stats.dynamodb,
                Service::S3 => &mut stats.s3,
                // No request makes such a call.
                Service::Eventbridge | Service::Sqs => return,
            };
            calls.count += 1;
            calls.time += time;
            if self.service == Service::S3 {
                match operation {
                    "GetObject" | "HeadObject" | "HeadBucket" => stats.usage.s3_gets += 1,
                    "DeleteObject" | "DeleteObjects" | "AbortMultipartUpload" => {}
                    _ => stats.usage.s3_puts += 1,
                }
            }
        });
        Ok(())
    }
}

fn operation(config: &ConfigBag) -> &str {
    config.load::<Metadata>().map_or("", Metadata::name)
}
