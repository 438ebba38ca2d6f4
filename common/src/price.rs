//! What AWS asks for: on-demand list prices in US East (N. Virginia), US dollars, first tier, without any free tier.
//!
//! Other regions ask up to twice as much, and prices change: each constant names the page that it was read from, in
//! 2026. What is estimated with them says how the parts of a bill compare, not what an invoice will say.

use std::ops::{Add, AddAssign};

/// Bytes that AWS bills as a gigabyte.
pub const GB: f64 = (1_u64 << 30) as f64;

/// One read request unit: a strongly consistent read of up to 4 KiB. <https://aws.amazon.com/dynamodb/pricing/on-demand/>
pub const DYNAMODB_READ_UNIT: f64 = 0.125e-6;
/// One write request unit: a write of up to 1 KiB; in a transaction a write takes two of them for each.
/// <https://aws.amazon.com/dynamodb/pricing/on-demand/>
pub const DYNAMODB_WRITE_UNIT: f64 = 0.625e-6;
/// One GET or HEAD in S3 Standard. <https://aws.amazon.com/s3/pricing/>
pub const S3_GET: f64 = 0.40e-6;
/// One PUT, COPY, POST or LIST in S3 Standard; a DELETE is free. <https://aws.amazon.com/s3/pricing/>
pub const S3_PUT: f64 = 5.00e-6;
/// One GB kept in S3 Standard for a month. <https://aws.amazon.com/s3/pricing/>
pub const S3_GB_MONTH: f64 = 0.023;
/// One second of one GB of memory of a function on arm64. <https://aws.amazon.com/lambda/pricing/>
pub const LAMBDA_ARM64_GB_SECOND: f64 = 13.3334e-6;
/// One call of a function. <https://aws.amazon.com/lambda/pricing/>
pub const LAMBDA_REQUEST: f64 = 0.20e-6;
/// One GB of a streamed answer, beyond its first [`LAMBDA_STREAM_FREE_BYTES`]. <https://aws.amazon.com/lambda/pricing/>
pub const LAMBDA_STREAM_GB: f64 = 0.008;
/// What each streamed answer has free. <https://aws.amazon.com/lambda/pricing/>
pub const LAMBDA_STREAM_FREE_BYTES: u64 = 6 << 20;
/// One request to a REST API. <https://aws.amazon.com/api-gateway/pricing/>
pub const API_GATEWAY_REST_REQUEST: f64 = 3.50e-6;
/// One request to an HTTP API, which streams no answers. <https://aws.amazon.com/api-gateway/pricing/>
pub const API_GATEWAY_HTTP_REQUEST: f64 = 1.00e-6;
/// Bytes of a request or of its answer that are billed as one request to an HTTP API; what is begun counts.
/// <https://aws.amazon.com/api-gateway/pricing/>
pub const API_GATEWAY_HTTP_REQUEST_BYTES: u64 = 512 << 10;
/// Bytes of a streamed answer that are billed as one request; what is begun counts.
/// <https://aws.amazon.com/blogs/compute/building-responsive-apis-with-amazon-api-gateway-response-streaming/>
pub const API_GATEWAY_STREAM_REQUEST_BYTES: u64 = 10 << 20;
/// One GB from AWS to the internet. From S3 to a function of the same region costs nothing.
/// <https://aws.amazon.com/ec2/pricing/on-demand/#Data_Transfer>
pub const DATA_OUT_GB: f64 = 0.09;

/// One request to CloudFront over HTTPS. Its bytes from a service of AWS to the edge cost nothing.
/// <https://aws.amazon.com/cloudfront/pricing/pay-as-you-go/>
pub const CLOUDFRONT_REQUEST: f64 = 1.00e-6;
/// One GB from an edge in the United States or Europe to the internet.
/// <https://aws.amazon.com/cloudfront/pricing/pay-as-you-go/>
pub const CLOUDFRONT_GB: f64 = 0.085;
/// One request that AWS WAF looks at. <https://aws.amazon.com/waf/pricing/>
pub const WAF_REQUEST: f64 = 0.60e-6;
/// A month of a list of rules of AWS WAF, with one rule in it. <https://aws.amazon.com/waf/pricing/>
pub const WAF_MONTH: f64 = 5.00 + 1.00;
/// A month of an alarm on a metric of standard resolution. <https://aws.amazon.com/cloudwatch/pricing/>
pub const CLOUDWATCH_ALARM_MONTH: f64 = 0.10;
/// Alarms that an account has for nothing. <https://aws.amazon.com/cloudwatch/pricing/>
pub const CLOUDWATCH_FREE_ALARMS: u64 = 10;
/// A month of a dashboard. <https://aws.amazon.com/cloudwatch/pricing/>
pub const CLOUDWATCH_DASHBOARD_MONTH: f64 = 3.00;
/// Dashboards that an account has for nothing, of up to 50 metrics each. <https://aws.amazon.com/cloudwatch/pricing/>
pub const CLOUDWATCH_FREE_DASHBOARDS: u64 = 3;
/// One request to a FIFO queue. <https://aws.amazon.com/sqs/pricing/>
pub const SQS_FIFO_REQUEST: f64 = 0.50e-6;
/// Requests to queues that an account has for nothing each month. <https://aws.amazon.com/sqs/pricing/>
pub const SQS_FREE_REQUESTS: u64 = 1_000_000;

