//! The same histories here and in Git, side by side: pushed, pulled and cloned in turns, so that what else the machine does
//! disturbs both.
//!
//! The hub runs in a process of its own (`served`), and so does `git daemon` (`git`). A history (`history`) is made once for
//! both. Beside them stands what cannot be had for less (`floor`): the work with the same bytes, done once.
//! `report` prints ratios and writes a page with plots (`plot`).

mod figures;
mod floor;
mod git;
pub(crate) mod history;
mod http;
mod hub;
pub mod person;
mod plot;
mod relay;
mod report;

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use local::serve::FIRST_HANDLE;
use store::ambient::Ambient;
use tests::encoding::Encoding;

use crate::page::grouped;
use crate::served::Served;
use crate::wire::Stretch;
use crate::{Failure, process};
use figures::{Report, Row, Scenario, Taken, median};
use git::Git;
use history::{Line, Shape};
use hub::{Push, Repo};
use person::Person;
use relay::Relay;

/// How often what takes little is asked, to one time of what takes long.
const SMALL: usize = 4;
/// Commits that a client names when it pulls.
const NAMED: usize = 64;
/// Ids in the largest question of `filter-objects`.
const FILTERED: usize = 50_000;
const AGENTS: u64 = 200;
/// How often an agent pushes to Git until it is taken: of hundreds of connections at once the daemon cuts some off.
const TRIES: usize = 20;
const MAIN: &str = "main";

const FIRST_PUSH: &str = "first push";
const PUSH: &str = "push of one commit";
const PULL: &str = "fetch of one commit";
const CLONE: &str = "clone";
const CLONE_JSON: &str = "clone in JSON";
const REFS: &str = "refs";
/// What a person has cloned, and what with the stock client.
const CLONED: &str = "cloned";
const MUSE_CLONED: &str = "muse-cloned";
/// What the stock client calls a repository that is to be pushed to.
const EMPTY: &str = "empty";

/// How it is measured.
struct Options {
    scenarios: Vec<String>,
    repeat: usize,
    old: u64,
    url: Option<String>,
    token: Option<String>,
    owner: String,
    folder: Option<PathBuf>,
    muse: Option<PathBuf>,
    json: Option<PathBuf>,
    out: Option<PathBuf>,
}

/// What there is to choose from.
const SCENARIOS: [&str; 5] = ["thousand", "deep", "wide", "swarm", "old"];

/// Runs what the arguments say.
///
/// # Errors
/// When they say nothing that can be understood, or a hub or Git does not do as it is asked.
pub async fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut options = Options {
        scenarios: Vec::new(),
        repeat: 5,
        old: 2_000,
        url: None,
        token: None,
        owner: FIRST_HANDLE.to_owned(),
        folder: None,
        muse: None,
        json: None,
        out: None,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} takes a value"));
        match argument.as_str() {
            "--repeat" => options.repeat = value()?.parse::<usize>()?.max(1),
            "--old" => options.old = value()?.parse::<u64>()?.max(1),
            "--url" => options.url = Some(value()?),
            "--token" => options.token = Some(value()?),
            "--owner" => options.owner = value()?,
            "--folder" => options.folder = Some(value()?.into()),
            "--muse" => options.muse = Some(value()?.into()),
            "--json" => options.json = Some(value()?.into()),
            "--out" => options.out = Some(value()?.into()),
            name if SCENARIOS.contains(&name) => options.scenarios.push(argument),
            "huge" => return Err("a million commits are measured by `scale`, which asks more of them".into()),
            _ => return Err(format!("{argument:?} is none of {SCENARIOS:?} and none of the options").into()),
        }
    }
    if options.scenarios.is_empty() {
        options.scenarios = SCENARIOS.map(str::to_owned).into();
    }

    let mut report = Report {
        at: jiff::fmt::temporal::DateTimePrinter::new().timestamp_to_string(&now()?),
        machine: report::machine(),
        git: git::version(),
        scenarios: Vec::new(),
    };
    for name in &options.scenarios {
        let folder = match &options.folder {
            Some(folder) => tempfile::tempdir_in(folder)?,
            None => tempfile::tempdir()?,
        };
        let mut bench = Bench::start(&options, folder.path(), report.git.is_some())?;
        report.scenarios.push(bench.scenario(name).await?);
        print!("{}", report::Table(report.scenarios.last().ok_or("a scenario")?));
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    if let Some(path) = &options.out {
        report::write(&report, path)?;
    }
    Ok(())
}

