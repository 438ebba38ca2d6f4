//! What a process that has just started pays for the length of a history: the same requests against repositories of more and
//! more commits, side by side, with what they may cost at most.
//!
//! For each size a hub runs in a process of its own on a data folder, as `musehub serve` runs it, and a
//! `history` is pushed to it over HTTP, 5,000 commits a push, while its upkeep goes on. When nothing is left to merge,
//! each question is asked by processes that have just started, over the same stores on loopback (`cold`), first cold and then
//! again. `report` prints the median of a few.

mod cold;
mod history;
mod report;
mod tap;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use local::serve::FIRST_HANDLE;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use store::ambient::Ambient;
use tests::client::send;
use tests::encoding::Encoding;

use crate::Failure;
use crate::served::Served;
use crate::wire::{Hash, Stretch, objects_body};
use cold::{Ask, Figures, Script};
use history::History;

const COLD: &str = "--cold";
const SLUG: &str = "long";
/// Commits of one push.
const PUSHED: u64 = 5_000;
/// Objects of one request that stages them.
const STAGED: usize = 1_000;
/// Ids of one question to negotiate: what clients send at a time.
const NEGOTIATED: usize = 64;
/// Ids of one question to filter-objects.
const ASKED: usize = 1_000;

/// How it is measured.
struct Options {
    sizes: Vec<u64>,
    merge_every: u64,
    repeat: usize,
    json: Option<PathBuf>,
    folder: Option<PathBuf>,
}

/// What was measured in a repository of one size.
#[derive(Debug, Default, Serialize)]
pub struct Measured {
    /// Commits.
    commits: u64,
    /// Seconds that it took to push them.
    pushed_seconds: f64,
    /// Seconds that the upkeep took that was left then.
    settled_seconds: f64,
    /// The most memory of the hub until they were pushed, stores included; bytes.
    pushed_memory: u64,
    /// The same, until nothing was left to merge.
    settled_memory: u64,
    /// Packs then.
    packs: u64,
    /// Bytes of those.
    bytes: u64,
    /// What each question took, by what it is.
    asked: BTreeMap<&'static str, Figures>,
}

/// Runs what the arguments say.
///
/// # Errors
/// When they say nothing that can be understood, a hub fails, or an answer is not the right one.
pub async fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut options =
        Options { sizes: vec![1_000, 100_000, 1_000_000], merge_every: 0, repeat: 5, json: None, folder: None };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} takes a value"));
        match argument.as_str() {
            COLD => return cold::run().await,
            "--sizes" => options.sizes = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--merge-every" => options.merge_every = value()?.parse()?,
            "--repeat" => options.repeat = value()?.parse::<usize>()?.max(1),
            "--json" => options.json = Some(value()?.into()),
            "--folder" => options.folder = Some(value()?.into()),
            _ => {
                return Err(
                    format!("{argument:?} is none of --sizes, --merge-every, --repeat, --json and --folder").into()
                );
            }
        }
    }
    options.sizes.sort_unstable();
    options.sizes.dedup();
    if options.sizes.first().is_none_or(|least| *least < 2) {
        return Err("a size is two commits at least".into());
    }

    let mut measured = Vec::new();
    for size in &options.sizes {
        measured.push(measure(*size, &options).await?);
    }
    let report = report::Report::of(&measured);
    print!("{report}");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

