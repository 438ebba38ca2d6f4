//! The `musehub` command.

mod access;
mod asking;
mod branch;
mod fsck;
mod in_folder;
mod login;
mod moving;
mod purging;
mod quota;
mod repo;
mod secret;
mod stats;

use std::error::Error;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use client::{ClientError, HubUrl};
use common::wire::error::with_causes;
use events::Publishers;
use indicatif::HumanBytes;
use local::data::{DataFolder, SECRET_VARIABLE, given_secret};
use local::process;
use local::proxy;
use local::replay::{DeadLetters, Summary};
use local::serve::{
    self, AnonymousReads, BODY_MEMORY, FIRST_HANDLE, FIRST_USER, Ids, LAMBDA_STREAM, MERGE_WINDOW, Options, Quotas,
    Reach, RequestLog, Storage, WRITE_TIMEOUT, Webhooks,
};
use local::stores::{self, DEFAULT_DATA, Which};
use local::transfer::TransferError;
use service::Target;
use service::auth::Tokens;
use service::auth::oidc::{BadIssuer, IssuerParts, IssuerSettings};
use service::log_filter;
use store::ambient::Ambient;
use store::table::items::Visibility;
use store::upkeep::compact::{Compaction, Limits};
use store::upkeep::garbage::{self, Collection, Deferred};
use store::{Location, Store};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How long the token that `serve` prints is good.
const FIRST_TOKEN_DAYS: u64 = 30;

/// A hub for Muse repositories.
#[derive(Parser)]
#[command(name = "musehub", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Run a hub on this machine, with everything embedded (the default)
    Serve(Serve),
    /// Run just the embedded DynamoDB and S3, for functions that run by themselves
    ///
    /// Prints the environment that leads the functions there, one NAME=value a line, as `cargo lambda watch --env-file`
    /// takes it, to the file that --env names or else to the terminal; then it runs until Ctrl-C.
    Backends(Stores),
    /// Check whether a repository is whole, and repair it
    ///
    /// Exit codes: 0 it is whole, 1 something is damaged, 2 it could not be checked, 3 it was damaged and is repaired.
    Fsck(fsck::Fsck),
    /// Tell what a repository is made of, and what a clone of it costs
    Stats(stats::Arguments),
    /// Print an access token for a user of this hub; or list, mint and revoke one's own at any hub
    ///
    /// Without a command it is for operators, who have the secret that tokens are signed with.
    #[command(args_conflicts_with_subcommands = true)]
    Token(Token),
    /// Keep a token for a hub where `muse` and the commands here look for it: in ~/.muse/identity.toml
    Login(login::Login),
    /// Say who may read a repository, push to it, and change it
    #[command(subcommand)]
    Member(access::Member),
    /// Say how much a repository or a user may hold, of the stores at hand
    #[command(subcommand)]
    Quota(quota::Quota),
    /// Make links by which a private repository can be cloned
    #[command(subcommand)]
    Link(access::Link),
    /// Print what completes this command in a shell, for example: source <(musehub completions bash)
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Draw another token secret, or drop the one before
    #[command(subcommand)]
    Secret(secret::Secret),
    /// Merge the packs of a repository, so that a clone reads few
    ///
    /// A hub does this by itself after pushes; this does all that there is to do. Without --data it works on the stores of
    /// a deployment, which MUSEHUB_TABLE and MUSEHUB_BUCKET name, and which may be in use meanwhile.
    Compact(Compact),
    /// Collect the garbage of a repository: what no branch, tag, release or recent push reaches
    ///
    /// What is garbage is condemned first, and nothing relies on it any more. A day later the next run deletes what
    /// nothing has needed since. A hub does both by itself; without --data this works on the stores of a deployment, which
    /// MUSEHUB_TABLE and MUSEHUB_BUCKET name, and which may be in use meanwhile.
    Gc(Gc),
    /// Do what the functions that the table's stream wakes could not do, of a hub on AWS
    ///
    /// Lambda keeps changes that it has given up as dead letters in a bucket. Each is handed to the function that failed, here
    /// in this process, oldest first; one that goes well is deleted, one that does not is kept. MUSEHUB_TABLE and
    /// MUSEHUB_BUCKET name the stores, and MUSEHUB_EVENT_BUS and MUSEHUB_WEBHOOK_QUEUE where events go.
    ///
    /// Exit codes: 0 nothing is left, 1 something is, or the run failed.
    Replay(Replay),
    /// Stand between a client and a hub on Lambda, which takes no more than 6 MB a request
    ///
    /// Small requests go to the hub as they are. Large ones go through its storage; until then they are kept in the
    /// system's temporary folder, or in the one that the variable TMPDIR names.
    Proxy(Proxy),
    /// List the branches of a repository, protect, delete and restore them
    #[command(subcommand)]
    Branch(branch::Branch),
    /// Tell who moved which branch of a repository, when, and from where: the push log, the newest line first
    Log(branch::Log),
    /// List repositories, make, fork, change, rename, delete and undelete them
    #[command(subcommand)]
    Repo(repo::Repo),
    /// Keep an object that has leaked from everybody, and erase its bytes; it cannot be taken back
    ///
    /// From then on no client is served it, clones leave the file out, and a push that brings it is refused. Of the stores at hand
    /// the bytes are erased before the command ends; a hub at a URL does it by itself. The history names it still, and nothing else of it.
    Purge(purging::Purge),
    #[command(flatten)]
    InFolder(in_folder::InFolder),
    #[command(flatten)]
    Moving(moving::Moving),
}

