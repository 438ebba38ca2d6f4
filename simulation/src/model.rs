//! What the clients of a run made, asked and heard: what every answer is held against.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tests::history::{Builder, History, Object};

use crate::register::{self, Action, Operation, Outcome};

/// By how much a promise ends earlier than the retention says: requests take time, and clocks differ.
const MARGIN: Duration = Duration::from_secs(15 * 60);

/// What a register of a branch is called.
pub const BRANCH: &str = "branch ";
/// Of a tag.
pub const TAG: &str = "tag ";
/// Of a release.
pub const RELEASE: &str = "release ";
/// The kinds of registers that hold commits. What others hold reaches nothing.
const KINDS: [&str; 3] = [BRANCH, TAG, RELEASE];

/// What is known of a run. Times are those of the run's clock.
pub struct Model {
    builder: Builder,
    retention: Duration,
    ticks: u64,
    registers: BTreeMap<String, Register>,
    /// When garbage was looked for.
    collections: Vec<(Duration, Duration)>,
    /// Objects that were acknowledged: when for the first time, and as of which tick.
    objects: BTreeMap<String, (Duration, u64)>,
    /// Objects whose purge was asked for, and the tick as of which that was acknowledged, if it was.
    purged: BTreeMap<String, Option<u64>>,
}

#[derive(Default)]
struct Register {
    operations: Vec<Operation>,
    /// When each was asked, and when it was answered.
    times: Vec<(Duration, Duration)>,
}

/// Where an operation is noted whose answer is awaited.
#[derive(Clone, Debug)]
pub struct Asked {
    register: String,
    number: usize,
}

impl Model {
    /// Nothing has happened yet.
    pub fn new(seed: u64, retention: Duration) -> Model {
        Model {
            builder: Builder::new(seed),
            retention,
            ticks: 0,
            registers: BTreeMap::new(),
            collections: Vec::new(),
            objects: BTreeMap::new(),
            purged: BTreeMap::new(),
        }
    }

    /// Notes that the purge of an object is asked for: it may be gone from now on.
    pub fn purge(&mut self, object: &str) {
        self.purged.entry(object.to_owned()).or_default();
    }

    /// Notes that it is purged: it has to be gone for all that is asked from now on.
    pub fn purge_is_done(&mut self, object: &str) {
        let tick = self.tick();
        self.purged.entry(object.to_owned()).or_default().get_or_insert(tick);
    }

    /// The objects that may be purged.
    pub fn may_be_purged(&self) -> BTreeSet<String> {
        self.purged.keys().cloned().collect()
    }

    /// The objects that have to be purged for what was asked at this tick.
    pub fn purged_for(&self, asked: u64) -> BTreeSet<String> {
        let is_done = |(_, tick): &(&String, &Option<u64>)| tick.is_some_and(|tick| tick < asked);
        self.purged.iter().filter(is_done).map(|(object, _)| object.clone()).collect()
    }

    /// An object that only one commit was made with, and that no client writes again.
    pub fn to_purge(&self, random: &mut StdRng) -> Option<String> {
        let history = self.history();
        let common: BTreeSet<String> = (0..30).map(|number| Self::common_object(number).id).collect();
        let all: Vec<&String> = history.objects.keys().filter(|id| !common.contains(*id)).collect();
        (!all.is_empty()).then(|| all[random.random_range(0..all.len())].clone())
    }

    /// The next moment.
    pub fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    /// All commits that any client made.
    pub fn history(&self) -> &History {
        self.builder.history()
    }

    /// A file that several clients write.
    pub fn common(random: &mut StdRng) -> Object {
        Self::common_object(random.random_range(0..30))
    }

    fn common_object(number: u32) -> Object {
        Object::new(format!("what several have, number {number}").into_bytes())
    }

