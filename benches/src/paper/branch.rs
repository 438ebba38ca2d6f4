//! A thousand agents that push to one branch at once, and to a branch each.

use common::wire::limits::MAX_BRANCHES;
use service::routes::Function;

use super::aws;
use super::limit::{
    Case, Limit, QUOTA, RAISE, S3_SPLITS, THROTTLED, TOO_MANY_AT_A_TIME, TRIED_FOUR_TIMES, TRIED_TEN_TIMES, about,
};
use super::upkeep::{SETTLED, waiting, writes_a_push};
use crate::Failure;
use crate::counted::Counted;
use crate::deployment::{Request, Used, model};
use crate::page::{dollars, grouped};
use crate::template::throttle;

/// How often a push is planned again because another one was faster (`functions/push/src/lib.rs`).
pub const ATTEMPTS: f64 = 50.0;
/// Seconds that a client waits for an answer.
const PATIENCE: f64 = 60.0;
/// Milliseconds from a client to the region and back.
const ROUND_TRIP_MS: f64 = 50.0;
/// A transaction: first all of its items are held, then all are written.
const TRANSACTION_MS: f64 = 2.0 * model::DYNAMODB_MS;
/// Agents that are asked about on the page.
const AGENTS: [f64; 4] = [10.0, 50.0, 100.0, 1_000.0];

const IN_VAIN: &str = "none: it is what bounds the tries that are in vain";

/// How a request reads a repo: single items, and which lists.
#[derive(Debug, Clone, Copy)]
struct Reads {
    items: f64,
    branches: bool,
    packs: bool,
}

impl Reads {
    const fn of(function: Function) -> Self {
        // `META` and `MEMBER#` each; a push and `filter-objects` read `UPLOADS` too.
        let items = if matches!(function, Function::Push | Function::FilterObjects) { 3.0 } else { 2.0 };
        let branches = !matches!(function, Function::PushObjects);
        let packs = !matches!(function, Function::Refs);
        Self { items, branches, packs }
    }
}

/// The lists of a repo.
#[derive(Debug, Clone, Copy)]
pub struct Lists {
    /// Bytes of the item of a branch.
    pub branch: f64,
    /// Bytes of the item of a pack.
    pub pack: f64,
}

impl Lists {
    /// Bytes of items as they are there.
    pub fn of(counted: &Counted) -> Result<Self, Failure> {
        let lists = Self { branch: counted.item("REF")? as f64, pack: counted.item("PACK")? as f64 };
        let (units, read) =
            (lists.units_of(&counted.push, 1.0, counted.listed as f64), Used::by(&counted.push).usage.read_units);
        if (units - read as f64).abs() > 0.5 {
            return Err(format!("a push reads {read} units, and by its lists it would be {units}").into());
        }
        Ok(lists)
    }

    /// The read units of a request about a repo with this number of branches and packs.
    fn units(&self, function: Function, branches: f64, packs: f64) -> f64 {
        let units = |bytes: f64| (bytes / 4_096.0).ceil().max(1.0);
        let reads = Reads::of(function);
        let branches = if reads.branches { units(branches * self.branch) } else { 0.0 };
        let packs = if reads.packs { units(packs * self.pack) } else { 0.0 };
        reads.items + branches + packs
    }

    /// The same of all these requests.
    pub fn units_of(&self, requests: &[Request], branches: f64, packs: f64) -> f64 {
        requests.iter().map(|request| self.units(request.function, branches, packs)).sum()
    }
}

/// Milliseconds of a request in a warm process, by the steps that it takes one after the other (`docs/cost.md`).
fn steps_ms(function: Function) -> f64 {
    match function {
        Function::Push | Function::PushObjects => model::DYNAMODB_MS + model::S3_MS + TRANSACTION_MS,
        Function::Fetch => model::DYNAMODB_MS + 2.0 * model::S3_MS,
        _ => model::DYNAMODB_MS,
    }
}

/// What an agent does, again and again.
struct Cycle {
    requests: Vec<Request>,
    /// Seconds that it takes, its client's own work aside.
    seconds: f64,
    /// Seconds of those in which a function works on it.
    at_work: f64,
    writes: f64,
    puts: f64,
    dollars: f64,
}