#[derive(Args)]
struct Serve {
    /// Where to listen
    ///
    /// An address and a port, a name and a port, as localhost:8787, a port of every address, as :8787, or of this machine alone,
    /// as 8787.
    #[arg(long, default_value = "127.0.0.1:8787", value_name = "ADDRESS", value_parser = listen)]
    listen: SocketAddr,
    /// The folder that keeps everything, and the token secret
    #[arg(long, default_value = DEFAULT_DATA, value_name = "FOLDER")]
    data: PathBuf,
    /// Keep everything in memory, and forget it at the end
    #[arg(long, conflicts_with = "data")]
    memory: bool,
    /// Where the stores are: in this process, or where the environment says
    ///
    /// With env they are a DynamoDB and an S3 that run by themselves: on AWS, LocalStack, DynamoDB Local, anything that speaks as
    /// they do. MUSEHUB_TABLE and MUSEHUB_BUCKET name the table and the bucket; AWS_ENDPOINT_URL, or AWS_ENDPOINT_URL_DYNAMODB and
    /// AWS_ENDPOINT_URL_S3, say where they are if not on AWS; region and credentials are found as the AWS CLI finds them. The
    /// token secret is that in the table, unless ACCESS_TOKEN_SECRET holds it.
    #[arg(
        long,
        default_value = "embedded",
        value_name = "embedded|env",
        value_parser = stores_of,
        conflicts_with_all = ["data", "memory"]
    )]
    stores: StoresOf,
    /// With --stores env: make the table and the bucket if they are not there, and the user that a hub begins with
    #[arg(long, requires = "stores")]
    make_stores: bool,
    /// Take and give no more than Lambda does: 6 MB a request
    #[arg(long)]
    lambda_limits: bool,
    /// What commit, snapshot and object ids are: hashes, which are recomputed, or whatever clients say
    #[arg(long, env = "MUSEHUB_IDS", default_value = "strict", value_name = "strict|lenient", value_parser = ids)]
    ids: Ids,
    /// What a push to one's own handle and a new name makes
    ///
    /// A mistyped name makes one too; the answer to the push says so.
    #[arg(
        long,
        env = "MUSEHUB_PUSH_TO_CREATE",
        default_value = "public",
        value_name = "public|private|nothing",
        value_parser = push_creates
    )]
    push_creates: PushCreates,
    /// The URL that clients reach the hub by, for example behind a TLS proxy
    #[arg(long, env = "MUSEHUB_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// A host that clients reach the hub at, without a port; may be given more than once
    ///
    /// The URLs that the hub hands out begin with the host that a request names, if that is this machine (localhost,
    /// 127.0.0.1), the address that it came to, or one of these. Not needed beside --public-url.
    #[arg(long = "host", env = "MUSEHUB_HOSTS", value_name = "HOST", value_delimiter = ',')]
    hosts: Vec<String>,
    /// What clients without a token may read of public repositories: everything, what has at most 16 MiB, or nothing
    #[arg(
        long,
        env = "MUSEHUB_ANONYMOUS_READS",
        default_value = "full",
        value_name = "full|small|off",
        value_parser = anonymous_reads
    )]
    anonymous_reads: AnonymousReads,
    #[command(flatten)]
    oidc: Oidc,
    /// Bytes that one repository may hold in the storage; 0 for no bound
    #[arg(
        long,
        env = "MUSEHUB_QUOTA_REPO_BYTES",
        default_value_t = 0,
        value_name = "BYTES",
        hide_default_value = true
    )]
    quota_repo_bytes: u64,
    /// Bytes that all repositories of one user may hold together; 0 for no bound
    #[arg(
        long,
        env = "MUSEHUB_QUOTA_USER_BYTES",
        default_value_t = 0,
        value_name = "BYTES",
        hide_default_value = true
    )]
    quota_user_bytes: u64,
    /// Repositories that one user may have; 0 for no bound
    #[arg(
        long,
        env = "MUSEHUB_QUOTA_USER_REPOS",
        default_value_t = 0,
        value_name = "COUNT",
        hide_default_value = true
    )]
    quota_user_repos: u64,
    /// Mebibytes that the bodies of requests may have in memory together
    ///
    /// One user has five sixteenths of it at most, and that is also the longest body, up to 256 MiB. Bodies of clients without
    /// a token have a quarter of it besides.
    #[arg(long, env = "MUSEHUB_BODY_MEMORY", default_value_t = BODY_MEMORY, value_name = "MIB")]
    body_memory: usize,
    /// Let webhooks lead to private addresses, this machine's own among them, and by http
    ///
    /// Without it they lead to hosts of the public internet only, by https. The owner of a repository names their URLs, and
    /// the hub calls them from where it is.
    #[arg(long)]
    private_webhooks: bool,
    /// Print a line of JSON for each request, on standard error
    #[arg(long)]
    log_requests: bool,
}

