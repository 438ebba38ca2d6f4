//! Every bound of the wire contract, in one place. Past each of them there is a clear answer, never a silent cut.

/// Commits in one push. Its bytes bound it before, in all but the emptiest commits.
pub const MAX_COMMITS: usize = 1_000_000;
/// Snapshots in one push. Its bytes bound it before, as they do commits.
pub const MAX_SNAPSHOTS: usize = 1_000_000;
/// Branches that one push moves. Each takes two items of its transaction, which has 100.
pub const MAX_UPDATES: usize = 20;
/// Names that the new branches of one push take, their own and those of their folders: each is an item of its transaction.
pub const MAX_NAMES_TAKEN: usize = 50;
/// Objects in one push or one `/push/objects`.
pub const MAX_OBJECTS: usize = 1_000;
/// Different ids in the `want` of a fetch: a clone wants the head of every branch. A repo that has more branches,
/// because pushes raced, may be asked for as many.
pub const MAX_FETCH_WANT: usize = MAX_BRANCHES;
/// Different ids in the `want` of a fetch that are held while the repo is looked up.
pub const MAX_WANT_HELD: usize = 2 * MAX_BRANCHES;
/// Ids in the `want` of a fetch that every hub takes, those of older versions too.
pub const FETCH_WANT_OF_ANY_HUB: usize = 1_000;
/// The `depth` of a fetch, and the least that is one is 1.
pub const MAX_FETCH_DEPTH: usize = 1_000_000;
/// Bytes of an answer that a stock client reads: at the next one it gives up, and keeps nothing.
pub const STOCK_ANSWER: usize = 64 << 20;
/// Ids in the `have` of a fetch: clients send all their local commits.
pub const MAX_FETCH_HAVE: usize = 1_000_000;
/// Ids in the `want` and in the `have` of a negotiation.
pub const MAX_NEGOTIATE: usize = 256;
/// Ids in one `/filter-objects`.
pub const MAX_FILTER_OBJECTS: usize = 50_000;
/// Bytes of a repo or of an object that are given to a client without a token, where the operator bounds them.
pub const ANONYMOUS_BYTES: usize = 16 << 20;
/// Ids in one `/presign`. Clients ask once for all that they put.
pub const MAX_PRESIGN: usize = 10_000;
/// URLs to get objects by in one answer, of up to 2 KB each: reading may need no token, and no client is known to ask for more. The
/// other objects are named.
pub const MAX_PRESIGNED_GETS: usize = 1_000;
/// Tags in one `POST /tags`.
pub const MAX_TAGS: usize = 10_000;
/// Tags of one repo.
pub const MAX_TAGS_OF_REPO: usize = 100_000;
/// Releases of one repo.
pub const MAX_RELEASES_OF_REPO: usize = 1_000;
/// Bytes of one release, compressed: it is one item of the table, which holds 400 KB.
pub const MAX_RELEASE: usize = 380_000;
/// Bytes of one release in either encoding. A page of a list has one at least.
pub const MAX_RELEASE_ENCODED: usize = 4 << 20;
/// Bytes of all releases of one repo: a request for any part of their list reads them all.
pub const MAX_RELEASES_BYTES: usize = 32 << 20;
/// Bytes of one page of a list of tags or releases.
pub const MAX_PAGE: usize = 16 << 20;
/// Objects that one request purges: each has an item, and a transaction takes 100.
pub const MAX_PURGED_AT_ONCE: usize = 90;
/// Objects that one repo has purged.
pub const MAX_PURGED: usize = 2_000;
/// Characters of what is said of why.
pub const MAX_PURGE_REASON: usize = 200;
/// Names that lead to one repo: the one that it has, and those that it had before.
pub const MAX_NAMES_OF_REPO: usize = 20;
/// Forks of one repo, and of its forks, and of those: whoever of them deletes a file asks all others.
pub const MAX_POOL: usize = 100;
/// Those of them that were made for one user.
pub const MAX_POOL_OF_USER: usize = 10;
/// Bytes of the packs that a fork would get without some of their records, and so cannot share.
pub const MAX_COPIED_FOR_FORK: u64 = 2 << 30;
/// Repos in one answer to `GET /api/repos`.
pub const MAX_REPOS_LISTED: usize = 100;
/// Webhooks of one repo.
pub const MAX_HOOKS_OF_REPO: usize = 20;
/// Types of events that a webhook may name.
pub const MAX_EVENT_TYPES: usize = 16;
/// Bytes of the URL of a webhook.
pub const MAX_HOOK_URL: usize = 2_048;
/// Members of one repo.
pub const MAX_MEMBERS_OF_REPO: usize = 1_000;
/// Links to one repo that lead there at the same time.
pub const MAX_LINKS_OF_REPO: usize = 100;
/// Tokens that one user has minted and that are good at the same time.
pub const MAX_TOKENS_OF_USER: usize = 100;
/// Repos that a token may name: they are in the token, which is a header of each request.
pub const MAX_REPOS_OF_TOKEN: usize = 20;
/// Patterns of branches that a token may name, for the same reason.
pub const MAX_BRANCHES_OF_TOKEN: usize = 20;
/// Bytes of a pattern of branches in a token.
pub const MAX_BRANCH_PATTERN: usize = 128;
/// Seconds that a link leads to its repo.
pub const MAX_LINK_SECONDS: u64 = 30 * 24 * 60 * 60;
/// Seconds that a minted token is good.
pub const MAX_TOKEN_SECONDS: u64 = 366 * 24 * 60 * 60;
/// Characters of the name of a token, a link or an agent.
pub const MAX_NAME_LENGTH: usize = 100;
/// Entries in the manifest of one snapshot.
pub const MAX_MANIFEST_ENTRIES: usize = 100_000;
/// Bytes of one object sent inside a request body.
pub const MAX_INLINE_OBJECT: usize = 38_000_000;
/// Bytes of a path in a manifest.
pub const MAX_PATH_LENGTH: usize = 4_096;
/// Branches of one repo: beyond, no push makes another.
pub const MAX_BRANCHES: usize = 10_000;
/// Branches, or lines of the push log, in one page.
pub const MAX_LISTED: usize = 1_000;
/// Packs of one repo: beyond, it has to be compacted before it takes another push.
pub const MAX_PACKS: usize = 100_000;
/// Values inside one commit or release (numbers, strings, lists, maps, at any depth): it bounds what decoding one may
/// allocate.
pub const MAX_RECORD_VALUES: usize = 1_000_000;
/// Nested lists and maps in a body.
pub const MAX_DEPTH: usize = 128;
/// Characters of a repo's name or description and of a user's display name.
pub const MAX_TEXT_LENGTH: usize = 1_000;
/// Bytes of the `Authorization` header.
pub const MAX_AUTHORIZATION: usize = 8_192;

/// Bytes of a body that is sent by reference. It is held in memory while it is checked.
pub const MAX_REFERENCED_BODY: usize = 256 << 20;

/// Bytes of an answer that Lambda streams; at the next one it cuts the answer off (200 MB).
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html>
pub const LAMBDA_STREAM: u64 = 200 * 1024 * 1024;
/// Bytes of an invocation event or of a buffered answer, as Lambda counts them (6 MiB; binary is base64 inside).
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const LAMBDA_PAYLOAD: usize = 6 * 1024 * 1024;