impl Cycle {
    fn of(requests: Vec<Request>) -> Self {
        let at_work = requests.iter().map(|request| steps_ms(request.function)).sum::<f64>() / 1_000.0;
        let usage = Used::by(&requests).usage;
        Self {
            seconds: at_work + requests.len() as f64 * ROUND_TRIP_MS / 1_000.0,
            at_work,
            writes: usage.write_units as f64,
            puts: usage.s3_puts as f64,
            dollars: usage.dollars(),
            requests,
        }
    }

    fn count(&self, function: Function) -> f64 {
        self.requests.iter().filter(|request| request.function == function).count() as f64
    }

    /// Heads, new commits, and with those merged a push of its own.
    fn of_one_branch(counted: &Counted) -> Self {
        Self::of([counted.fetch.as_slice(), &counted.push].concat())
    }

    /// A push that no other is in the way of.
    fn of_own_branch(counted: &Counted) -> Self {
        Self::of(counted.push.clone())
    }
}

/// What grows with the agents that push to one branch, each again as soon as it was refused.
pub fn one_branch(counted: &Counted) -> Result<Case, Failure> {
    let mut limits = limits(counted, &Cycle::of_one_branch(counted), |_| 1.0, IN_VAIN)?;
    limits.push(Limit::new(
        format!("{ATTEMPTS} tries of one push: forced pushes, of which one lands in each round"),
        "503 `unavailable`, \"50 other pushes were faster\"",
        "a lease (`expected_head`), which is refused at once; more tries would only cost more",
        |agents| agents / ATTEMPTS,
    ));
    Ok(Case {
        name: "branch",
        title: "One branch, by the agents that push to it in a loop",
        unit: "agents",
        powers: (0, 4),
        load: 1_000.0,
        limits,
    })
}

/// What grows with the agents that push to a branch each, again and again.
pub fn own_branches(counted: &Counted) -> Result<Case, Failure> {
    let mut limits = limits(counted, &Cycle::of_own_branch(counted), |agents| agents, RAISE)?;
    limits.push(Limit::new(
        format!("{} branches of a repository (`MAX_BRANCHES`)", grouped(MAX_BRANCHES as f64, 0)),
        "422 `too_many` for the next new one",
        "delete what was merged",
        |agents| agents / MAX_BRANCHES as f64,
    ));
    Ok(Case {
        name: "branches",
        title: "A branch each in one repository, by the agents that push in a loop",
        unit: "agents",
        powers: (0, 4),
        load: 1_000.0,
        limits,
    })
}