/// Who signs the tokens of users, if it is not the hub.
#[derive(Args)]
struct Oidc {
    /// The OIDC issuer whose tokens the hub takes of its users, for example https://auth.example.com/realms/music
    ///
    /// A user is known as ISSUER#CLAIM. Of its own tokens the hub then takes those alone that its users mint.
    #[arg(long, env = "MUSEHUB_OIDC_ISSUER", value_name = "URL")]
    oidc_issuer: Option<String>,
    /// What the claim `aud` of its tokens has to name
    #[arg(long, env = "MUSEHUB_OIDC_AUDIENCE", value_name = "AUDIENCE")]
    oidc_audience: Option<String>,
    /// The claim that a user is known by, `sub` unless it is said; no user may be able to choose what it holds
    #[arg(long, env = "MUSEHUB_OIDC_USER_CLAIM", value_name = "CLAIM")]
    oidc_user_claim: Option<String>,
    /// What a token has to say to be taken: a claim that is this text, or a list with it
    #[arg(long, env = "MUSEHUB_OIDC_REQUIRED_CLAIM", value_name = "CLAIM=TEXT")]
    oidc_required_claim: Option<String>,
    /// What a token has to say for its bearer to look into the hub: GET /health?deep=1
    #[arg(long, env = "MUSEHUB_OIDC_ADMIN_CLAIM", value_name = "CLAIM=TEXT")]
    oidc_admin_claim: Option<String>,
}

