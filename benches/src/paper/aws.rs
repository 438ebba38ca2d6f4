//! What AWS allows, as its pages said in 2026, in US East (N. Virginia). What an account may ask to have raised is a quota.

/// Write units a second that a partition takes. <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html>
pub const PARTITION_WRITE_UNITS: f64 = 1_000.0;
/// Read units a second that a partition takes. <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html>
pub const PARTITION_READ_UNITS: f64 = 3_000.0;
/// Seconds for which a partition keeps units that were not used. <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/burst-adaptive-capacity.html>
pub const PARTITION_BURST_SECONDS: f64 = 300.0;
/// Write units a second that a new table takes at once, in partitions. <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/warm-throughput-scenarios.html>
pub const NEW_TABLE_WRITE_UNITS: f64 = 4_000.0;
/// Bytes that one query reads before it stops for the next. <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.Pagination.html>
pub const QUERY_PAGE: f64 = 1_048_576.0;
/// Requests that write, each second, to a part of a bucket that S3 has not split. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html>
pub const S3_WRITES: f64 = 3_500.0;
/// Requests that read, each second, from such a part. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html>
pub const S3_READS: f64 = 5_500.0;
/// Bytes that one PUT takes. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html>
pub const S3_PUT: f64 = 5_368_709_120.0;
/// Requests that the functions of an account work on at a time; a quota. <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const LAMBDA_CONCURRENCY: f64 = 1_000.0;
/// Processes of one function that start in ten seconds. <https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html>
pub const LAMBDA_STARTS: f64 = 1_000.0;
/// Seconds that an invocation may take. <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const LAMBDA_SECONDS: f64 = 900.0;
/// Batches of one shard that a function works on at a time, if nothing else is said. <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html>
pub const BATCHES_OF_A_SHARD: f64 = 1.0;
/// Requests a second to all APIs of an account; a quota. <https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html>
pub const API_REQUESTS: f64 = 10_000.0;