fn now() -> Result<Timestamp, Failure> {
    Ok(Ambient::system().now_iso().parse()?)
}

/// Both sides.
struct Bench<'a> {
    options: &'a Options,
    clock: Ambient,
    hub: Hub,
    git: Option<Git>,
    person: Person,
    made: u64,
}

/// A hub.
struct Hub {
    /// Its process, if it is one of ours.
    served: Option<Served>,
    address: SocketAddr,
    authority: String,
    token: String,
    /// What tells this run's repositories from those of others.
    run: String,
}

impl Hub {
    fn start(options: &Options, folder: &Path) -> Result<Self, Failure> {
        let (served, url, token) = match (&options.url, &options.token) {
            (Some(url), Some(token)) => (None, url.clone(), token.clone()),
            (Some(_), None) => return Err("--url takes a --token too".into()),
            (None, _) => {
                let served = Served::start(&folder.join("hub"))?;
                let (url, token) = (served.greeting.url.clone(), served.greeting.token.clone());
                (Some(served), url, token)
            }
        };
        let rest = url.strip_prefix("http://").ok_or("the bench speaks plain HTTP; put a TLS proxy in between")?;
        let authority = rest.trim_end_matches('/').to_owned();
        let with_port = if authority.contains(':') { authority.clone() } else { format!("{authority}:80") };
        let address = with_port.to_socket_addrs()?.next().ok_or("the hub's address")?;
        Ok(Self { served, address, authority, token, run: now()?.as_second().to_string() })
    }

    /// Waits for the upkeep of a repository. The bytes of its packs then, where that can be known.
    async fn settle(&mut self, repo: &Repo) -> Result<Option<u64>, Failure> {
        let Some(served) = &mut self.served else { return Ok(None) };
        let id = repo.id().await?;
        Ok(Some(tokio::task::block_in_place(|| served.settle(&id))?.bytes))
    }
}

impl<'a> Bench<'a> {
    fn start(options: &'a Options, folder: &Path, with_git: bool) -> Result<Self, Failure> {
        let git = with_git.then(|| Git::start(&folder.join("git"))).transpose()?;
        let hub = Hub::start(options, folder)?;
        let person = Person::new(
            &folder.join("person"),
            &format!("http://{}", hub.authority),
            &hub.token,
            options.muse.as_deref(),
        )?;
        Ok(Self { options, clock: Ambient::system(), hub, git, person, made: 0 })
    }

    /// A new repository on both sides, and its name.
    fn repo(&mut self) -> Result<(Repo, String), Failure> {
        self.made += 1;
        let name = format!("bench-{}-{}", self.hub.run, self.made);
        if let Some(git) = &self.git {
            git.serve(&name)?;
        }
        let remote = http::Remote {
            address: self.hub.address,
            authority: self.hub.authority.clone(),
            path: format!("/{}/{name}", self.options.owner),
            token: self.hub.token.clone(),
        };
        Ok((Repo::new(remote, self.clock.clone()), name))
    }

    async fn scenario(&mut self, name: &str) -> Result<Scenario, Failure> {
        match name {
            "thousand" => self.linear("thousand", Shape { files: 200, changes: 5, lines: 50 }, 1_000).await,
            "deep" => self.linear("deep", Shape { files: 50, changes: 2, lines: 20 }, 5_000).await,
            "wide" => self.linear("wide", Shape { files: 5_000, changes: 5, lines: 20 }, 200).await,
            "swarm" => self.swarm().await,
            "old" => self.old().await,
            other => Err(format!("no scenario {other:?}").into()),
        }
    }

    /// Times what is asked of the hub.
    async fn hub<T>(&self, taken: &mut Taken, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let process = self.hub.served.as_ref().map(Served::process);
        if let Some(process) = process {
            process::forget_peak(&process.to_string())?;
        }
        let before = process.map(process::worked).transpose()?;
        let began = self.clock.elapsed();
        let done = work.await?;
        taken.note(self.clock.elapsed().saturating_sub(began).as_secs_f64());
        if let (Some(process), Some(before)) = (process, before) {
            taken.note_worked(process::worked(process)? - before);
            taken.peak = taken.peak.max(process::peak(&process.to_string())?);
        }
        Ok(done)
    }

