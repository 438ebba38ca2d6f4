// Fills a hub with what its pages are looked at for: two real histories, one of 10,000 commits, and one of whose every name and
// text tries to be markup. All of it is the same each time, so ids and pictures are too.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { deflateSync } from "node:zlib";

/** What would run if a page took text for markup. */
export const SCRIPT = "<script>alert(1)</script>";
export const IMAGE = '"><img src=x onerror=alert(1)>';
export const HOSTILE = SCRIPT + IMAGE;
/** No branch may have `<` or `"`; this has all else that a page or a URL could trip over. */
export const HOSTILE_BRANCH = "feature/&lt;i&gt;'onload=alert(1)#100%41;a b";

export const LONG = 10_000;
/** More than two pages of names. */
export const MANY = 55;
/** Commits of one push: it takes 1,000, and as many objects, of which the first commit has eight. */
const PART = 990;

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const joinedHash = (...parts) => sha256(parts.join("\0"));

function snapshotId(manifest) {
  const entries = Object.entries(manifest).map(([path, id]) => `${path}\0${id}`);
  return joinedHash(...entries.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
}

/** A bundle that grows commit by commit. */
class Bundle {
  commits = [];
  #snapshots = new Map();
  #objects = new Map();

  /** Adds a commit of `files`, a map from paths to strings or bytes, and gives its id. */
  commit(files, { parents = [], message, at, ...fields }) {
    const manifest = {};
    for (const [path, content] of Object.entries(files)) {
      manifest[path] = this.#object(path, content);
    }
    const snapshot_id = snapshotId(manifest);
    this.#snapshots.set(snapshot_id, { snapshot_id, manifest, created_at: at });
    const commit_id = joinedHash([...parents].sort().join("\0"), snapshot_id, message, at);
    const [parent_commit_id = null, parent2_commit_id = null] = parents;
    this.commits.push({
      commit_id, parent_commit_id, parent2_commit_id, snapshot_id, message, committed_at: at, branch: "main", author: "alice",
      ...fields,
    });
    return commit_id;
  }

  #object(path, content) {
    const bytes = Buffer.from(content);
    const object_id = sha256(bytes);
    this.#objects.set(object_id, { object_id, path, content_b64: bytes.toString("base64") });
    return object_id;
  }

  /** What was added since the last call, and no more. */
  take() {
    const taken = { commits: this.commits, snapshots: [...this.#snapshots.values()], objects: [...this.#objects.values()] };
    this.commits = [];
    this.#snapshots.clear();
    this.#objects.clear();
    return taken;
  }
}

/** Asks a hub as a user. */
class User {
  constructor(url, token) {
    this.url = url;
    this.token = token;
  }

  async ask(method, path, body) {
    const headers = { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json" };
    const answer = await fetch(this.url + path, { method, headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  push(repo, bundle, branch = "main", force = false) {
    return this.ask("POST", `${repo}/push`, { bundle, branch, force });
  }

  /** Puts a branch on a commit that is there. */
  branch(repo, branch, commit, force = false) {
    return this.push(repo, { commits: [], branch_heads: { [branch]: commit } }, branch, force);
  }
}

/** Makes everything, and gives the ids that pages are asked for by; `long` is still being pushed then. */
export async function makeState(url, ownerToken, otherToken, samples) {
  const owner = new User(url, ownerToken);
  const other = new User(url, otherToken);
  await other.ask("POST", "/api/identities", { handle: "ada" });
  const long = pushLong(owner);
  // It is awaited by what looks at it; a failure is told there.
  long.catch(() => {});
  const [hostile, secret] = await Promise.all([
    pushHostile(owner),
    pushSecret(owner),
    owner.ask("POST", "/api/repos", { name: "Empty", description: "Nothing was pushed to it yet" }),
  ]);
  // One after another, because the hub's page has the newest first.
  await pushMany(owner);
  const midi = await pushMidi(owner, samples);
  const code = await pushCode(owner, samples);
  await listed(url, ["nocturne", "nocturne-midi", "hostile", "many"]);
  return { code, midi, hostile, secret, long };
}

/** Waits until the hub's page has these repositories: they are listed behind the answer to a push. */
async function listed(url, slugs) {
  const end = performance.now() + 5_000;
  let missing = slugs;
  while (missing.length > 0 && performance.now() < end) {
    const page = await (await fetch(url, { headers: { Accept: "text/html" } })).text();
    missing = slugs.filter((slug) => !page.includes(`href="/dev/${slug}"`));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  if (missing.length > 0) console.log(`the hub's page does not list ${missing.join(", ")}, after five seconds`);
}

function sample(samples, name) {
  return JSON.parse(readFileSync(`${samples}/${name}.json`, "utf8"));
}

async function pushCode(owner, samples) {
  const bundle = sample(samples, "nocturne-code");
  const id = (message) => bundle.commits.find((commit) => commit.message === message).commit_id;
  await owner.ask("POST", "/api/repos", { name: "Nocturne", description: "A small piece for two voices, as a program" });
  const repo = "/dev/nocturne";
  await owner.push(repo, bundle);
  await owner.branch(repo, "tempo", id("Tempo in seconds"));
  await owner.ask("POST", `${repo}/tags`, {
    tags: [
      { tag: "v0.1.0", commit_id: id("Scales of any length") },
      { tag: "emotion:joyful", commit_id: id("Transpose a voice") },
    ],
  });
  await owner.ask("POST", `${repo}/releases`, {
    tag: "v0.1.0", commit_id: id("Scales of any length"), title: "The first scale", created_at: "2026-11-27T14:00:00+00:00",
    semver: { major: 0, minor: 1, patch: 0, pre: "", build: "" }, release_id: "release-1",
    body: "Scales of **any** length.\n\n- `degree` takes more than seven\n- nothing else\n",
    changelog: [{ commit_id: id("Scales of any length"), message: "Take degrees past the seventh", sem_ver_bump: "patch" }],
  });
  await owner.ask("POST", `${repo}/releases`, {
    tag: "v0.2.0-draft", commit_id: bundle.branch_heads.main, title: "Not yet out", is_draft: true, release_id: "release-2",
    created_at: "2026-11-27T15:00:00+00:00", channel: "beta",
  });
  return { head: bundle.branch_heads.main, id };
}

async function pushMidi(owner, samples) {
  const bundle = sample(samples, "nocturne-midi");
  const id = (message) => bundle.commits.find((commit) => commit.message === message).commit_id;
  await owner.push("/dev/nocturne-midi", bundle);
  await owner.ask("PATCH", "/api/repos/dev/nocturne-midi", { description: "The same piece, as notes" });
  return { id };
}

async function pushSecret(owner) {
  const bundle = new Bundle();
  const head = bundle.commit({ "README.md": "# Secret\n\nFor the owner alone.\n" }, {
    message: "Keep this between us", at: "2026-11-20T10:00:00+00:00",
  });
  await owner.ask("POST", "/api/repos", { name: "Secret", is_private: true, description: "A private piece" });
  await owner.push("/dev/secret", bundle.take());
  return { head };
}

/** A repository with more names than a page shows. */
async function pushMany(owner) {
  const bundle = new Bundle();
  let head;
  for (let number = 0; number < MANY; number++) {
    head = bundle.commit({ "song.abc": `version ${number}\n` }, {
      parents: head ? [head] : [], message: `Write version ${number}`, at: time(number * 3600),
    });
  }
  const repo = "/dev/many";
  const commits = bundle.commits.map((commit) => commit.commit_id);
  await owner.push(repo, bundle.take());
  const name = (number) => String(number).padStart(3, "0");
  for (const [number, commit] of commits.entries()) {
    await owner.branch(repo, `branch-${name(number)}`, commit);
    await owner.ask("POST", `${repo}/releases`, {
      tag: `release-${name(number)}`, commit_id: commit, release_id: `release-${number}`, created_at: time(number * 3600),
    });
  }
  await owner.ask("POST", `${repo}/tags`, {
    tags: commits.map((commit_id, number) => ({ tag: `tag-${name(number)}`, commit_id })),
  });
}

// ---- What tries to be markup -----------------------------------------------------------------------------------------

/** A README that tries everything that Markdown lets through, beside what it is for. */
const HOSTILE_README = `# Hostile ${SCRIPT}

${SCRIPT}

<img src=x onerror=alert(1)> <svg onload=alert(1)></svg> <iframe src="javascript:alert(1)"></iframe>
<a href="javascript:alert(1)" onclick="alert(1)">inline</a> <style>body { display: none }</style>
<form action="/logout" method="post"><button>Send</button></form>

[script link](javascript:alert(1)) [data link](data:text/html,${encodeURIComponent(SCRIPT)})
[quoted](" onmouseover="alert(1)) ![elsewhere](https://example.com/track.png) ![x" onerror="alert(1)](art/cover.png)
![cover](art/cover.png) [a song](sound/lead.mid) <https://example.com/a?b=c&d=e>

| a \`${SCRIPT}\` | b |
|---|---|
| ${IMAGE} | & &amp; &lt; |

\`\`\`js
const text = "${SCRIPT}"; // ${IMAGE}
\`\`\`

\`\`\`"><img src=x onerror=alert(1)>
a language that tries, too
\`\`\`
`;

async function pushHostile(owner) {
  const repo = "/dev/hostile";
  await owner.ask("POST", "/api/repos", { name: "Hostile", description: HOSTILE });
  const bundle = new Bundle();
  const files = {
    "README.md": HOSTILE_README,
    [`${SCRIPT}/${IMAGE}.txt`]: `${SCRIPT}\n${IMAGE}\n`,
    [`${IMAGE}.md`]: `# ${IMAGE}\n\n${SCRIPT}\n`,
    "a b/c#d?e%41&f;g'h.txt": "A path that a URL has to spell.\n",
    "art/cover.png": png(64, 48),
    "art/run.svg": `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" onload="alert(1)">${SCRIPT}<rect width="40" height="40"/></svg>\n`,
    "bin/data.bin": Buffer.from([0, 1, 2, 255, 254, 0]),
    "code/run.js": `const text = "${SCRIPT}";\n// ${IMAGE}\nfunction run() { return \`\${text}\`; }\n`,
    "empty.txt": "",
    "page.html": `<!doctype html><title>A page</title>${SCRIPT}<img src=x onerror=alert(1)>\n`,
    "sound/beep.wav": wav(),
    "sound/broken.mid": "MThd, and then nothing of the kind\n",
    "sound/lead.mid": midi(HOSTILE, [60, 64, 67, 72]),
    "text/long-line.txt": `${"do re mi ".repeat(400)}\n`,
    "text/large.txt": Array.from({ length: 3_000 }, (_, line) => `Line ${line + 1} of many\n`).join(""),
    "text/unicode-\u{e9}\u{4e2d}\u{1f3b5}.txt": "\u{e9}\u{4e2d}\u{1f3b5} \u{202e}turned round\u{202c}\n",
  };
  const first = bundle.commit(files, {
    message: `Begin ${HOSTILE}`, at: "2026-11-21T09:00:00+00:00", author: `Mallory ${HOSTILE}`,
  });
  const changed = {
    ...files,
    [`${SCRIPT}/${IMAGE}.txt`]: `${SCRIPT}\n${IMAGE}, changed\nAnd more: ${SCRIPT}\n`,
    "art/cover.png": png(48, 64),
    "code/run.js": `const text = "${SCRIPT}${IMAGE}";\n// ${IMAGE}\nfunction run(more) { return \`\${text}\${more}\`; }\n`,
    "bin/data.bin": Buffer.from([0, 1, 2, 255]),
    "sound/lead.mid": midi(HOSTILE, [60, 63, 67, 72, 74]),
  };
  delete changed["empty.txt"];
  const head = bundle.commit(changed, {
    parents: [first], message: `Change ${SCRIPT}\n\n${IMAGE}\n\n${SCRIPT}`, at: "2026-11-22T09:00:00+00:00",
    author: `Mallory ${HOSTILE}`, agent_id: `agent ${HOSTILE}`, model_id: `model ${HOSTILE}`, sem_ver_bump: "major",
    signer_key_id: HOSTILE, reviewed_by: [HOSTILE], breaking_changes: [HOSTILE, "code/run.js::run"], test_runs: 3,
    metadata: { [HOSTILE]: HOSTILE, plain: "value" },
    structured_delta: {
      domain: "code", summary: `Summary ${HOSTILE}`, sem_ver_bump: "major", breaking_changes: [HOSTILE],
      ops: [
        {
          op: "patch", address: "code/run.js", child_domain: "code_symbols", child_summary: "1 symbol modified",
          child_ops: [
            { op: "replace", address: "code/run.js::run", new_summary: `function run ${HOSTILE}`, old_summary: "function run" },
            { op: "insert", address: HOSTILE, content_summary: `added ${HOSTILE}` },
          ],
        },
        { op: "patch", address: HOSTILE, from_address: IMAGE, child_ops: [], child_summary: `moved from ${IMAGE}` },
      ],
    },
  });
  await owner.push(repo, bundle.take());
  await owner.branch(repo, HOSTILE_BRANCH, head);
  await owner.ask("POST", `${repo}/tags`, { tags: [{ tag: SCRIPT, commit_id: head }, { tag: IMAGE, commit_id: first }] });
  await owner.ask("POST", `${repo}/releases`, {
    tag: HOSTILE, commit_id: head, title: HOSTILE, agent_id: HOSTILE, created_at: "2026-11-22T10:00:00+00:00",
    body: HOSTILE_README, changelog: [{ commit_id: head, message: HOSTILE, sem_ver_bump: "major" }], release_id: "release-1",
  });
  // One branch that is forced aside, and one that is deleted, for the push log.
  bundle.commit({ "a.txt": "aside\n" }, { parents: [first], message: "Step aside", at: "2026-11-22T11:00:00+00:00" });
  await owner.branch(repo, "scratch", head);
  await owner.push(repo, bundle.take(), "scratch", true);
  await owner.branch(repo, "gone", head);
  await owner.ask("DELETE", "/api/repos/dev/hostile/branches/gone");
  return { first, head, files: Object.keys(files) };
}

// ---- A long history --------------------------------------------------------------------------------------------------

/** 10,000 commits with merges, of up to three side branches at a time. */
async function pushLong(owner) {
  const repo = "/dev/long";
  await owner.ask("POST", "/api/repos", { name: "Long", description: "Ten thousand commits, with merges" });
  const random = randomNumbers(17);
  const bundle = new Bundle();
  const files = Object.fromEntries([...Array(8).keys()].map((number) => [`part-${number}.txt`, "0\n"]));
  let made = 0;
  const commit = (parents, message) => {
    made++;
    files[`part-${made % 8}.txt`] = `${made}\n`;
    return bundle.commit(files, { parents, message: `${message} ${made}`, at: time(made * 451), author: ["alice", "bob"][made % 2] });
  };
  let main = commit([], "Begin with");
  const sides = [];
  let left = LONG - 1;
  while (left > 0) {
    // Near the end of a part all sides are merged, so that its last commit has all of it.
    const isClosing = left <= sides.length || bundle.commits.length >= PART - 1 - sides.length;
    const choice = random();
    if (sides.length > 0 && (isClosing || choice < 0.15)) {
      const side = sides.splice(Math.floor(random() * sides.length), 1)[0];
      main = commit([main, side], "Merge a side into");
    } else if (isClosing || choice < 0.55) {
      main = commit([main], "Go on to");
    } else if (sides.length < 3 && choice < 0.7 && left > sides.length + 2) {
      sides.push(commit([main], "Leave the main line at"));
    } else if (sides.length > 0) {
      const side = Math.floor(random() * sides.length);
      sides[side] = commit([sides[side]], "Work aside on");
    } else {
      main = commit([main], "Go on to");
    }
    left--;
    if (sides.length === 0 && bundle.commits.length >= PART - 10) {
      await owner.push(repo, bundle.take());
    }
  }
  if (bundle.commits.length > 0) await owner.push(repo, bundle.take());
  if (made !== LONG) throw new Error(`${made} commits were made`);
  return { head: main };
}

/** Numbers from 0 to 1, the same ones for a seed: mulberry32. */
function randomNumbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Seconds after the beginning of time in these histories, as ISO 8601. */
function time(seconds) {
  return new Date(Date.UTC(2026, 8, 1) + seconds * 1000).toISOString().replace(".000Z", "+00:00");
}

// ---- Files ------------------------------------------------------------------------------------------------------------

/** An image of two colours, in PNG: https://www.w3.org/TR/png-3/ */
function png(width, height) {
  const rows = Buffer.alloc((width * 3 + 1) * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      rows.set((x >> 3) + (y >> 3) & 1 ? [60, 90, 200] : [250, 200, 60], y * (width * 3 + 1) + 1 + x * 3);
    }
  }
  const chunk = (type, content) => {
    const body = Buffer.concat([Buffer.from(type), content]);
    const ends = Buffer.alloc(8);
    ends.writeUInt32BE(content.length, 0);
    ends.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2], 8);
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** A tenth of a second of a tone, in WAV. */
function wav() {
  const rate = 8_000;
  const samples = Buffer.alloc(rate / 10);
  for (let at = 0; at < samples.length; at++) samples[at] = 128 + 40 * Math.sin((at / rate) * 440 * 2 * Math.PI);
  const head = Buffer.alloc(44);
  head.write("RIFF", 0);
  head.writeUInt32LE(36 + samples.length, 4);
  head.write("WAVEfmt ", 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate, 28);
  head.writeUInt16LE(1, 32);
  head.writeUInt16LE(8, 34);
  head.write("data", 36);
  head.writeUInt32LE(samples.length, 40);
  return Buffer.concat([head, samples]);
}

/** A Standard MIDI File of one track with a name, and its keys one after another, a quarter note each. */
function midi(name, keys) {
  const text = Buffer.from(name);
  const events = [Buffer.from([0, 0xff, 3, text.length]), text];
  for (const key of keys) events.push(Buffer.from([0, 0x90, key, 80, 96, 0x80, key, 0]));
  events.push(Buffer.from([0, 0xff, 0x2f, 0]));
  const track = Buffer.concat(events);
  const head = Buffer.from("MThd\0\0\0\x06\0\0\0\x01\0\x60MTrk\0\0\0\0", "latin1");
  head.writeUInt32BE(track.length, head.length - 4);
  return Buffer.concat([head, track]);
}
