//! Decoding a push of 500 commits, and writing records into answers, in both encodings:
//! `cargo bench -p benches --bench encoding`.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use common::wire::commit::Commit;
use common::wire::page::Page;
use common::wire::request::PushRequest;
use common::wire::{Encoding, recode};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

const COMMITS: usize = 500;
const FILES: usize = 100;

fn id(of: &str, number: usize) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(format!("{of} {number}")))
}

fn commit(number: usize) -> Value {
    json!({
        "commit_id": id("commit", number), "branch": "main", "snapshot_id": id("snapshot", number),
        "message": format!("change {number} of many\n\nwith a reason"), "committed_at": "2026-01-01T00:00:00+00:00",
        "parent_commit_id": number.checked_sub(1).map(|parent| id("commit", parent)), "author": "ada",
        "metadata": {"tool": "muse"}, "structured_delta": {"domain": "code", "ops": [{"op": "replace", "path": "a/b"}]},
    })
}

/// Each commit changes one file.
fn push() -> Value {
    let manifest = |version: usize| -> Value {
        let files =
            (0..FILES).map(|file| (format!("src/module {file}.txt"), id("object", version / FILES * FILES + file)));
        files.map(|(path, object)| (path, Value::from(object))).collect::<serde_json::Map<_, _>>().into()
    };
    let snapshots: Vec<Value> = (0..COMMITS)
        .map(|number| json!({"snapshot_id": id("snapshot", number), "manifest": manifest(number), "created_at": "now"}))
        .collect();
    let commits: Vec<Value> = (0..COMMITS).map(commit).collect();
    json!({"bundle": {"commits": commits, "snapshots": snapshots}, "branch": "main"})
}

fn benches(criterion: &mut Criterion) {
    let push = push();
    let mut group = criterion.benchmark_group("encoding");
    group.sample_size(20);
    for encoding in [Encoding::Json, Encoding::Msgpack] {
        let body = encoding.encode(&push).unwrap();
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("decode a push in {encoding:?}"), |bencher| {
            bencher.iter(|| black_box(encoding.decode::<PushRequest<'_>>(black_box(&body)).unwrap()));
        });
    }
    let records: Vec<Vec<u8>> = (0..COMMITS)
        .map(|number| {
            let body = Encoding::Json.encode(&commit(number)).unwrap();
            Encoding::Json.decode::<Commit>(&body).unwrap().record().to_vec()
        })
        .collect();
    group.throughput(Throughput::Bytes(records.iter().map(Vec::len).sum::<usize>() as u64));
    group.bench_function("records as JSON", |bencher| {
        bencher.iter(|| {
            let mut json = Vec::new();
            records.iter().for_each(|record| recode::to_json(black_box(record), &mut json).unwrap());
            json
        });
    });
    for encoding in [Encoding::Json, Encoding::Msgpack] {
        group.bench_function(format!("a page in {encoding:?}"), |bencher| {
            bencher.iter(|| {
                let mut page = Page::new(encoding, "commits", usize::MAX);
                records.iter().for_each(|record| assert!(page.push_record(record, "next").unwrap().is_continue()));
                page.finish().unwrap()
            });
        });
    }
    group.finish();
}

criterion_group!(encoding_benches, benches);
criterion_main!(encoding_benches);