/// Pushes a history of this many commits, and asks about it.
async fn measure(size: u64, options: &Options) -> Result<Measured, Failure> {
    let folder = match &options.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let clock = Ambient::system();
    let mut served = Served::start(&folder.path().join("hub"))?;
    let mut history = History::new(options.merge_every);
    let mut ids: Vec<Hash> = Vec::new();
    let mut measured = Measured::default();

    let began = clock.elapsed();
    while history.commits() < size {
        let stretch = history.grow(PUSHED.min(size - history.commits()));
        push(&served, &stretch).await?;
        ids.extend(&stretch.ids);
        let seconds = clock.elapsed().saturating_sub(began).as_secs();
        let memory = served.peak()? >> 20;
        eprintln!("scale: {} of {size} commits, {seconds} s, the hub had {memory} MiB at most", history.commits());
    }
    measured.commits = history.commits();
    measured.pushed_seconds = clock.elapsed().saturating_sub(began).as_secs_f64();
    measured.pushed_memory = served.peak()?;

    let began = clock.elapsed();
    let repo = repo_id(&served).await?;
    let settled = served.settle(&repo)?;
    measured.settled_seconds = clock.elapsed().saturating_sub(began).as_secs_f64();
    measured.settled_memory = served.peak()?;
    (measured.packs, measured.bytes) = (settled.packs, settled.bytes);

    let questions = Questions { folder: folder.path(), ids, history: &mut history };
    measured.asked = questions.ask(&mut served, &repo, options.repeat)?;
    Ok(measured)
}

/// `POST` to the repo as a client of the second generation does, and the answer, which has to be a good one.
async fn post(served: &Served, path: &str, body: Vec<u8>) -> Result<serde_json::Value, Failure> {
    let (encoding, url) = (Encoding::Msgpack, &served.greeting.url);
    let method = if path == "refs" { "GET" } else { "POST" };
    let authorization = format!("Bearer {}", served.greeting.token);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", encoding.content_type()),
        ("accept", encoding.accept()),
    ];
    let answer = send(method, &format!("{url}/{FIRST_HANDLE}/{SLUG}/{path}"), &headers, body).await?;
    if answer.status != 200 {
        return Err(format!("{path}: {}", answer.excerpt()).into());
    }
    Ok(encoding.decode(&answer.body)?)
}

async fn push(served: &Served, stretch: &Stretch) -> Result<(), Failure> {
    for objects in stretch.objects.chunks(STAGED) {
        post(served, "push/objects", objects_body(objects)?).await?;
    }
    post(served, "push", stretch.push()?).await.map(drop)
}

async fn repo_id(served: &Served) -> Result<String, Failure> {
    let refs = post(served, "refs", Vec::new()).await?;
    Ok(refs.get("repo_id").and_then(|id| id.as_str()).ok_or("a repo")?.to_owned())
}

/// What is asked of a history that was pushed.
struct Questions<'a> {
    folder: &'a Path,
    ids: Vec<Hash>,
    history: &'a mut History,
}

#[derive(Serialize)]
struct Wanted<'a> {
    want: &'a [String],
    have: &'a [String],
}

