//! A hub in a process of its own, as `musehub serve` runs it: the one whose memory and time are looked at while it is asked, and
//! whose stores serve the processes that start cold.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials;
use common::id::RepoId;
use local::serve::{
    BODY_MEMORY, FIRST_USER, Ids, MERGE_WINDOW, Options, Quotas, RequestLog, Running, Storage, WRITE_TIMEOUT, start,
};
use serde::{Deserialize, Serialize};
use service::AnonymousReads;
use store::upkeep::compact::Limits;

use crate::{Failure, process};

/// What the program is called with to be the hub.
pub const SERVE: &str = "--serve";
/// How long a token is good.
pub const TOKEN_LASTS: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The first line that goes to the process that started it.
#[derive(Serialize, Deserialize)]
pub struct Greeting {
    /// Where the hub is.
    pub url: String,
    /// A token of its first user.
    pub token: String,
    /// What leads a process to its stores.
    pub environment: BTreeMap<String, String>,
}

/// What came of the upkeep that was left.
#[derive(Serialize, Deserialize)]
pub struct Settled {
    /// Packs afterwards.
    pub packs: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Runs the hub until its input ends. Each line that comes in is the id of a repo to compact.
pub async fn run(folder: &Path) -> Result<(), Failure> {
    let options = Options {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        storage: Storage::Directory(folder.to_owned()),
        lambda_limits: false,
        ids: Ids::Strict,
        public_url: None,
        quotas: Quotas::default(),
        hosts: Vec::new(),
        body_memory: BODY_MEMORY,
        write_timeout: WRITE_TIMEOUT,
        merge_window: MERGE_WINDOW,
        anonymous_reads: AnonymousReads::Full,
        most_streamed: None,
        secret: None,
        log: RequestLog::default(),
        webhooks: None,
        issuer: None,
    };
    let running = start(options).await?;
    say(&greeting(&running).await?)?;
    for line in std::io::stdin().lines() {
        let repo: RepoId = line?.parse()?;
        say(&settle(&running, &repo).await?)?;
    }
    running.stop().await;
    Ok(())
}

fn say(words: &impl Serialize) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, words)?;
    Ok(writeln!(out)?)
}

async fn greeting(running: &Running) -> Result<Greeting, Failure> {
    let backends = running.backends();
    let keys = backends.s3.credentials_provider().ok_or("credentials")?.provide_credentials().await?;
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let environment = [
        ("AWS_ENDPOINT_URL_DYNAMODB", text(backends.dynamodb.endpoint_url())),
        ("AWS_ENDPOINT_URL_S3", text(backends.s3.endpoint_url())),
        ("AWS_REGION", text(backends.s3.region().map(AsRef::as_ref))),
        ("AWS_ACCESS_KEY_ID", keys.access_key_id().to_owned()),
        ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key().to_owned()),
        ("MUSEHUB_TABLE", backends.location.table.clone()),
        ("MUSEHUB_BUCKET", backends.location.bucket.clone()),
        ("ACCESS_TOKEN_SECRET", running.secret().to_owned()),
    ];
    Ok(Greeting {
        url: running.url().to_owned(),
        token: running.tokens().mint(FIRST_USER, TOKEN_LASTS)?,
        environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
    })
}

/// Compacts until nothing is left to do, beside the upkeep that goes on by itself.
async fn settle(running: &Running, repo: &RepoId) -> Result<Settled, Failure> {
    loop {
        let done = running.hub().store.compact(repo, Limits::ALL).await?;
        if done.is_done && done.packs_merged == 0 {
            return Ok(Settled { packs: done.packs_after, bytes: done.bytes_after });
        }
    }
}

/// Such a process, from outside. It ends with this.
pub struct Served {
    /// What it said first.
    pub greeting: Greeting,
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Served {
    /// Starts it on a data folder.
    pub fn start(folder: &Path) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(SERVE)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().ok_or("its output")?);
        let greeting = hear(&mut answers)?;
        Ok(Self { greeting, child, commands, answers })
    }

    /// Does the upkeep that is left of a repo.
    pub fn settle(&mut self, repo: &str) -> Result<Settled, Failure> {
        writeln!(self.commands.as_mut().ok_or("its input")?, "{repo}")?;
        hear(&mut self.answers)
    }

    /// The id of the process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it ever had, bytes.
    pub fn peak(&self) -> Result<u64, Failure> {
        process::peak(&self.process().to_string())
    }
}

fn hear<T: for<'de> Deserialize<'de>>(answers: &mut impl BufRead) -> Result<T, Failure> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

impl Drop for Served {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.commands.take());
        if let Err(error) = self.child.wait() {
            eprintln!("the hub did not end: {error}");
        }
    }
}
