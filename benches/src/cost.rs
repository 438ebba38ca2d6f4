//! What requests cost: the tables of `docs/cost.md`.

use std::fmt::Write;

use common::price;

use crate::Failure;
use crate::counted::{CHANGES, COMMITS, Counted, FILES, PUSHES};
use crate::deployment::{Used, idle_month, model};
use crate::page::dollars;

/// Before the tables on the page.
pub const BEGIN: &str = "<!-- counted by `cargo run -p benches -- --write` -->";
/// After them.
pub const END: &str = "<!-- end of what is counted -->";

/// The tables.
pub fn tables(counted: &Counted) -> Result<String, Failure> {
    let merged = &counted.merged;
    let rows = [
        (format!("a first push of {COMMITS} commits, {FILES} files, in {PUSHES} parts"), &counted.first_push),
        (format!("a push of a commit that changes {CHANGES} files, all processes new"), &counted.cold_push),
        ("the same, processes that know the repo".to_owned(), &counted.push),
        ("a clone of all of it, all processes new".to_owned(), &counted.cold_clone),
        ("the same, processes that know the repo".to_owned(), &counted.clone),
        ("a fetch of one commit".to_owned(), &counted.fetch),
        ("a fetch that finds nothing new".to_owned(), &counted.vain_fetch),
    ];
    let rows = rows.map(|(what, requests)| (what, Used::by(requests)));

    let mut text = String::new();
    writeln!(
        text,
        "| | requests | read units | write units | S3 GET | S3 PUT | KB in | KB out | dollars for 1,000 | with a front door |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|")?;
    for (what, used) in &rows {
        writeln!(text, "{}", row(what, used))?;
    }
    writeln!(text)?;
    writeln!(text, "Of the dollars of each 1,000, in percent:\n")?;
    writeln!(text, "| | API Gateway | Lambda | DynamoDB | S3 | bytes out |")?;
    writeln!(text, "|---|---|---|---|---|---|")?;
    for (what, used) in &rows {
        writeln!(text, "{}", parts(what, used))?;
    }
    writeln!(text)?;
    writeln!(
        text,
        "The repository takes {} KB in S3, which is ${:.6} a month; a GB is ${:.3}. Merged after each of the {PUSHES} parts it \
         takes {} KB, and {} KB that were replaced stay for 35 days as older versions, as `NoncurrentDays` says: ${:.6} once.",
        counted.stored >> 10,
        price::s3_month(counted.stored),
        price::S3_GB_MONTH,
        merged.bytes >> 10,
        merged.replaced >> 10,
        price::s3_month(merged.replaced) * 35.0 / 30.0,
    )?;
    writeln!(text)?;
    let idle = idle_month(&counted.template);
    let bare = price::IdleMonth { dashboards: 0, ..idle };
    writeln!(
        text,
        "A month without requests costs what is stored, and in an account that has used up what AWS gives for nothing ${:.2}: {} \
         alarms (${:.2}), a dashboard (${:.2}), and {} requests with which Lambda asks two empty queues (${:.2}). Without the \
         dashboard (`WithDashboard=no`) it is ${:.2}; in an account that has nothing else ${:.2}.",
        idle.dollars(),
        idle.alarms,
        price::IdleMonth { alarms: idle.alarms, ..price::IdleMonth::default() }.dollars(),
        price::IdleMonth { dashboards: idle.dashboards, ..price::IdleMonth::default() }.dollars(),
        idle.queue_requests,
        price::IdleMonth { queue_requests: idle.queue_requests, ..price::IdleMonth::default() }.dollars(),
        bare.dollars(),
        idle.dollars_beyond_what_is_free(),
    )?;
    writeln!(text)?;
    writeln!(
        text,
        "With a front door (`FrontDoorSecret`) each request is one to CloudFront and one to AWS WAF too (${:.2} and ${:.2} a \
         million), a GB out is ${:.3} instead of ${:.2}, and the rule of WAF is ${:.2} a month. The column has nothing cached: what \
         an edge answers itself, of `GET /o/`, costs a request and its bytes there, and nothing behind it.",
        price::CLOUDFRONT_REQUEST * 1e6,
        price::WAF_REQUEST * 1e6,
        price::CLOUDFRONT_GB,
        price::DATA_OUT_GB,
        price::WAF_MONTH,
    )?;
    writeln!(text)?;
    writeln!(
        text,
        "A function is taken to wait {} ms for each call to DynamoDB and {} ms for each to S3, one after the other, to work {} ms \
         for each MiB of body, and to need {} ms to start. Lambda is taken to ask each queue with {} pollers, every {} seconds.",
        model::DYNAMODB_MS,
        model::S3_MS,
        model::MIB_MS,
        model::COLD_MS,
        model::POLLERS,
        model::POLL_SECONDS,
    )?;
    Ok(text)
}

fn row(what: &str, used: &Used) -> String {
    let usage = &used.usage;
    format!(
        "| {what} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        used.requests,
        usage.read_units,
        usage.write_units,
        usage.s3_gets,
        usage.s3_puts,
        used.bytes_in.div_ceil(1_000),
        used.bytes_out.div_ceil(1_000),
        dollars(usage.dollars() * 1_000.0),
        dollars(usage.dollars_through_cloudfront(used.requests) * 1_000.0),
    )
}

fn parts(what: &str, used: &Used) -> String {
    let all = used.usage;
    let none = price::Usage::default;
    let shares = [
        price::Usage { api_requests: all.api_requests, ..none() },
        price::Usage {
            lambda_requests: all.lambda_requests,
            lambda_gb_seconds: all.lambda_gb_seconds,
            lambda_streamed_bytes: all.lambda_streamed_bytes,
            ..none()
        },
        price::Usage { read_units: all.read_units, write_units: all.write_units, ..none() },
        price::Usage { s3_gets: all.s3_gets, s3_puts: all.s3_puts, ..none() },
        price::Usage { bytes_out: all.bytes_out, ..none() },
    ];
    let shares = shares.map(|share| format!("{:.0}", share.dollars() / all.dollars() * 100.0));
    format!("| {what} | {} |", shares.join(" | "))
}
