//! The table and the bucket of a hub: whether they are there, and how they are made.

use std::error::Error;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TimeToLiveSpecification,
};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use store::Location;
use store::table::items::{PK, SK};

/// Where a bucket needs no location, and may not have one.
const FIRST_REGION: &str = "us-east-1";
/// The attribute that says when an item ends, as template.yaml has it.
const EXPIRES_AT: &str = "expires_at";
/// How long a new table may take until it can be used. AWS needs some seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is wrong with a table or a bucket.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// It is not there.
    #[error("there is no {kind} {name} {place}: make it, or let musehub serve --stores env --make-stores make it")]
    Missing {
        /// `table` or `bucket`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Where it was looked for.
        place: String,
    },
    /// The table is no hub's.
    #[error("the table {0} has other keys than a hub's: the strings pk and sk")]
    OtherKeys(String),
    /// A service refused, or does not answer.
    #[error("the {kind} {name} {place} cannot be {what}: {cause}")]
    Refused {
        /// `table` or `bucket`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Where it is.
        place: String,
        /// What was tried, in the passive.
        what: &'static str,
        /// What was answered, with all causes.
        cause: String,
    },
}

/// A table or a bucket, at a service that is reached so.
#[derive(Clone, Copy)]
struct Place<'a> {
    kind: &'static str,
    name: &'a str,
    config: &'a SdkConfig,
}

impl Place<'_> {
    fn describe(self) -> String {
        let service = if self.kind == "table" { "AWS_ENDPOINT_URL_DYNAMODB" } else { "AWS_ENDPOINT_URL_S3" };
        let named = || [service, "AWS_ENDPOINT_URL"].into_iter().find_map(store::aws::variable);
        match (self.config.endpoint_url().map(str::to_owned).or_else(named), self.config.region()) {
            (Some(endpoint), _) => format!("at {endpoint}"),
            (None, Some(region)) => format!("in {region}"),
            (None, None) => "on AWS, of which no region is named".to_owned(),
        }
    }

    fn missing(self) -> LocationError {
        LocationError::Missing { kind: self.kind, name: self.name.to_owned(), place: self.describe() }
    }

    fn refused(self, what: &'static str) -> impl Fn(&dyn Error) -> LocationError {
        move |error| {
            let (name, place) = (self.name.to_owned(), self.describe());
            let cause = DisplayErrorContext(error).to_string();
            LocationError::Refused { kind: self.kind, name, place, what, cause }
        }
    }
}

/// Looks whether both are there, as a hub needs them.
///
/// # Errors
/// When they are not, or a service does not answer.
pub async fn check(dynamodb: &SdkConfig, s3: &SdkConfig, location: &Location) -> Result<(), LocationError> {
    check_table(dynamodb, &location.table).await?;
    check_bucket(s3, &location.bucket).await
}

/// Makes what is not there of them. Items of a table that is made here end at their time, as those of a deployment do.
///
/// # Errors
/// When a service refuses or does not answer, or the table is no hub's.
pub async fn make(dynamodb: &SdkConfig, s3: &SdkConfig, location: &Location) -> Result<(), LocationError> {
    match check_table(dynamodb, &location.table).await {
        Err(LocationError::Missing { .. }) => {
            make_table(dynamodb, &location.table).await?;
            expire_items(dynamodb, &location.table).await?;
        }
        checked => checked?,
    }
    match check_bucket(s3, &location.bucket).await {
        Err(LocationError::Missing { .. }) => make_bucket(s3, &location.bucket).await,
        checked => checked,
    }
}