fn limits(
    counted: &Counted,
    cycle: &Cycle,
    branches: fn(f64) -> f64,
    raise: &'static str,
) -> Result<Vec<Limit>, Failure> {
    let (door, fetch_door) =
        (throttle(&counted.template, "/*")?, throttle(&counted.template, "/{owner}/{slug}/fetch")?);
    let lists = Lists::of(counted)?;
    let seconds = cycle.seconds;
    let (refs, fetches, pushes) =
        (cycle.count(Function::Refs), cycle.count(Function::Fetch), cycle.count(Function::Push));
    let (at_work, puts, count) = (cycle.at_work, cycle.puts, cycle.requests.len() as f64);
    let writes = cycle.writes + writes_a_push();
    let requests = cycle.requests.clone();
    let reads = move |agents: f64| {
        let packs = SETTLED + waiting(agents / seconds);
        lists.units_of(&requests, branches(agents), packs)
    };
    let mut limits = vec![
        Limit::new(
            format!("{} requests for heads a second (`template.yaml`)", door.rate),
            THROTTLED,
            raise,
            move |agents| agents / seconds * refs / door.rate,
        ),
        Limit::new(format!("{} pushes a second (`template.yaml`)", door.rate), THROTTLED, raise, move |agents| {
            agents / seconds * pushes / door.rate
        }),
        Limit::new(
            "1,000 write units a second of the repository's partition",
            TRIED_TEN_TIMES,
            "`PACK#` and `LOG#` spread over several partition keys: DynamoDB cannot split keys that only grow at their end",
            move |agents| agents / seconds * writes / aws::PARTITION_WRITE_UNITS,
        ),
        Limit::new(
            "3,000 read units a second of the repository's partition: requests list branches and packs",
            TRIED_FOUR_TIMES,
            "a list of branches in one item, or only those that a push names; merges that begin sooner",
            move |agents| agents / seconds * reads(agents) / aws::PARTITION_READ_UNITS,
        ),
        Limit::new(
            "1,000 requests at a time in all functions of the account",
            TOO_MANY_AT_A_TIME,
            QUOTA,
            move |agents| agents * at_work / seconds / aws::LAMBDA_CONCURRENCY,
        ),
        Limit::new(
            "1,000 processes of a function that start in ten seconds",
            TOO_MANY_AT_A_TIME,
            "none is needed: a thousand may come at once",
            |agents| agents / aws::LAMBDA_STARTS,
        ),
        Limit::new("10,000 requests a second to the APIs of the account", THROTTLED, QUOTA, move |agents| {
            agents / seconds * count / aws::API_REQUESTS
        }),
        Limit::new(
            "3,500 requests a second that write to the repository's prefix in S3",
            TRIED_FOUR_TIMES,
            S3_SPLITS,
            move |agents| agents / seconds * puts / aws::S3_WRITES,
        ),
    ];
    if fetches > 0.0 {
        limits.push(Limit::new(
            format!("{} fetches a second (`template.yaml`)", fetch_door.rate),
            THROTTLED,
            raise,
            move |agents| agents / seconds * fetches / fetch_door.rate,
        ));
    }
    Ok(limits)
}

/// What becomes of agents that want to push one commit each, at the same time.
struct Batch {
    agents: f64,
    /// One branch, each again as soon as it was refused: seconds until the last has landed.
    last_lands: f64,
    /// Pushes that were sent for that.
    tries: f64,
    dollars: f64,
    /// One branch, forced: those that land, where the partition has units left from before, and where it has none.
    forced: [f64; 2],
    /// A branch each: seconds until the last has landed, and what they wait for.
    own: (f64, &'static str),
    own_dollars: f64,
}

impl Batch {
    fn of(counted: &Counted, agents: f64) -> Result<Self, Failure> {
        let (one, own) = (Cycle::of_one_branch(counted), Cycle::of_own_branch(counted));
        let (door, fetch_door) =
            (throttle(&counted.template, "/*")?, throttle(&counted.template, "/{owner}/{slug}/fetch")?);
        // In the time of one landing as many try as are left, and as the door lets fetch.
        let at_a_time = (fetch_door.rate * one.seconds).max(1.0);
        let tries: f64 = (1..=agents as u64).map(|left| (left as f64).min(at_a_time)).sum();
        // Within one push: reads, a transaction, and the look whether it was its own.
        let round = (2.0 * model::DYNAMODB_MS + TRANSACTION_MS) / 1_000.0;
        let push_writes = counted.push.last().ok_or("a push")?.line.write_units as f64;
        let landed = |round: f64| agents.min(ATTEMPTS).min((PATIENCE / round).floor());
        let throttled = round.max(agents * push_writes / aws::PARTITION_WRITE_UNITS);
        let lists = Lists::of(counted)?;
        let packs = SETTLED + waiting(door.rate);
        let waits = [
            (own.seconds, "its own round trips"),
            ((agents - door.burst).max(0.0) / door.rate, "the door"),
            (agents * (own.writes + writes_a_push()) / aws::PARTITION_WRITE_UNITS, "write units"),
            (
                agents * lists.units_of(&own.requests, agents, packs.min(SETTLED + agents)) / aws::PARTITION_READ_UNITS,
                "read units",
            ),
        ];
        let longest = waits.into_iter().max_by(|(one, _), (other, _)| one.total_cmp(other)).ok_or("a wait")?;
        Ok(Self {
            agents,
            last_lands: agents * one.seconds,
            tries,
            dollars: tries * one.dollars,
            forced: [landed(round), landed(throttled)],
            own: longest,
            own_dollars: agents * own.dollars,
        })
    }
}

/// What becomes of a batch of agents, for some numbers of them.
pub fn batches(counted: &Counted) -> Result<String, Failure> {
    let mut text = "| agents | one branch: seconds until the last has landed | pushes sent for that | dollars | one branch, forced: landed; \
                    refused with 503 | the same, without units from before | a branch each: seconds until the last has landed | dollars |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for agents in AGENTS {
        let batch = Batch::of(counted, agents)?;
        let forced = batch.forced.map(|landed| format!("{landed}; {}", agents - landed));
        let [forced, throttled] = forced;
        let (seconds, waits_for) = batch.own;
        text.push_str(&format!(
            "| {} | {} | {} | {} | {forced} | {throttled} | {}, for {waits_for} | {} |\n",
            about(batch.agents),
            about(batch.last_lands),
            about(batch.tries),
            dollars(batch.dollars),
            about(seconds),
            dollars(batch.own_dollars),
        ));
    }
    Ok(text)
}

