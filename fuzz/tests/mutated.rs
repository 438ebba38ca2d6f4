//! Every target, with its seeds, with what once failed, and with what becomes of either when bytes change.
//!
//! This is what the gate runs of the targets. No coverage leads it: see `scripts/fuzz.sh` for a search that coverage leads.

use std::path::Path;
use std::{env, fs};

use fuzz::{TARGETS, Target};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{TestError, TestRunner};

/// Changed inputs for each target; `MUSEHUB_FUZZ_CASES` asks for more.
const CASES: u32 = 2_000;
/// Bytes of an input at most.
const LONGEST: usize = 64 << 10;

/// One change of an input.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Overwrite(Index, Vec<u8>),
    /// What another seed has from its place on.
    Splice(Index, Index, Index),
    Cut(Index),
}

/// Bytes that mean something in one format or another.
fn telling() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b"true",
        b"-1",
        b"1e999",
        b"18446744073709551616",
        b"\\u0000",
        b"\\ud800",
        b"\xc0",
        b"\xc1",
        b"\xc4\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xcb\x7f\xf0\0\0\0\0\0\0",
        b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x91",
        b"\x81",
        b"/",
        b"..",
        b"\n",
        b"\0",
        b"sha256:",
        b".",
        b"@",
        b"%00",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x80",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\0\0\0\0\0",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xae",
    ];
    prop_oneof![
        3 => select(words).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..9),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0_u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), telling()).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), telling()).prop_map(|(at, bytes)| Change::Overwrite(at, bytes)),
        (at(), 1_usize..40).prop_map(|(at, length)| Change::Remove(at, length)),
        (at(), 1_usize..200).prop_map(|(at, length)| Change::Repeat(at, length)),
        (at(), at(), at()).prop_map(|(at, seed, from)| Change::Splice(at, seed, from)),
        at().prop_map(Change::Cut),
    ]
}

impl Change {
    fn apply(&self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let place = |at: &Index, length: usize| at.index(length.max(1));
        let length = input.len();
        match self {
            Self::Flip(at, bit) => input.iter_mut().skip(place(at, length)).take(1).for_each(|byte| *byte ^= 1 << bit),
            Self::Set(at, new) => input.iter_mut().skip(place(at, length)).take(1).for_each(|byte| *byte = *new),
            Self::Insert(at, bytes) => drop(input.splice(place(at, length + 1)..place(at, length + 1), bytes.clone())),
            Self::Overwrite(at, bytes) => {
                let at = place(at, length);
                input.splice(at.min(length)..(at + bytes.len()).min(length), bytes.clone());
            }
            Self::Remove(at, count) => {
                let at = place(at, length).min(length);
                input.drain(at..(at + count).min(length));
            }
            Self::Repeat(at, count) => {
                let at = place(at, length).min(length);
                let part = input[at..(at + count).min(length)].to_vec();
                input.splice(at..at, part);
            }
            Self::Splice(at, seed, from) => {
                let other = seed.get(seeds);
                input.truncate(place(at, length + 1));
                input.extend_from_slice(&other[place(from, other.len() + 1)..]);
            }
            Self::Cut(at) => input.truncate(place(at, length + 1)),
        }
        input.truncate(LONGEST);
    }
}

/// Inputs that once failed, and whose fault was fixed.
fn regressions(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(target.name);
    let Ok(files) = fs::read_dir(folder) else {
        return Vec::new();
    };
    files.map(|file| fs::read(file.expect("a file is listed").path()).expect("a file can be read")).collect()
}

fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("there is such a target");
    let mut seeds = (target.seeds)();
    seeds.extend(regressions(target));
    seeds.iter().for_each(|seed| (target.check)(seed));
    let cases = env::var("MUSEHUB_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let inputs = (any::<Index>(), prop::collection::vec(change(), 1..6)).prop_map(|(seed, changes)| {
        let mut input = seed.get(&seeds).clone();
        changes.iter().for_each(|change| change.apply(&mut input, &seeds));
        input
    });
    let outcome = TestRunner::new(config).run(&inputs, |input| {
        (target.check)(&input);
        Ok(())
    });
    if let Err(TestError::Fail(reason, input)) = &outcome {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-failed"));
        fs::write(&kept, input).expect("a file can be written");
        panic!("{reason}\nfor \"{}\"\nwhich is in {}", input.escape_ascii(), kept.display());
    }
    outcome.expect("no case is rejected");
}

macro_rules! targets {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            run(stringify!($name));
        }
    )*

        #[test]
        fn every_target_is_run_here_and_is_a_program_for_cargo_fuzz() {
            let run = [$(stringify!($name)),*];
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, run);
            for name in names {
                let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets").join(format!("{name}.rs"));
                let text = fs::read_to_string(program).expect("it has a program");
                assert!(text.contains(&format!("fuzz::{name}::check")), "{name}");
            }
        }
    };
}

targets!(archive hooks names pack page recode records requests table token);