    /// Times what is asked of Git, if it is there.
    fn git(&self, taken: &mut Option<Taken>, work: impl Fn(&Git) -> Result<(), Failure>) -> Result<(), Failure> {
        let (Some(git), Some(taken)) = (&self.git, taken) else { return Ok(()) };
        git.wait();
        let watch = process::Watch::begin(git.process());
        let before = process::worked(git.process())?;
        let began = self.clock.elapsed();
        work(git)?;
        taken.note(self.clock.elapsed().saturating_sub(began).as_secs_f64());
        git.wait();
        taken.note_worked(process::worked(git.process())? - before);
        taken.peak = taken.peak.max(watch.most());
        Ok(())
    }

    /// Counts the bytes of what is asked of the hub.
    async fn hub_bytes<F>(&self, taken: &mut Taken, repo: &Repo, work: impl FnOnce(Repo) -> F) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let relay = Relay::start(self.hub.address).await?;
        work(repo.at(relay.address)).await?;
        (taken.sent, taken.received) = relay.finish().await;
        Ok(())
    }

    /// Counts the bytes of what is asked of Git.
    async fn git_bytes(
        &self,
        taken: &mut Option<Taken>,
        name: &str,
        work: impl Fn(&Git, &str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (Some(git), Some(taken)) = (&self.git, taken) else { return Ok(()) };
        let relay = Relay::start(git.address).await?;
        work(git, &git.url(name, Some(relay.address)))?;
        (taken.sent, taken.received) = relay.finish().await;
        Ok(())
    }

    fn import(&mut self, stretch: &Stretch, last: bool) -> Result<(), Failure> {
        let Some(git) = &mut self.git else { return Ok(()) };
        git.import(stretch)?;
        if last { git.repack() } else { Ok(()) }
    }

    /// One branch, pushed at once.
    async fn linear(&mut self, name: &'static str, shape: Shape, commits: u64) -> Result<Scenario, Failure> {
        let mut line = Line::new(shape, MAIN);
        let first = line.grow(commits);
        let tip = tip(&first)?;
        self.import(&first, true)?;
        let pushed = Push::of(&first)?;
        eprintln!("compare: {name}: {commits} commits are made");

        let mut row = Row::new(FIRST_PUSH, self.git.is_some());
        let work = floor::Pushed::of(&first, pushed.bodies())?;
        let mut floors = Vec::new();
        for _ in 0..self.options.repeat {
            let (repo, name) = self.repo()?;
            self.hub(&mut row.hub, repo.push(&pushed)).await?;
            // What it does by itself afterwards is not to disturb the other.
            self.hub.settle(&repo).await?;
            self.git(&mut row.git, |git| git.push(&git.url(&name, None), &tip, MAIN))?;
            floors.push(tokio::task::block_in_place(|| work.floor())?);
        }
        drop(work);
        for (what, part) in [
            ("parsing", floors.iter().map(|floor| floor.parsing).collect::<Vec<_>>()),
            ("hashing", floors.iter().map(|floor| floor.hashing).collect()),
            ("compressing", floors.iter().map(|floor| floor.compressing).collect()),
        ] {
            row.floor.push((what, median(&part)));
        }
        let (repo, served) = self.repo()?;
        self.hub_bytes(&mut row.hub, &repo, |repo| async move { repo.push(&pushed).await }).await?;
        self.git_bytes(&mut row.git, &served, |git, url| git.push(url, &tip, MAIN)).await?;
        eprintln!("compare: {name}: pushed");

        let ids: Vec<String> = first.ids.iter().map(hex::encode).collect();
        let objects: Vec<String> = first.objects.iter().map(|object| object.object_id.clone()).collect();
        drop(first);
        let mut rows = vec![row];
        let stored = self.questions(&mut rows, &mut line, &repo, &served, ids, &objects).await?;
        rows.splice(0..0, self.commands(&mut line, &repo, &served).await?);
        Ok(Scenario {
            name,
            words: format!(
                "{} commits of {} files on one branch; each commit changes a line in {} of them",
                grouped(commits as f64, 0),
                grouped(shape.files as f64, 0),
                shape.changes
            ),
            shape,
            rows,
            stored,
        })
    }

    /// Agents that each push a commit to a branch of their own, all at once.
    async fn swarm(&mut self) -> Result<Scenario, Failure> {
        let shape = Shape { files: 20, changes: 2, lines: 30 };
        let mut line = Line::new(shape, MAIN);
        let first = line.grow(100);
        let begun = tip(&first)?;
        self.import(&first, true)?;
        let base = Push::of(&first)?;
        let mut agents = Vec::new();
        for number in 0..AGENTS {
            let mut agent = line.fork(number);
            let next = agent.grow(1);
            self.import(&next, false)?;
            agents.push((agent.branch, tip(&next)?, Push::of(&next)?));
        }

        let with_git = self.git.is_some();
        let mut all = Row::new(format!("{AGENTS} pushes at once"), with_git);
        let mut each = Row::new("one of those pushes", with_git);
        let mut last = None;
        for _ in 0..self.options.repeat {
            let (repo, name) = self.repo()?;
            repo.push(&base).await?;
            self.hub.settle(&repo).await?;
            let (clock, pushing) = (&self.clock, &repo);
            let pushes = agents.iter().map(|(_, _, bodies)| async move {
                let began = clock.elapsed();
                pushing.push(bodies).await?;
                Ok::<_, Failure>(clock.elapsed().saturating_sub(began).as_secs_f64())
            });
            let taken = self.hub(&mut all.hub, futures_util::future::try_join_all(pushes)).await?;
            taken.into_iter().for_each(|seconds| each.hub.note(seconds));
            self.hub.settle(&repo).await?;

            if let Some(git) = &self.git {
                git.push(&git.url(&name, None), &begun, MAIN)?;
            }
            let taken = Mutex::new(Vec::new());
            self.git(&mut all.git, |git| {
                let url = git.url(&name, None);
                let push = |branch: &str, tip: &str| {
                    let began = self.clock.elapsed();
                    // What failed is an error of the thread, as a string may pass between threads.
                    let mut pushed = git.push(&url, tip, branch);
                    for _ in 1..TRIES {
                        if pushed.is_ok() {
                            break;
                        }
                        pushed = git.push(&url, tip, branch);
                    }
                    pushed.map_err(|error| error.to_string())?;
                    let seconds = self.clock.elapsed().saturating_sub(began).as_secs_f64();
                    taken.lock().unwrap_or_else(PoisonError::into_inner).push(seconds);
                    Ok::<_, String>(())
                };
                std::thread::scope(|scope| {
                    let push = &push;
                    let threads: Vec<_> =
                        agents.iter().map(|(branch, tip, _)| scope.spawn(move || push(branch, tip))).collect();
                    threads.into_iter().try_for_each(|thread| Ok(thread.join().map_err(|_| "a thread")??))
                })
            })?;
            let seconds = taken.into_inner().unwrap_or_else(PoisonError::into_inner);
            if let Some(git) = &mut each.git {
                seconds.into_iter().for_each(|seconds| git.note(seconds));
            }
            last = Some((repo, name));
        }
        let (repo, name) = last.ok_or("a repository")?;
        let ids: Vec<String> = first.ids.iter().map(hex::encode).collect();
        let objects: Vec<String> = first.objects.iter().map(|object| object.object_id.clone()).collect();
        let mut rows = vec![all, each];
        let stored = self.questions(&mut rows, &mut line, &repo, &name, ids, &objects).await?;
        let words = format!(
            "{AGENTS} agents push a commit each, all at once, to branches of their own that begin at the same commit"
        );
        Ok(Scenario { name: "swarm", words, shape, rows, stored })
    }

    /// A repository that has come into being push by push.
    async fn old(&mut self) -> Result<Scenario, Failure> {
        let shape = Shape { files: 20, changes: 1, lines: 30 };
        let mut line = Line::new(shape, MAIN);
        let pushes = self.options.old;
        let history = line.clone().grow(pushes);
        self.import(&history, true)?;
        let (repo, name) = self.repo()?;
        let mut row = Row::new(format!("one of {} pushes", grouped(pushes as f64, 0)), self.git.is_some());
        for number in 0..pushes {
            let next = line.grow(1);
            let tip = tip(&next)?;
            let bodies = Push::of(&next)?;
            self.hub(&mut row.hub, repo.push(&bodies)).await?;
            self.git(&mut row.git, |git| git.push(&git.url(&name, None), &tip, MAIN))?;
            if (number + 1) % 1_000 == 0 {
                eprintln!("compare: old: {} of {pushes} pushes", number + 1);
            }
        }
        let ids: Vec<String> = history.ids.iter().map(hex::encode).collect();
        let objects: Vec<String> = history.objects.iter().map(|object| object.object_id.clone()).collect();
        let mut rows = vec![row];
        let stored = self.questions(&mut rows, &mut line, &repo, &name, ids, &objects).await?;
        let words =
            format!("{} pushes of one commit each, one after the other; then the upkeep", grouped(pushes as f64, 0));
        Ok(Scenario { name: "old", words, shape, rows, stored })
    }

    /// What is asked of a repository that is there. The bytes that it takes after the upkeep.
    async fn questions(
        &mut self,
        rows: &mut Vec<Row>,
        line: &mut Line,
        repo: &Repo,
        name: &str,
        mut ids: Vec<String>,
        objects: &[String],
    ) -> Result<BTreeMap<&'static str, u64>, Failure> {
        let with_git = self.git.is_some();
        let mut stored = BTreeMap::new();
        stored.extend(self.hub.settle(repo).await?.map(|bytes| ("hub", bytes)));
        if let Some(git) = &self.git {
            stored.insert("git", tokio::task::block_in_place(|| git.settle(name))?);
            git.follow(name, "follower")?;
        }

        let (mut push, mut pull) = (Row::new(PUSH, with_git), Row::new(PULL, with_git));
        let times = self.options.repeat * SMALL;
        for time in 0..=times {
            let next = line.grow(1);
            let tip = tip(&next)?;
            self.import(&next, false)?;
            let bodies = Push::of(&next)?;
            let have: Vec<&str> = ids.iter().rev().take(NAMED).map(String::as_str).collect();
            if time < times {
                self.hub(&mut push.hub, repo.push(&bodies)).await?;
                self.git(&mut push.git, |git| git.push(&git.url(name, None), &tip, MAIN))?;
                self.hub(&mut pull.hub, repo.pull(&have)).await?;
                self.git(&mut pull.git, |git| git.fetch(&git.url(name, None), "follower", MAIN))?;
            } else {
                self.hub_bytes(&mut push.hub, repo, |repo| async move { repo.push(&bodies).await }).await?;
                self.git_bytes(&mut push.git, name, |git, url| git.push(url, &tip, MAIN)).await?;
                let have = &have;
                self.hub_bytes(&mut pull.hub, repo, |repo| async move { repo.pull(have).await.map(drop) }).await?;
                self.git_bytes(&mut pull.git, name, |git, url| git.fetch(url, "follower", MAIN)).await?;
            }
            ids.push(tip);
        }
        rows.extend([push, pull]);
        self.hub.settle(repo).await?;
        self.clones(rows, repo, name).await?;
        self.refs(rows, repo, name).await?;

        let mut filter = Row::new(String::new(), false);
        // As many are known as there are, up to a half, and the others are not.
        let known = objects.iter().take(FILTERED / 2).cloned();
        let asked: Vec<String> = known.chain((0..).map(|number| format!("{number:064x}"))).take(FILTERED).collect();
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        filter.what = format!("filter-objects of {} ids", grouped(asked.len() as f64, 0));
        for _ in 0..self.options.repeat {
            self.hub(&mut filter.hub, repo.filter(&asked)).await?;
        }
        let asked = &asked;
        self.hub_bytes(&mut filter.hub, repo, |repo| async move { repo.filter(asked).await.map(drop) }).await?;
        rows.push(filter);
        Ok(stored)
    }

    async fn clones(&self, rows: &mut Vec<Row>, repo: &Repo, name: &str) -> Result<(), Failure> {
        for (what, encoding) in [(CLONE, Encoding::Msgpack), (CLONE_JSON, Encoding::Json)] {
            let mut row = Row::new(what, self.git.is_some() && encoding == Encoding::Msgpack);
            let mut copied = Vec::new();
            for _ in 0..self.options.repeat {
                let answer = self.hub(&mut row.hub, repo.clone_all(encoding)).await?;
                row.hub.first_byte.push(answer.first_byte.as_secs_f64() * 1_000.0);
                self.git(&mut row.git, |git| git.clone_from(&git.url(name, None)))?;
                if let Some(git) = &self.git {
                    git.forget(git::CLONE)?;
                }
                copied.push(tokio::task::block_in_place(|| floor::copying(&self.clock, answer.length))?);
            }
            row.floor.push(("copying the answer", median(&copied)));
            self.hub_bytes(&mut row.hub, repo, |repo| async move { repo.clone_all(encoding).await.map(drop) }).await?;
            self.git_bytes(&mut row.git, name, |git, url| git.clone_from(url)).await?;
            if let Some(git) = &self.git {
                git.forget(git::CLONE)?;
            }
            rows.push(row);
        }
        Ok(())
    }

    /// What a person waits for: commands with a folder of files, a branch in it, and a repository to push it to.
    async fn commands(&mut self, line: &mut Line, repo: &Repo, name: &str) -> Result<Vec<Row>, Failure> {
        // It takes no answer of more than 64 MiB.
        let with_muse = self.person.has_muse()
            && match self.person.muse(&["clone", &repo.url(), MUSE_CLONED], "") {
                Ok(()) => self.person.forget(MUSE_CLONED).map(|()| true)?,
                Err(error) => {
                    eprintln!("compare: the stock client is left out: {error}");
                    false
                }
            };
        let named = |client: &str, with_git: bool| {
            ["clone", "push", "fetch"].map(|command| Row::new(format!("{client} {command}"), with_git))
        };
        let [mut clone, mut push, mut fetch] = named("musehub", self.git.is_some());
        let [mut muse_clone, mut muse_push, mut muse_fetch] = named("muse", false);
        for _ in 0..self.options.repeat {
            let url = repo.url();

            self.hub(&mut clone.hub, async { self.person.run("clone", &url, CLONED) }).await?;
            self.git(&mut clone.git, |git| git.check_out(&git.url(name, None), CLONED))?;
            if with_muse {
                self.hub(&mut muse_clone.hub, async { self.person.muse(&["clone", &url, MUSE_CLONED], "") }).await?;
            }

            let (empty, served) = self.repo()?;
            empty.make().await?;
            self.hub(&mut push.hub, async { self.person.run("push", &empty.url(), CLONED) }).await?;
            self.hub.settle(&empty).await?;
            self.git(&mut push.git, |git| git.push_from(CLONED, &git.url(&served, None), MAIN))?;
            if with_muse {
                let (empty, _) = self.repo()?;
                empty.make().await?;
                self.person.muse(&["remote", "add", EMPTY, &empty.url()], MUSE_CLONED)?;
                self.hub(&mut muse_push.hub, async { self.person.muse(&["push", EMPTY, MAIN], MUSE_CLONED) }).await?;
                self.hub.settle(&empty).await?;
            }

            let next = line.grow(1);
            self.import(&next, false)?;
            repo.push(&Push::of(&next)?).await?;
            self.hub(&mut fetch.hub, async { self.person.run("fetch", &url, CLONED) }).await?;
            if let Some(git) = &self.git {
                git.push(&git.url(name, None), &tip(&next)?, MAIN)?;
                self.git(&mut fetch.git, |git| git.fetch_into(CLONED))?;
                git.forget(CLONED)?;
            }
            self.person.forget(CLONED)?;
            if with_muse {
                self.hub(&mut muse_fetch.hub, async { self.person.muse(&["fetch", "origin"], MUSE_CLONED) }).await?;
                self.person.forget(MUSE_CLONED)?;
            }
        }
        let rows = [(clone, muse_clone), (push, muse_push), (fetch, muse_fetch)];
        Ok(rows.into_iter().flat_map(|(ours, muse)| [Some(ours), with_muse.then_some(muse)]).flatten().collect())
    }

    async fn refs(&self, rows: &mut Vec<Row>, repo: &Repo, name: &str) -> Result<(), Failure> {
        let mut row = Row::new(REFS, self.git.is_some());
        for _ in 0..self.options.repeat * SMALL {
            self.hub(&mut row.hub, repo.refs()).await?;
            self.git(&mut row.git, |git| git.refs(&git.url(name, None)))?;
        }
        self.hub_bytes(&mut row.hub, repo, |repo| async move { repo.refs().await.map(drop) }).await?;
        self.git_bytes(&mut row.git, name, |git, url| git.refs(url)).await?;
        rows.push(row);
        Ok(())
    }
}

impl Taken {
    fn note(&mut self, seconds: f64) {
        self.millis.push(seconds * 1_000.0);
    }

    fn note_worked(&mut self, millis: f64) {
        // `note` came before.
        let times = self.millis.len() as f64;
        self.worked = Some(self.worked.unwrap_or_default() * (times - 1.0) / times + millis / times);
    }
}

/// The last commit.
fn tip(stretch: &Stretch) -> Result<String, Failure> {
    Ok(stretch.commits.last().ok_or("a commit")?.commit_id.clone())
}
