use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::{Held, Survey};
use crate::read::view::offline_bucket;
use crate::upkeep::index::tests::{IDS, Made, commit, inputs, made, merged, object, snapshot, store};
use common::location::RecordLocation;
use common::table::{Key, Section};

/// The packs that hold a record, and whether any pack says that a branch has reached it.
type Expected = BTreeMap<Key, (Vec<u32>, bool)>;

/// What packs say of their objects: those that they hold, and those of which they only note that they are reached.
fn objects(packs: &[Made]) -> Expected {
    let mut expected = Expected::new();
    for (number, made) in (0..).zip(packs) {
        let key = |id: &usize| Key::of(object(*id).as_ref());
        let held = made.objects.iter().map(|(id, is_staged)| (key(id), !is_staged));
        for (key, is_reached) in held.chain(made.large.iter().map(|id| (key(id), false))) {
            let (packs, of_any) = expected.entry(key).or_default();
            packs.push(number);
            *of_any |= is_reached;
        }
        for id in &made.reached {
            expected.entry(key(id)).or_default().1 = true;
        }
    }
    expected
}

fn snapshots(packs: &[Made]) -> Expected {
    let mut expected = Expected::new();
    for (number, made) in (0..).zip(packs) {
        for (id, is_staged) in &made.snapshots {
            let (packs, is_reached) = expected.entry(Key::of(snapshot(*id).as_ref())).or_default();
            packs.push(number);
            *is_reached |= !is_staged;
        }
    }
    expected
}

async fn records(survey: &Survey<'_>, section: Section) -> Expected {
    let mut found = Expected::new();
    let mut records = survey.records(section).await.unwrap();
    while let Some((key, record)) = records.next().await.unwrap() {
        assert_eq!(record.number, found.len());
        let packs = record.held().map(|copy| copy.pack.unwrap()).collect();
        assert!(found.insert(key, (packs, record.is_reached())).is_none(), "each comes once");
    }
    found
}

/// The parents and the snapshot of each commit, as the first pack that has it says.
fn graph(packs: &[Made]) -> BTreeMap<usize, (Vec<usize>, Option<usize>)> {
    let mut graph = BTreeMap::new();
    for made in packs {
        for (id, named) in &made.commits {
            graph.entry(*id).or_insert_with(|| named.clone());
        }
    }
    graph
}

async fn assert_reaches(survey: &Survey<'_>, packs: &[Made], from: &BTreeSet<usize>) {
    let graph = graph(packs);
    let (mut waiting, mut expected) = (Vec::from_iter(from.iter().copied()), BTreeSet::new());
    let mut is_whole = true;
    while let Some(id) = waiting.pop() {
        match graph.get(&id) {
            Some((parents, _)) if expected.insert(id) => waiting.extend(parents),
            Some(_) => {}
            // One that is asked for and is not there has no position.
            None => is_whole &= from.contains(&id) && !graph.values().any(|(parents, _)| parents.contains(&id)),
        }
    }
    let from: Vec<_> = from.iter().copied().map(commit).collect();
    let links = survey.links(&from).await.unwrap();
    let mut reached = survey.no_commits();
    let positions = from.iter().filter_map(|id| links.position(id));
    let found_whole = links.reach(positions, &mut reached);

    let mut found = BTreeSet::new();
    let mut commits = survey.commits().await.unwrap();
    while let Some(copy) = commits.next().await.unwrap() {
        let is_first = links.first(copy.position) == copy.position;
        if is_first && reached.contains(copy.position as usize) {
            assert!(found.insert(copy.key), "each counts once");
            let id = expected.iter().find(|id| Key::of(commit(**id).as_ref()) == copy.key).unwrap();
            let named = graph[id].1.map(|id| Key::of(snapshot(id).as_ref()));
            assert_eq!(copy.snapshot, named);
        }
        assert!(survey.locate()(copy.place).is_some_and(|frame| frame.pack == survey.packs()[copy.pack as usize].0));
    }
    assert_eq!(found, expected.iter().map(|id| Key::of(commit(*id).as_ref())).collect());
    // The walk may also end at what is missing below commits that were not asked for.
    let is_missed = |id: &usize| expected.iter().any(|child| graph[child].0.contains(id)) && !graph.contains_key(id);
    assert_eq!(found_whole, !(0..IDS).any(|id| is_missed(&id)), "{is_whole}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_survey_sees_what_the_packs_hold_whether_indexes_cover_them_or_not(
        made in prop::collection::vec(made(), 1..6),
        covered in 0_usize..6,
        from in prop::collection::btree_set(0..IDS, 0..4),
        asked in prop::collection::btree_set(0..IDS, 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bucket = offline_bucket();
            let packs: Vec<_> = made.iter().enumerate().map(|(number, made)| store(&bucket, number, made)).collect();
            let covered = covered.min(packs.len());
            let mut tables = packs.clone();
            if covered > 1 {
                let (index, summary, _) = merged(&bucket, 100, &packs[..covered]).await;
                tables.splice(..covered, [(index, summary)]);
            }
            let survey = Survey::of(inputs(&bucket, &tables).await, packs.clone()).await.unwrap();
            assert_eq!(records(&survey, Section::Objects).await, objects(&made));
            assert_eq!(records(&survey, Section::Snapshots).await, snapshots(&made));
            assert_reaches(&survey, &made, &from).await;

            // A note alone does not make an object one that is there.
            let expected = objects(&made);
            let is_there = |key: &Key| expected.get(key).is_some_and(|(packs, _)| !packs.is_empty());
            let mut keys: HashSet<Key> = asked.iter().map(|id| Key::of(object(*id).as_ref())).collect();
            let asked_for = keys.clone();
            let mut found = survey.no_records(Section::Objects);
            let are_all_there = survey.find(Section::Objects, &mut keys, &mut found).await.unwrap();
            assert_eq!(are_all_there, asked_for.iter().all(is_there));
            let numbered = expected.keys().enumerate().filter(|(number, _)| found.contains(*number));
            let numbered: HashSet<Key> = numbered.map(|(_, key)| *key).collect();
            assert_eq!(numbered, asked_for.iter().copied().filter(|key| is_there(key)).collect());

            // All snapshots, in the order in which they lie, and from any of them on.
            let mut all = survey.no_records(Section::Snapshots);
            all.insert_range(..);
            let places = survey.snapshot_places(&all, None).await.unwrap();
            assert_eq!(places.len(), snapshots(&made).len());
            assert!(places.is_sorted());
            for (number, place) in places.iter().enumerate() {
                let rest: Vec<RecordLocation> = survey.snapshot_places(&all, Some(*place)).await.unwrap();
                assert_eq!(rest, places[number + 1..]);
            }
            let large: Vec<u64> = survey.large().map(|(large, _)| large.size).collect();
            let of_packs = made.iter().flat_map(|made| made.large.iter().map(|id| *id as u64));
            assert_eq!(large, of_packs.collect::<Vec<_>>());
            let mut objects = survey.records(Section::Objects).await.unwrap();
            while let Some((_, record)) = objects.next().await.unwrap() {
                for copy in record.held() {
                    let Held::Packed(place) = copy.held else { continue };
                    let frame = survey.locate()(place).unwrap();
                    assert_eq!(Some(frame.pack), copy.pack.map(|pack| packs[pack as usize].0));
                }
            }
        });
    }
}