    /// Makes a commit that changes a few files of its first parent. Some of what it writes others write too.
    pub fn commit(&mut self, parents: &[&str], random: &mut StdRng) -> String {
        let mut tree = match parents {
            [] => self.builder.files(3),
            [first, ..] => self.builder.tree(first),
        };
        for _ in 0..random.random_range(1..=3) {
            let path = format!("f{}", random.random_range(0..10));
            let content = match random.random_range(0..10) {
                0..4 => Model::common(random).content,
                4 => self.builder.bytes(20_000),
                _ => self.builder.bytes(40),
            };
            tree.insert(path, content);
        }
        self.builder.commit(parents, &tree)
    }

    /// Notes that something is asked of a register.
    pub fn ask(&mut self, register: &str, action: Action, now: Duration) -> Asked {
        let asked = self.tick();
        let operation = Operation { action, outcome: Outcome::Unknown, asked, answered: u64::MAX };
        let noted = self.registers.entry(register.to_owned()).or_default();
        noted.operations.push(operation);
        noted.times.push((now, Duration::MAX));
        Asked { register: register.to_owned(), number: noted.operations.len() - 1 }
    }

    /// Notes what came of it.
    pub fn hear(&mut self, asked: &Asked, outcome: Outcome, now: Duration) {
        let answered = self.tick();
        let Some(noted) = self.registers.get_mut(&asked.register) else { return };
        if let (Some(operation), Some(time)) =
            (noted.operations.get_mut(asked.number), noted.times.get_mut(asked.number))
        {
            (operation.outcome, operation.answered, time.1) = (outcome, answered, now);
        }
    }

    /// Notes that garbage is looked for from now on. Returns the number to end that with.
    pub fn collects(&mut self, now: Duration) -> usize {
        self.collections.push((now, Duration::MAX));
        self.collections.len() - 1
    }

    /// Notes that garbage is no longer looked for. What was on its way when a process died may take effect a little later.
    pub fn collected(&mut self, number: usize, now: Duration) {
        if let Some((_, ended)) = self.collections.get_mut(number) {
            *ended = now + Duration::from_secs(15);
        }
    }

    /// Notes what was read of all registers of a kind, in an answer to a question that was asked at this tick. Those that the answer
    /// does not name are empty.
    pub fn read(&mut self, kind: &str, held: &BTreeMap<String, String>, asked: u64, now: Duration, except: &str) {
        let answered = self.tick();
        let known = self.registers.range(kind.to_owned()..).take_while(|(name, _)| name.starts_with(kind));
        let known = known.filter_map(|(name, _)| name.strip_prefix(kind)).map(str::to_owned);
        let names: BTreeSet<String> = known.chain(held.keys().cloned()).collect();
        for name in names.into_iter().filter(|name| name != except) {
            let action = Action::Read(held.get(&name).cloned());
            let noted = self.registers.entry(format!("{kind}{name}")).or_default();
            noted.operations.push(Operation { action, outcome: Outcome::Done, asked, answered });
            noted.times.push((now, now));
        }
    }

    /// Notes what was read of one register.
    pub fn look(&mut self, register: &str, action: Action, asked: u64, now: Duration) {
        let answered = self.tick();
        let noted = self.registers.entry(register.to_owned()).or_default();
        noted.operations.push(Operation { action, outcome: Outcome::Done, asked, answered });
        noted.times.push((now, now));
    }

    /// A commit that a register was certainly moved to, if it ever was.
    pub fn was_at(&self, register: &str, random: &mut StdRng) -> Option<String> {
        let operations = &self.registers.get(register)?.operations;
        let moved: Vec<&String> = operations
            .iter()
            .filter(|operation| operation.outcome == Outcome::Done)
            .filter_map(|operation| match &operation.action {
                Action::Move { to, .. } | Action::Restore(to) => Some(to),
                _ => None,
            })
            .collect();
        moved.choose(random).map(|commit| (*commit).clone())
    }

