//! The questions of a push, a pull and a merge, in a history of 20,000 commits with a merge after each ten:
//! `cargo bench -p benches --bench graph`.

#![allow(clippy::unwrap_used, clippy::missing_docs_in_private_items, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use benches::work::{NODES as COMMITS, graph_of_merges, parents};
use common::graph::{Graph, topological_order};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn graph() -> Graph<u32, ()> {
    let mut graph = Graph::new();
    graph.extend(graph_of_merges()).unwrap();
    graph
}

fn benches(criterion: &mut Criterion) {
    let graph = graph();
    let mut group = criterion.benchmark_group("graph");
    group.bench_function("extend by 20,000 commits", |bencher| {
        bencher.iter_batched(
            graph_of_merges,
            |history| {
                let mut graph = Graph::new();
                graph.extend(history).unwrap();
                graph
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("is the head of an hour ago an ancestor", |bencher| {
        bencher.iter(|| graph.is_ancestor(black_box(&(COMMITS - 20)), black_box(&(COMMITS - 1))));
    });
    group.bench_function("is the first commit an ancestor", |bencher| {
        bencher.iter(|| graph.is_ancestor(black_box(&0), black_box(&(COMMITS - 1))));
    });
    group.bench_function("what a pull of 20 commits lacks", |bencher| {
        bencher.iter(|| graph.difference(black_box(&[COMMITS - 1]), black_box(&[COMMITS - 21])));
    });
    group.bench_function("what a clone lacks", |bencher| {
        bencher.iter(|| graph.difference(black_box(&[COMMITS - 1]), black_box(&[])));
    });
    group.bench_function("best common ancestors of neighbours", |bencher| {
        bencher.iter(|| graph.best_common_ancestors(black_box(&[COMMITS - 1]), black_box(&[COMMITS - 15])));
    });
    let named: Vec<(u32, Vec<u32>)> = (0..COMMITS).rev().map(|id| (id, parents(id))).collect();
    group.bench_function("topological order of a bundle sent backwards", |bencher| {
        bencher.iter(|| topological_order(named.iter().map(|(id, parents)| (id, parents.as_slice()))).unwrap());
    });
    group.finish();
}

criterion_group!(graph_benches, benches);
criterion_main!(graph_benches);