/// What there is of a hub while no request comes, for a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdleMonth {
    /// Alarms.
    pub alarms: u64,
    /// Dashboards.
    pub dashboards: u64,
    /// Requests with which Lambda asks empty queues.
    pub queue_requests: u64,
}

impl IdleMonth {
    /// What it costs in US dollars, in an account that has used up what it has for nothing.
    pub fn dollars(&self) -> f64 {
        self.alarms as f64 * CLOUDWATCH_ALARM_MONTH
            + self.dashboards as f64 * CLOUDWATCH_DASHBOARD_MONTH
            + self.queue_requests as f64 * SQS_FIFO_REQUEST
    }

    /// What it costs in US dollars, in an account that has nothing else.
    pub fn dollars_beyond_what_is_free(&self) -> f64 {
        Self {
            alarms: self.alarms.saturating_sub(CLOUDWATCH_FREE_ALARMS),
            dashboards: self.dashboards.saturating_sub(CLOUDWATCH_FREE_DASHBOARDS),
            queue_requests: self.queue_requests.saturating_sub(SQS_FREE_REQUESTS),
        }
        .dollars()
    }
}

/// The read request units of one strongly consistent call that reads `bytes` of items.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
pub const fn read_units(bytes: u64) -> u64 {
    units(bytes, 4 << 10)
}

/// The write request units of one item of `bytes`, written alone; in a transaction it takes twice as many.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
pub const fn write_units(bytes: u64) -> u64 {
    units(bytes, 1 << 10)
}

const fn units(bytes: u64, unit: u64) -> u64 {
    // A call that finds nothing is billed as well.
    if bytes == 0 { 1 } else { bytes.div_ceil(unit) }
}

/// What was used of each thing that has a price.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// DynamoDB read request units.
    pub read_units: u64,
    /// DynamoDB write request units.
    pub write_units: u64,
    /// GETs and HEADs to S3.
    pub s3_gets: u64,
    /// PUTs, COPYs, POSTs and LISTs to S3.
    pub s3_puts: u64,
    /// Calls of functions.
    pub lambda_requests: u64,
    /// Gigabytes of a function's memory times seconds that it ran.
    pub lambda_gb_seconds: f64,
    /// Bytes of streamed answers beyond what each has free.
    pub lambda_streamed_bytes: u64,
    /// Requests to the REST API.
    pub api_requests: u64,
    /// Bytes that left AWS for the internet.
    pub bytes_out: u64,
}

impl Usage {
    /// What one request through the REST API uses whose function has `memory_mb` and runs for `millis`, and whose answer
    /// has `bytes`: all but the calls that the function makes.
    pub fn of_request(memory_mb: u64, millis: f64, bytes: u64, is_streamed: bool) -> Self {
        let (charged, requests) = match is_streamed {
            true => (
                bytes.saturating_sub(LAMBDA_STREAM_FREE_BYTES),
                bytes.div_ceil(API_GATEWAY_STREAM_REQUEST_BYTES).max(1),
            ),
            false => (0, 1),
        };
        Self {
            lambda_requests: 1,
            lambda_gb_seconds: memory_mb as f64 / 1024.0 * millis / 1000.0,
            lambda_streamed_bytes: charged,
            api_requests: requests,
            bytes_out: bytes,
            ..Self::default()
        }
    }

    /// What it costs in US dollars where CloudFront, with AWS WAF, is in front of the API, and nothing is cached there.
    pub fn dollars_through_cloudfront(&self, requests: u64) -> f64 {
        self.dollars() + requests as f64 * (CLOUDFRONT_REQUEST + WAF_REQUEST)
            - self.bytes_out as f64 / GB * (DATA_OUT_GB - CLOUDFRONT_GB)
    }