/// What the case is counted with.
pub fn words(counted: &Counted) -> Result<String, Failure> {
    let (one, own) = (Cycle::of_one_branch(counted), Cycle::of_own_branch(counted));
    let lists @ Lists { branch, pack } = Lists::of(counted)?;
    Ok(format!(
        "A client is taken to be {ROUND_TRIP_MS} ms from the region and to need no time itself, a transaction {TRANSACTION_MS} ms. Heads, \
         fetch and push take {:.2} s then, and a push alone {:.2} s. A push writes {} units, and its packs' items {} more when they are \
         merged; a try that is refused is taken to cost as many. The item of a branch has {branch} bytes and that of a pack {pack}: by \
         these lists a push reads the {} units that were counted. A partition keeps up to {} write units from before.",
        one.seconds,
        own.seconds,
        own.writes,
        writes_a_push(),
        lists.units_of(&own.requests, 1.0, counted.listed as f64),
        about(aws::PARTITION_WRITE_UNITS * aws::PARTITION_BURST_SECONDS),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_takes_units_by_its_bytes() {
        let lists = Lists { branch: 200.0, pack: 400.0 };
        assert!((lists.units(Function::Refs, 1.0, 1e6) - 3.0).abs() < 1e-12, "META, MEMBER#, and one page of branches");
        assert!((lists.units(Function::Push, 1_000.0, 100.0) - (3.0 + 49.0 + 10.0)).abs() < 1e-12);
        assert!((lists.units(Function::PushObjects, 1e6, 1.0) - 3.0).abs() < 1e-12);
    }

    /// The numbers of other crates that are theirs alone.
    #[test]
    fn what_is_copied_from_private_code_is_what_it_says() {
        let said = [
            (include_str!("../../../functions/push/src/lib.rs"), format!("const ATTEMPTS: usize = {ATTEMPTS};")),
            (include_str!("../../../store/src/upkeep/index/mod.rs"), "(Duration::from_secs(60), 4 << 20)".to_owned()),
            (
                include_str!("../../../store/src/upkeep/index/merge.rs"),
                "const MOST_ENTRIES: u64 = (1 << 31) - 1;".to_owned(),
            ),
            (
                include_str!("../../../store/src/upkeep/compact/merge.rs"),
                "const PARALLEL_READS: usize = 16;".to_owned(),
            ),
            (include_str!("../../../store/src/table/transaction.rs"), "const TRANSACT_ATTEMPTS: u32 = 10;".to_owned()),
            (include_str!("../../../store/src/table/transaction.rs"), "Duration::from_secs(20)".to_owned()),
            (include_str!("../../../store/src/lib.rs"), "const CALL_ATTEMPTS: u32 = 4;".to_owned()),
            (
                include_str!("../../../template.yaml"),
                "BatchSize: 100\n            MaximumBatchingWindowInSeconds: 60".to_owned(),
            ),
        ];
        for (code, text) in said {
            assert!(code.contains(&text), "no {text}");
        }
    }
}