impl Oidc {
    fn settings(self) -> Result<Option<IssuerSettings>, BadIssuer> {
        IssuerSettings::of_parts(IssuerParts {
            issuer: self.oidc_issuer,
            audience: self.oidc_audience,
            user_claim: self.oidc_user_claim,
            required: self.oidc_required_claim,
            admin: self.oidc_admin_claim,
        })
    }
}

#[derive(Args)]
struct Stores {
    /// The folder that keeps everything, and the token secret
    #[arg(long, default_value = DEFAULT_DATA, value_name = "FOLDER")]
    data: PathBuf,
    /// The file to write the environment to; only its owner may read it
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
}

#[derive(Args)]
struct Gc {
    /// The repository, for example dev/song
    #[arg(value_name = "OWNER/SLUG")]
    repo: Target,
    /// How many days what no branch, tag or release reaches is kept
    #[arg(long, default_value_t = 90, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3_650))]
    retention_days: u16,
    /// The data folder of a hub on this machine that is not running
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Compact {
    /// The repository, for example dev/song
    #[arg(value_name = "OWNER/SLUG")]
    repo: Target,
    /// The data folder of a hub on this machine that is not running
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Replay {
    /// The bucket of the dead letters, an output of the stack
    #[arg(long, env = "MUSEHUB_DEAD_LETTERS", value_name = "BUCKET")]
    dead_letters: String,
    /// Only say what there is
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
struct Proxy {
    /// The URL of the hub, for example https://hub.example.com
    #[arg(long, value_name = "URL")]
    to: HubUrl,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8788", value_name = "ADDRESS", value_parser = listen)]
    listen: SocketAddr,
}

#[derive(Args)]
struct Token {
    #[command(subcommand)]
    command: Option<access::Token>,
    /// The id of the user, for example user-dev
    #[arg(long, value_name = "USER", required = true)]
    user: Option<String>,
    /// How long the token is good, for example 12h or 30d
    #[arg(long, default_value = "30d", value_name = "TIME", value_parser = duration)]
    ttl: Duration,
    /// The data folder with the secret, unless ACCESS_TOKEN_SECRET holds it
    #[arg(long, default_value = DEFAULT_DATA, value_name = "FOLDER")]
    data: PathBuf,
    /// The DynamoDB table of a hub on AWS, which holds its secret; reached as the AWS CLI would reach it
    #[arg(long, conflicts_with = "data", value_name = "TABLE")]
    table: Option<String>,
    /// Let the bearer look into the hub: GET /health?deep=1. It opens no repo
    #[arg(long)]
    admin: bool,
}

/// Where to listen, in the ways that people write it.
fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()) {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    let wrong = "it is an address and a port, such as 127.0.0.1:8787, localhost:8787, :8787 or 8787";
    let found: Vec<SocketAddr> = text.to_socket_addrs().map_err(|error| format!("{wrong}: {error}"))?.collect();
    // Of a name with both, the one that most clients ask for first on this machine.
    let found = found.iter().find(|address| address.is_ipv4()).or(found.first());
    found.copied().ok_or_else(|| wrong.to_owned())
}

/// Where the stores of a hub are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoresOf {
    Embedded,
    Environment,
}

fn stores_of(text: &str) -> Result<StoresOf, String> {
    match text {
        "embedded" => Ok(StoresOf::Embedded),
        "env" => Ok(StoresOf::Environment),
        _ => Err("it is embedded or env".to_owned()),
    }
}

/// Who may know of the repo that a push makes; none, if no push makes one.
#[derive(Debug, Clone, Copy)]
struct PushCreates(Option<Visibility>);

fn push_creates(text: &str) -> Result<PushCreates, String> {
    let creates = service::push_creates(text);
    creates.map(PushCreates).ok_or_else(|| "it is public, private or nothing".to_owned())
}

/// What a number bounds that is 0 for no bound.
fn bound(number: u64) -> Option<u64> {
    Some(number).filter(|number| *number > 0)
}

fn anonymous_reads(text: &str) -> Result<AnonymousReads, String> {
    AnonymousReads::parse(text).ok_or_else(|| "it is full, small or off".to_owned())
}

fn ids(text: &str) -> Result<Ids, String> {
    Ids::parse(text).ok_or_else(|| "it is strict or lenient".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let allowed = || "a time is a number and a unit, such as 12h or 30d, and longer than none".to_owned();
    let span: jiff::Span = text.parse().map_err(|_| allowed())?;
    let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| allowed())?;
    Duration::try_from(length).ok().filter(|length| *length >= Duration::from_secs(1)).ok_or_else(allowed)
}

fn main() -> ExitCode {
    match process::runtime() {
        Ok(runtime) => runtime.block_on(command()),
        Err(error) => {
            eprintln!("musehub: cannot start threads: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn command() -> ExitCode {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let embedded = [("s3s", LevelFilter::OFF), ("dynoxide", LevelFilter::ERROR)];
    let filter = log_filter(Targets::new().with_default(LevelFilter::WARN).with_targets(embedded));
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(arguments) => run(arguments).await,
        Command::Fsck(arguments) => return fsck::run(arguments).await,
        Command::Stats(arguments) => stats::run(arguments).await,
        Command::Token(Token { command: Some(command), .. }) => access::token(command).await,
        Command::Token(arguments) => token(arguments).await,
        Command::Login(arguments) => login::login(arguments).await,
        Command::Member(command) => access::member(command).await,
        Command::Quota(command) => quota::quota(command).await,
        Command::Link(command) => access::link(command).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "musehub", &mut script);
            std::io::stdout().write_all(&script).map_err(Into::into)
        }
        Command::Secret(command) => secret::secret(command).await,
        Command::Backends(arguments) => run_stores(arguments).await,
        Command::Compact(arguments) => compact(arguments).await,
        Command::Gc(arguments) => gc(arguments).await,
        Command::Replay(arguments) => replay(arguments).await,
        Command::Proxy(arguments) => pass_on(arguments).await,
        Command::Branch(command) => branch::branch(command).await,
        Command::Log(arguments) => branch::log(arguments).await,
        Command::Repo(command) => repo::repo(command).await,
        Command::Purge(arguments) => purging::run(arguments).await,
        Command::InFolder(command) => in_folder::run(command).await,
        Command::Moving(command) => moving::run(command).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("musehub: {}", with_causes(&*error));
            ExitCode::from(exit_code(&*error))
        }
    }
}

