//! Writing a pack of 1,000 versions of a file, and what a request reads of it: `cargo bench -p benches --bench pack`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use bytes::Bytes;
use common::id::{Id, ObjectId};
use common::pack::index::{decode_footer, decode_table};
use common::pack::{NewObject, NewPack, OpeningFrame, PackId, WrittenPack, write};
use common::table::{Head, Key, Section, entries_of};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const VERSIONS: usize = 1_000;
const PACK: PackId = PackId::nil();

/// A file of 200 lines, of which each version changes one.
fn versions() -> Vec<Vec<u8>> {
    let line = |number: usize, version: usize| format!("line {number} as version {version} left it\n");
    let latest = |number: usize, version: usize| version - (version + 200 - number) % 200 % (version + 1);
    (0..VERSIONS)
        .map(|version| (0..200).map(|number| line(number, latest(number, version))).collect::<String>().into_bytes())
        .collect()
}

fn pack(versions: &[Vec<u8>]) -> WrittenPack {
    let objects = versions.iter().map(|content| NewObject {
        key: ObjectId::of(content).key(),
        path: "a/b.txt".into(),
        content,
        is_staged: false,
    });
    write(NewPack { objects: objects.collect(), ..NewPack::default() }).unwrap()
}

fn benches(criterion: &mut Criterion) {
    let versions = versions();
    let raw: usize = versions.iter().map(Vec::len).sum();
    let written = pack(&versions);
    let extent = written.summary.table;
    let table = written.bytes.slice(extent.range().start as usize..extent.range().end as usize);

    let mut group = criterion.benchmark_group("pack");
    group.throughput(Throughput::Bytes(raw as u64));
    group.sample_size(20);
    group.bench_function("write", |bencher| bencher.iter(|| pack(black_box(&versions))));
    group.bench_function("open every frame", |bencher| {
        bencher.iter(|| {
            for (number, frame) in written.contents.frames.iter().enumerate() {
                let start = frame.offset as usize;
                let stored = &written.bytes[start..start + frame.stored_length as usize];
                black_box(frame.open(PACK, number, stored).unwrap());
            }
        });
    });
    group.bench_function("open every frame in pieces", |bencher| {
        bencher.iter(|| {
            for (number, frame) in written.contents.frames.iter().enumerate() {
                let start = frame.offset as usize;
                let mut opening = OpeningFrame::new(PACK, number, *frame).unwrap();
                opening.take(written.bytes.slice(start..start + frame.stored_length as usize)).unwrap();
                while let Some(piece) = opening.piece().unwrap() {
                    black_box(piece);
                }
            }
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("table");
    group.bench_function("footer", |bencher| bencher.iter(|| decode_footer(PACK, black_box(&written.bytes)).unwrap()));
    group.bench_function("read whole", |bencher| {
        bencher.iter(|| decode_table(PACK, black_box(&extent), table.clone()).unwrap());
    });
    let head: Bytes = table.slice((extent.length - extent.head_length) as usize..);
    let head = Head::read(head, extent.head_checksum).unwrap();
    let ids: Vec<ObjectId> = versions.iter().map(|content| ObjectId::of(content)).collect();
    let keys: Vec<Key> = ids.iter().map(|id| Key::of(AsRef::<Id>::as_ref(id))).collect();
    group.throughput(Throughput::Elements(keys.len() as u64));
    group.bench_function("look every object up", |bencher| {
        bencher.iter(|| {
            let found = keys.iter().flat_map(|key| {
                head.pages_of(Section::Objects, key).flat_map(|number| {
                    let range = head.page_range(Section::Objects, number);
                    entries_of(Section::Objects, &table[range.start as usize..range.end as usize], key)
                })
            });
            assert_eq!(found.count(), keys.len());
        });
    });
    group.finish();
}

criterion_group!(pack_benches, benches);
criterion_main!(pack_benches);