async fn check_table(config: &SdkConfig, name: &str) -> Result<(), LocationError> {
    let place = Place { kind: "table", name, config };
    let described = aws_sdk_dynamodb::Client::new(config).describe_table().table_name(name).send().await;
    let described = match described {
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
            return Err(place.missing());
        }
        described => described.map_err(|error| place.refused("looked at")(&error))?,
    };
    let keys = described.table().map(|table| (table.key_schema(), table.attribute_definitions()));
    let is = |position: usize, name: &str, kind: KeyType| {
        keys.is_some_and(|(keys, attributes)| {
            let is_text = |attribute: &AttributeDefinition| {
                attribute.attribute_name() == name && *attribute.attribute_type() == ScalarAttributeType::S
            };
            keys.get(position).is_some_and(|key| key.attribute_name() == name && *key.key_type() == kind)
                && attributes.iter().any(is_text)
        })
    };
    if is(0, PK, KeyType::Hash) && is(1, SK, KeyType::Range) {
        Ok(())
    } else {
        Err(LocationError::OtherKeys(name.to_owned()))
    }
}

async fn check_bucket(config: &SdkConfig, name: &str) -> Result<(), LocationError> {
    let place = Place { kind: "bucket", name, config };
    let looked = aws_sdk_s3::Client::from_conf(store::aws::s3_config(config).build()).head_bucket().bucket(name).send();
    match looked.await {
        Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Err(place.missing()),
        looked => looked.map(drop).map_err(|error| place.refused("looked at")(&error)),
    }
}

/// Makes a table with the keys of a hub's, unless there is one of the name.
///
/// # Errors
/// When DynamoDB refuses or does not answer.
pub async fn make_table(config: &SdkConfig, name: &str) -> Result<(), LocationError> {
    let place = Place { kind: "table", name, config };
    let key = |name: &str, kind: KeyType| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let refused = place.refused("made");
    let attribute = |name: &str| {
        let definition = AttributeDefinition::builder().attribute_name(name);
        definition.attribute_type(ScalarAttributeType::S).build()
    };
    let client = aws_sdk_dynamodb::Client::new(config);
    let made = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key(PK, KeyType::Hash).map_err(|error| refused(&error))?)
        .key_schema(key(SK, KeyType::Range).map_err(|error| refused(&error))?)
        .attribute_definitions(attribute(PK).map_err(|error| refused(&error))?)
        .attribute_definitions(attribute(SK).map_err(|error| refused(&error))?)
        .send()
        .await;
    match made {
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => Ok(()),
        Err(error) => Err(refused(&error)),
        Ok(_) => {
            let waited = client.wait_until_table_exists().table_name(name).wait(PATIENCE).await;
            waited.map(drop).map_err(|error| place.refused("used yet")(&error))
        }
    }
}

/// Has items end at the time that they name.
async fn expire_items(config: &SdkConfig, name: &str) -> Result<(), LocationError> {
    let place = Place { kind: "table", name, config };
    let attribute = TimeToLiveSpecification::builder().enabled(true).attribute_name(EXPIRES_AT).build();
    let attribute = attribute.map_err(|error| place.refused("given a time to live")(&error))?;
    let client = aws_sdk_dynamodb::Client::new(config);
    let answered = client.update_time_to_live().table_name(name).time_to_live_specification(attribute).send().await;
    match answered {
        // Another hub that starts was faster.
        Err(error) if error.code() == Some("ValidationException") => Ok(()),
        answered => answered.map(drop).map_err(|error| place.refused("given a time to live")(&error)),
    }
}

/// Makes a bucket, unless it is there.
///
/// # Errors
/// When S3 refuses, as it does where the name is another's, or does not answer.
pub async fn make_bucket(config: &SdkConfig, name: &str) -> Result<(), LocationError> {
    let place = Place { kind: "bucket", name, config };
    let region = config.region().map(AsRef::as_ref).filter(|region| *region != FIRST_REGION);
    let where_to = region.map(|region| {
        let constraint = BucketLocationConstraint::from(region);
        CreateBucketConfiguration::builder().location_constraint(constraint).build()
    });
    let client = aws_sdk_s3::Client::from_conf(store::aws::s3_config(config).build());
    let made = client.create_bucket().bucket(name).set_create_bucket_configuration(where_to).send().await;
    match made {
        Err(error) if error.as_service_error().is_some_and(|error| error.is_bucket_already_owned_by_you()) => Ok(()),
        made => made.map(drop).map_err(|error| place.refused("made")(&error)),
    }
}