/// What a script can tell from a command that a hub has refused: see docs/command.md.
fn exit_code(error: &(dyn Error + 'static)) -> u8 {
    let of_hub = match error.downcast_ref::<TransferError>() {
        Some(TransferError::Diverged(_)) => return 5,
        Some(TransferError::Hub(error)) => Some(error),
        _ => error.downcast_ref::<ClientError>(),
    };
    match of_hub {
        Some(ClientError::Hub { status: 401 | 403, .. } | ClientError::NotAllowed(_)) => 3,
        Some(ClientError::Hub { status: 404 | 410, .. }) => 4,
        Some(ClientError::Hub { status: 409 | 412, .. }) => 5,
        Some(error) if error.passes() => 6,
        _ => 1,
    }
}

async fn run(arguments: Serve) -> Result<(), Box<dyn Error>> {
    let storage = match arguments.stores {
        StoresOf::Environment => Storage::Elsewhere(Box::new(stores::elsewhere(arguments.make_stores).await?)),
        StoresOf::Embedded if arguments.memory => Storage::Memory,
        StoresOf::Embedded => Storage::Directory(arguments.data.clone()),
    };
    let (kept, table) = match &storage {
        Storage::Memory => ("in memory, and forgotten at the end".to_owned(), None),
        Storage::Directory(path) => (format!("in {}", std::path::absolute(path)?.display()), None),
        Storage::Elsewhere(elsewhere) => {
            let Location { table, bucket } = &elsewhere.location;
            (format!("in the table {table} and the bucket {bucket}"), Some(table.clone()))
        }
    };
    // Stores that were there have their users.
    let table = table.filter(|_| !arguments.make_stores);
    let issuer = arguments.oidc.settings()?;
    let issuer_name = issuer.as_ref().map(|issuer| issuer.issuer().to_owned());
    let is_behind_something = !arguments.listen.ip().is_loopback() && arguments.public_url.is_none();
    let options = Options {
        listen: arguments.listen,
        storage,
        lambda_limits: arguments.lambda_limits,
        ids: arguments.ids,
        public_url: arguments.public_url,
        quotas: Quotas {
            repo_bytes: bound(arguments.quota_repo_bytes),
            user_bytes: bound(arguments.quota_user_bytes),
            user_repos: bound(arguments.quota_user_repos),
        },
        hosts: arguments.hosts,
        body_memory: arguments.body_memory,
        write_timeout: WRITE_TIMEOUT,
        merge_window: MERGE_WINDOW,
        anonymous_reads: arguments.anonymous_reads,
        most_streamed: arguments.lambda_limits.then_some(LAMBDA_STREAM),
        secret: given_secret(),
        issuer,
        log: if arguments.log_requests { RequestLog::to(|line| eprintln!("{line}")) } else { RequestLog::default() },
        webhooks: Some(Webhooks {
            reach: if arguments.private_webhooks { Reach::Anywhere } else { Reach::Public },
            first_pause: serve::FIRST_PAUSE,
        }),
    };
    let hub = serve::start_creating(options, arguments.push_creates.0).await?;
    if is_behind_something {
        eprintln!(
            "musehub: it listens on more than this machine and no --public-url is set: if a proxy in front of it speaks TLS, or \
             clients reach it by another name than this machine's addresses, say the URL that they use, or the name with --host"
        );
    }
    let url = hub.url();
    let greeting = match (issuer_name, table) {
        (Some(issuer), _) => format!(
            "The hub is at {url}, its data {kept}.\n\
             \n\
             Its users have tokens of {issuer}. A user without a handle claims one:\n\
             \n  curl -H 'Authorization: Bearer <token>' -d '{{\"handle\": \"<name>\"}}' -H 'Content-Type: application/json' {url}/api/identities\n\
             \n\
             Ctrl-C ends it.\n"
        ),
        (None, Some(table)) => format!(
            "The hub is at {url}, its data {kept}.\n\
             \n\
             A token for one of its users:\n\
             \n  musehub token --table {table} --user USER\n\
             \n\
             Ctrl-C ends it.\n"
        ),
        (None, None) => {
            let token = hub.tokens().mint(FIRST_USER, Duration::from_secs(FIRST_TOKEN_DAYS * 24 * 60 * 60))?;
            first_greeting(url, &kept, &token)
        }
    };
    let ended = end()?;
    greet(&greeting)?;

    ended.await;
    hub.stop().await;
    Ok(())
}

fn first_greeting(url: &str, kept: &str, token: &str) -> String {
    format!(
        "The hub is at {url}, its data {kept}.\n\
         \n\
         A token for the user {FIRST_USER}, whose handle is '{FIRST_HANDLE}', good for {FIRST_TOKEN_DAYS} days:\n\
         \n  {token}\n\
         \n\
         A first push, from a Muse repository:\n\
         \n  muse auth login --hub {url} --token {token}\
         \n  muse remote add origin {url}/{FIRST_HANDLE}/song\
         \n  muse push origin main\n\
         \n\
         Ctrl-C ends it.\n"
    )
}

async fn run_stores(arguments: Stores) -> Result<(), Box<dyn Error>> {
    let stores = serve::start_stores(&arguments.data, given_secret()).await?;
    let environment = stores.environment();
    let ended = end()?;
    match &arguments.env {
        None => greet(&environment)?,
        Some(path) => {
            write_secret_file(path, &environment)?;
            let data = std::path::absolute(&arguments.data)?;
            greet(&format!(
                "The stores are running, their data in {}, their environment in {}.\n\
                 \n  cargo lambda watch -A 127.0.0.1 --env-file {}\n\
                 \nCtrl-C ends them.\n",
                data.display(),
                path.display(),
                path.display()
            ))?;
        }
    }
    ended.await;
    stores.stop().await;
    Ok(())
}

/// Writes a file that only its owner may read, under its name once it is whole.
fn write_secret_file(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = std::path::absolute(path)?;
    let folder = folder.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

async fn pass_on(arguments: Proxy) -> Result<(), Box<dyn Error>> {
    let hub = arguments.to.clone();
    let proxy = proxy::start(proxy::Options { listen: arguments.listen, to: arguments.to }).await?;
    let url = proxy.url();
    let ended = end()?;
    greet(&format!(
        "The proxy is at {url}, in front of the hub at {hub}.\n\
         \n\
         Use its URL in place of the hub's, from a Muse repository:\n\
         \n  muse auth login --hub {url} --token <token>\
         \n  muse remote add origin {url}/<owner>/<slug>\
         \n  muse push origin main\n\
         \n\
         Ctrl-C ends it.\n"
    ))?;

    ended.await;
    proxy.stop().await;
    Ok(())
}

async fn gc(arguments: Gc) -> Result<(), Box<dyn Error>> {
    let stores = stores::Stores::open(&Which::choose(arguments.data)).await?;
    let done = stores.while_open(async |stores| {
        let repo = stores.repo(&arguments.repo).await?;
        let retention = Duration::from_secs(u64::from(arguments.retention_days) * 24 * 60 * 60);
        Ok::<_, Box<dyn Error>>(
            stores.store.collect(&repo, garbage::Limits { retention, ..garbage::Limits::ALL }).await?,
        )
    });
    let done = done.await?;
    if arguments.json {
        println!("{}", serde_json::to_string(&done)?);
    } else {
        let Collection { commits, snapshots, objects, .. } = done;
        println!("{}: {commits} commits, {snapshots} snapshots and {objects} objects condemned", arguments.repo);
        println!("{} in packs that were written again without them", HumanBytes(done.bytes));
        let Collection { packs_condemned, packs_dropped, packs_revived, .. } = done;
        println!(
            "condemned packs: {packs_dropped} dropped, {packs_revived} needed after all, {packs_condemned} waiting"
        );
    }
    match done.deferred {
        None => Ok(()),
        Some(Deferred::Incomplete) => {
            Err("something that is needed is missing, so nothing was collected: see musehub fsck".into())
        }
        Some(Deferred::TooLarge) => Err("there is more to read than this run may".into()),
        Some(Deferred::TooManyPacks) => Err("there is no room for another pack: musehub compact makes some".into()),
    }
}

async fn compact(arguments: Compact) -> Result<(), Box<dyn Error>> {
    let stores = stores::Stores::open(&Which::choose(arguments.data)).await?;
    let done = stores.while_open(async |stores| {
        let repo = stores.repo(&arguments.repo).await?;
        Ok::<_, Box<dyn Error>>(stores.store.compact(&repo, Limits::ALL).await?)
    });
    let done = done.await?;
    if arguments.json {
        println!("{}", serde_json::to_string(&done)?);
        return Ok(());
    }
    let Compaction { packs_before, packs_after, packs_merged, tables_merged, tables_after, retired, deleted, .. } =
        done;
    let [before, after, merged] = [done.bytes_before, done.bytes_after, done.bytes_merged].map(HumanBytes);
    println!("{}: {packs_before} packs of {before}, now {packs_after} of {after}", arguments.repo);
    println!("{packs_merged} merged ({merged}), {retired} kept for requests under way, {deleted} deleted from S3");
    println!("{tables_merged} tables merged into indexes: a request looks into {tables_after}");
    if !done.is_done {
        println!("another run is at work on the rest");
    }
    Ok(())
}

async fn replay(arguments: Replay) -> Result<(), Box<dyn Error>> {
    let config = stores::aws().await;
    let stores = stores::Stores::open(&Which::Environment).await?;
    let dead_letters = DeadLetters::new(stores::s3(&config), arguments.dead_letters);
    let ambient = stores.store.ambient();
    let publishers = || Ok(Publishers::from_environment_at(&config, &config, ambient)?);
    let summary = dead_letters.replay(&stores.store, publishers, arguments.dry_run, |line| println!("{line}")).await?;
    let Summary { good, kept, more } = summary;
    println!("{good} {}, {kept} kept", if arguments.dry_run { "can be replayed" } else { "replayed" });
    if more > 0 {
        println!("{more} more were not looked at: run this again");
    }
    if kept + more > 0 { Err("dead letters are left".into()) } else { Ok(()) }
}

fn greet(greeting: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(greeting.as_bytes())?;
    out.flush()
}

/// What waits for Ctrl-C or SIGTERM. Both are taken from this call on, so it comes before a greeting that says how to end the program:
/// until then they end it at once.
fn end() -> std::io::Result<impl Future<Output = ()>> {
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    })
}