impl Questions<'_> {
    fn ask(self, served: &mut Served, repo: &str, repeat: usize) -> Result<BTreeMap<&'static str, Figures>, Failure> {
        let mut random = StdRng::seed_from_u64(self.ids.len() as u64);
        let mut asked = BTreeMap::new();
        let mut note = |what: [&'static str; 2], scripts: &mut dyn FnMut() -> Result<Script, Failure>| {
            let mut runs: [Vec<Figures>; 2] = Default::default();
            for _ in 0..repeat {
                // What the run before has pushed.
                served.settle(repo)?;
                let figures = ask_cold(served, &scripts()?)?;
                runs.iter_mut().zip(figures).for_each(|(runs, figures)| runs.push(figures));
            }
            asked.extend(what.into_iter().zip(runs.map(report::median)));
            Ok::<_, Failure>(())
        };

        let head = self.ids.last().map(hex::encode).ok_or("a commit")?;
        // No stretch ends with a merge.
        let parent = self.ids.iter().rev().nth(1).map(hex::encode).ok_or("its parent")?;
        let wanted = |have: &[String]| self.body("fetch", &Wanted { want: std::slice::from_ref(&head), have });
        let body = wanted(&[parent])?;
        note(report::FETCH, &mut || Ok(twice(|| vec![ask("fetch", Some(&body), Some(("commits", 1)))])))?;
        let body = wanted(&self.ids.iter().rev().skip(1).map(hex::encode).collect::<Vec<_>>())?;
        note(report::FETCH_HAVING_ALL, &mut || Ok(twice(|| vec![ask("fetch", Some(&body), Some(("commits", 1)))])))?;

        let last = self.ids.len() as u64;
        let known = some_of(&mut random, last, NEGOTIATED);
        let have: Vec<String> =
            known.iter().filter_map(|number| self.ids.get(*number as usize)).map(hex::encode).collect();
        let body = self.body("negotiate", &Wanted { want: std::slice::from_ref(&head), have: &have })?;
        note(report::NEGOTIATE, &mut || Ok(twice(|| vec![ask("negotiate", Some(&body), Some(("ack", have.len())))])))?;

        let objects = self.history.objects();
        for (what, known, unknown) in [
            (report::FILTER_KNOWN, ASKED, 0),
            (report::FILTER_UNKNOWN, 0, ASKED),
            (report::FILTER_MIXED, ASKED / 2, ASKED / 2),
        ] {
            let mut numbers = some_of(&mut random, objects, known);
            // The history does not come to these.
            numbers.extend(some_of(&mut random, u64::from(u32::MAX), unknown).iter().map(|number| (1 << 40) + number));
            let mut ids: Vec<Hash> = numbers.into_iter().map(history::object).collect();
            ids.sort_unstable();
            let ids: Vec<String> = ids.iter().map(hex::encode).collect();
            let body = self.body("filter-objects", &BTreeMap::from([("object_ids", &ids)]))?;
            let asks = || vec![ask("filter-objects", Some(&body), Some(("missing", unknown)))];
            note(what, &mut || Ok(twice(asks)))?;
        }

        // Last, because these change it.
        let Self { folder, history, .. } = self;
        note(report::PUSH, &mut || {
            let mut push = |name: &str| -> Result<Vec<Ask>, Failure> {
                let stretch = history.grow(1);
                let files: Vec<String> = history.files().iter().map(hex::encode).collect();
                let filter = self::body(folder, &format!("{name}-filter"), &BTreeMap::from([("object_ids", files)]))?;
                let objects = write(folder, &format!("{name}-objects"), &objects_body(&stretch.objects)?)?;
                let bundle = write(folder, &format!("{name}-bundle"), &stretch.push()?)?;
                Ok(vec![
                    ask("refs", None, None),
                    ask("filter-objects", Some(&filter), Some(("missing", stretch.objects.len()))),
                    ask("push-objects", Some(&objects), None),
                    ask("push", Some(&bundle), None),
                ])
            };
            Ok(vec![push("cold")?, push("warm")?])
        })?;
        Ok(asked)
    }

    fn body(&self, name: &str, body: &impl Serialize) -> Result<PathBuf, Failure> {
        self::body(self.folder, name, body)
    }
}

fn body(folder: &Path, name: &str, body: &impl Serialize) -> Result<PathBuf, Failure> {
    write(folder, name, &rmp_serde::to_vec_named(body)?)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
    let path = folder.join(name);
    std::fs::write(&path, bytes)?;
    Ok(path)
}

fn ask(function: &str, body: Option<&Path>, expected: Option<(&str, usize)>) -> Ask {
    Ask {
        function: function.to_owned(),
        body: body.map(Path::to_owned),
        expected: expected.map(|(list, length)| (list.to_owned(), length)),
    }
}

/// Cold, and then again.
fn twice(asks: impl Fn() -> Vec<Ask>) -> Script {
    vec![asks(), asks()]
}

/// This many different numbers below `end`, or all of them.
fn some_of(random: &mut StdRng, end: u64, count: usize) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    while numbers.len() < count && (numbers.len() as u64) < end {
        numbers.insert(random.random_range(0..end));
    }
    numbers
}

/// Has a process that starts for it answer a script.
fn ask_cold(served: &Served, script: &Script) -> Result<Vec<Figures>, Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["scale", COLD])
        .envs(&served.greeting.environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().ok_or("its input")?;
    serde_json::to_writer(&mut input, script)?;
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err("a process that started cold has failed".into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