    /// Notes that objects were acknowledged which were not there before.
    pub fn acknowledge<'o>(&mut self, objects: impl IntoIterator<Item = &'o String>, now: Duration) {
        let tick = self.tick();
        for object in objects {
            self.objects.entry(object.clone()).or_insert((now, tick));
        }
    }

    /// Notes that objects are gone, which they may be.
    pub fn forget(&mut self, object: &str) {
        self.objects.remove(object);
    }

    /// Some of the objects that were acknowledged.
    pub fn acknowledged(&self, count: usize, random: &mut StdRng) -> Vec<String> {
        let all: Vec<&String> = self.objects.keys().collect();
        (0..count.min(all.len())).map(|_| all[random.random_range(0..all.len())].clone()).collect()
    }

    /// Whether an object has to be there for a client that asked at this tick, as of now.
    pub fn is_promised(&self, object: &str, asked: u64, now: Duration) -> bool {
        let lasts = |since: Duration| now + MARGIN < since + self.retention;
        let is_young = self.objects.get(object).is_some_and(|(since, tick)| *tick < asked && lasts(*since));
        // What is condemned while a push relies on it is found out later. Until then it counts as missing, which does no harm.
        let is_kept = |operation: &Operation, (began, ended): (Duration, Duration)| {
            let overlaps = |(from, to): &(Duration, Duration)| *from <= ended && *to >= began;
            // A restoring that finds the branch where it wants it has looked at nothing.
            let wrote = !matches!(operation.action, Action::Read(_) | Action::Look(..) | Action::Restore(_));
            wrote && !self.collections.iter().any(overlaps)
        };
        is_young || self.history().objects_of(&self.kept_by(asked, now, is_kept)).contains(object)
    }

    /// The commits that have to be there for a client that asked at this tick, as of now: what branches, tags and releases
    /// reach that no client may have moved away from, or not for long.
    pub fn kept(&self, asked: u64, now: Duration) -> BTreeSet<String> {
        self.kept_by(asked, now, |_, _| true)
    }

    fn kept_by(
        &self,
        asked: u64,
        now: Duration,
        counts: impl Fn(&Operation, (Duration, Duration)) -> bool,
    ) -> BTreeSet<String> {
        let mut tips = Vec::new();
        let of_commits = self.registers.iter().filter(|(name, _)| KINDS.iter().any(|kind| name.starts_with(kind)));
        for (_, register) in of_commits {
            for (operation, times) in register.operations.iter().zip(&register.times) {
                let held = match (&operation.action, operation.outcome) {
                    (
                        Action::Move { to, .. } | Action::Set(to) | Action::Claim(to) | Action::Restore(to),
                        Outcome::Done,
                    ) => to,
                    (Action::Read(Some(to)) | Action::Look(to, _), _) => to,
                    _ => continue,
                };
                if operation.answered >= asked || !counts(operation, *times) {
                    continue;
                }
                let may_leave = |other: &Operation| match &other.action {
                    Action::Move { force, .. } => *force,
                    Action::Set(_) | Action::Clear | Action::Delete | Action::Restore(_) => true,
                    Action::Claim(_) | Action::Read(_) | Action::Protect(_) | Action::Look(..) => false,
                };
                let left = register.operations.iter().zip(&register.times).filter(|(other, _)| {
                    !matches!(other.outcome, Outcome::Refused | Outcome::Void)
                        && other.answered > operation.asked
                        && may_leave(other)
                });
                if left.map(|(_, (at, _))| *at).min().is_none_or(|left| now + MARGIN < left + self.retention) {
                    tips.push(held);
                }
            }
        }
        self.history().reachable(&tips)
    }

    /// What was last set in a register that no client asked anything of at the same time; to choose from.
    pub fn names(&self, kind: &str) -> Vec<String> {
        let known = self.registers.range(kind.to_owned()..).take_while(|(name, _)| name.starts_with(kind));
        known.filter_map(|(name, _)| name.strip_prefix(kind)).map(str::to_owned).collect()
    }

    /// Holds every register's history against an order in which it can have happened.
    ///
    /// # Errors
    /// The first for which there is none.
    pub fn check_registers(&self) -> Result<(), String> {
        let is_ancestor = |ancestor: &str, descendant: &str| self.history().is_ancestor(ancestor, descendant);
        for (name, Register { operations, .. }) in &self.registers {
            register::check(operations, &is_ancestor)
                .map_err(|stuck| format!("{name} has no order in which all of it can have happened: {stuck}"))?;
        }
        Ok(())
    }
}