    /// What it costs in US dollars.
    pub fn dollars(&self) -> f64 {
        self.read_units as f64 * DYNAMODB_READ_UNIT
            + self.write_units as f64 * DYNAMODB_WRITE_UNIT
            + self.s3_gets as f64 * S3_GET
            + self.s3_puts as f64 * S3_PUT
            + self.lambda_requests as f64 * LAMBDA_REQUEST
            + self.lambda_gb_seconds * LAMBDA_ARM64_GB_SECOND
            + self.lambda_streamed_bytes as f64 / GB * LAMBDA_STREAM_GB
            + self.api_requests as f64 * API_GATEWAY_REST_REQUEST
            + self.bytes_out as f64 / GB * DATA_OUT_GB
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            read_units: self.read_units + other.read_units,
            write_units: self.write_units + other.write_units,
            s3_gets: self.s3_gets + other.s3_gets,
            s3_puts: self.s3_puts + other.s3_puts,
            lambda_requests: self.lambda_requests + other.lambda_requests,
            lambda_gb_seconds: self.lambda_gb_seconds + other.lambda_gb_seconds,
            lambda_streamed_bytes: self.lambda_streamed_bytes + other.lambda_streamed_bytes,
            api_requests: self.api_requests + other.api_requests,
            bytes_out: self.bytes_out + other.bytes_out,
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What it costs to keep `bytes` in S3 for a month, in US dollars.
pub fn s3_month(bytes: u64) -> f64 {
    bytes as f64 / GB * S3_GB_MONTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_rounded_up_and_never_none() {
        assert_eq!([0, 1, 4_096, 4_097].map(read_units), [1, 1, 1, 2]);
        assert_eq!([0, 1, 1_024, 1_025].map(write_units), [1, 1, 1, 2]);
    }

    #[test]
    fn an_idle_month_costs_what_is_not_free() {
        let month = IdleMonth { alarms: 9, dashboards: 1, queue_requests: 1_200_000 };
        assert!((month.dollars() - 4.5).abs() < 1e-9, "{}", month.dollars());
        assert!((month.dollars_beyond_what_is_free() - 0.1).abs() < 1e-9);
        let small = IdleMonth { alarms: 10, dashboards: 3, queue_requests: 1_000_000 };
        assert!(small.dollars_beyond_what_is_free().abs() < 1e-12);
    }

    #[test]
    fn a_million_of_each_costs_what_the_pages_say() {
        let million = |usage: Usage| (usage.dollars() * 1e6 * 1e4).round() / 1e4;
        assert_eq!(million(Usage { read_units: 1, ..Usage::default() }), 0.125);
        assert_eq!(million(Usage { write_units: 1, ..Usage::default() }), 0.625);
        assert_eq!(million(Usage { s3_gets: 1, ..Usage::default() }), 0.4);
        assert_eq!(million(Usage { s3_puts: 1, ..Usage::default() }), 5.0);
        assert_eq!(million(Usage { lambda_gb_seconds: 1.0, ..Usage::default() }), 13.3334);
        // Of a gigabyte that is streamed through, 6 MiB are free of the price of streaming.
        let streamed = Usage::of_request(1024, 0.0, 1 << 30, true).dollars();
        // To the API it is 103 requests of 10 MiB.
        assert!(
            (streamed - (0.09 + 0.008 * (1.0 - 6.0 / 1024.0) + 103.0 * 3.5e-6 + 0.2e-6)).abs() < 1e-12,
            "{streamed}"
        );
        let requests = |bytes| Usage::of_request(0, 0.0, bytes, true).api_requests;
        assert_eq!([0, 1, 10 << 20, (10 << 20) + 1].map(requests), [1, 1, 1, 2]);
        assert_eq!(Usage::of_request(0, 0.0, 6 << 20, false).api_requests, 1);
        // A gigabyte in one request through CloudFront is half a cent less, and a request more.
        let through = Usage::of_request(0, 0.0, 1 << 30, true).dollars_through_cloudfront(1);
        let direct = Usage::of_request(0, 0.0, 1 << 30, true).dollars();
        assert!((through - direct - (1.6e-6 - 0.005)).abs() < 1e-12, "{through} {direct}");
        // 1,769 MB for 100 ms.
        let request = Usage::of_request(1_769, 100.0, 0, false).dollars();
        assert!((request - (3.5e-6 + 0.2e-6 + 1_769.0 / 1_024.0 * 0.1 * 13.3334e-6)).abs() < 1e-15, "{request}");
    }
}