async fn token(arguments: Token) -> Result<(), Box<dyn Error>> {
    let ambient = Ambient::system();
    let secret = match given_secret() {
        Some(secret) => secret,
        None if let Some(table) = arguments.table => {
            let config = stores::aws().await;
            let location = Location { table, bucket: String::new() };
            Store::new(&config, &config, location, ambient.clone()).draw_token_secret().await?
        }
        None if arguments.data.is_dir() => DataFolder::open(&arguments.data)?.secret(&ambient)?,
        None => {
            let folder = arguments.data.display();
            return Err(
                format!("there is no data folder {folder}: name it with --data, or set {SECRET_VARIABLE}").into()
            );
        }
    };
    let tokens = Tokens::new(&secret, ambient)?;
    let mint = if arguments.admin { Tokens::mint_admin } else { Tokens::mint };
    let user = arguments.user.unwrap_or_default();
    println!("{}", mint(&tokens, &user, arguments.ttl)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_that_is_empty_is_none_for_files_of_settings_say_so() {
        let options = ["issuer", "audience", "user-claim", "required-claim", "admin-claim"];
        let arguments = options.map(|option| format!("--oidc-{option}="));
        let parsed = Cli::try_parse_from(["musehub".to_owned()].into_iter().chain(arguments)).unwrap();
        assert_eq!(parsed.serve.oidc.settings(), Ok(None));
    }

    #[test]
    fn where_to_listen_is_understood_as_people_write_it() {
        for (text, expected) in [
            ("127.0.0.1:8787", "127.0.0.1:8787"),
            ("0.0.0.0:1", "0.0.0.0:1"),
            ("[::1]:8787", "[::1]:8787"),
            ("8787", "127.0.0.1:8787"),
            (":8787", "0.0.0.0:8787"),
            ("localhost:8787", "127.0.0.1:8787"),
        ] {
            assert_eq!(listen(text), Ok(expected.parse().expect("an address")), "{text}");
        }
        for wrong in ["", ":", "localhost", "127.0.0.1", "99999", "a b:1", ":x"] {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_script_can_tell_why_a_hub_refused() {
        for (status, code) in [
            (401, 3),
            (403, 3),
            (404, 4),
            (410, 4),
            (409, 5),
            (412, 5),
            (422, 1),
            (413, 1),
            (429, 6),
            (500, 6),
            (503, 6),
        ] {
            let (hub, text) = (String::new(), String::new);
            let refusal = ClientError::Hub { hub, request: "GET /refs", status, code: text(), detail: text() };
            assert_eq!(exit_code(&refusal), code, "{status}");
        }
        let said = String::new;
        assert_eq!(exit_code(&ClientError::Broken { hub: said(), reason: said() }), 6);
        assert_eq!(exit_code(&ClientError::NotAllowed(said())), 3);
        assert_eq!(exit_code(&ClientError::Refused(said())), 1);
        assert_eq!(exit_code(&*Box::<dyn Error>::from("anything else")), 1);
    }
}
