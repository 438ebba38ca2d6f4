// Fills a hub and clicks through its pages: `try.mjs HUB TOKEN OTHER_TOKEN SAMPLES [SCREENSHOTS]`. try-pages.sh runs it.

import { Browser, Checks, PATIENCE } from "./browser.mjs";
import { HOSTILE, HOSTILE_BRANCH, IMAGE, LONG, MANY, SCRIPT, makeState } from "./state.mjs";

const [url, ownerToken, otherToken, samples, screenshots] = process.argv.slice(2);
const checks = new Checks();
const begin = performance.now();
/** Links that pages had. */
const links = new Set();
/** Tabs that work side by side. */
const TABS = 3;
/** Links of one kind that are asked for. */
const LINKS_OF_A_KIND = 4;
const COMMITS_OF_A_PAGE = 50;
const PAGES_CLICKED = 6;

const role = (role, name) => `::-p-aria([role="${role}"][name="${name}"])`;
const link = (name) => role("link", name);
const button = (name) => role("button", name);
const leadsTo = (path) => `a[href="${path}"]`;
const segment = (text) => encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
const pathOf = (path) => path.split("/").map(segment).join("/");
const main = (tab) => tab.text("main");

const ask = (path, { headers, ...options } = {}) =>
  fetch(url + path, { redirect: "manual", headers: { Accept: "text/html", ...headers }, ...options });

// ---- Every page ------------------------------------------------------------------------------------------------------

/** The pages that are looked at from all sides, each with what it has to say. Those with a name get a screenshot. */
function pagesOf({ code, midi, hostile }) {
  const at = segment(HOSTILE_BRANCH);
  const hostilePath = pathOf(`${SCRIPT}/${IMAGE}.txt`);
  return [
    ["/dev", { name: "owner", texts: ["nocturne", HOSTILE] }],
    ["/ada", {}],
    ["/dev/nocturne", { name: "repo", texts: ["A small piece for two voices, kept in Muse.", "song", "Merge branch 'tempo' into main"] }],
    ["/dev/nocturne-midi", { texts: ["tracks"] }],
    ["/dev/empty", { name: "repo-empty", texts: ["muse push origin main"] }],
    ["/dev/nocturne/tree/main/song", { name: "tree", texts: ["render.py", "voices.py"] }],
    [`/dev/nocturne/tree/${code.head}`, { texts: ["README.md"] }],
    ["/dev/nocturne/blob/main/song/voices.py", { name: "blob", texts: ["def degree(n, octave=4):"] }],
    ["/dev/nocturne/blob/main/README.md", { name: "blob-markdown", texts: ["A small piece for two voices"] }],
    ["/dev/nocturne/blob/main/README.md?plain=1", { texts: ["# Nocturne"] }],
    ["/dev/nocturne-midi/blob/main/tracks/lead.mid", { name: "blob-midi", texts: ["notes"] }],
    ["/dev/nocturne/commits/main", { name: "commits", texts: ["Transpose a voice", "composer-7", "minor"] }],
    [`/dev/nocturne/commit/${code.id("Transpose a voice")}`, { name: "commit", texts: ["Voice.transpose", "composer-7"] }],
    [`/dev/nocturne/commit/${code.id("Transpose a voice")}?view=split`, { name: "commit-split", texts: ["Voice.transpose"] }],
    [`/dev/nocturne/commit/${code.id("Rename a test")}`, { name: "commit-moved", texts: ["tests/test_voices.py", "tests/test_degree.py"] }],
    [`/dev/nocturne/commit/${code.head}`, { texts: ["Parents"] }],
    [`/dev/nocturne/commit/${code.id("Two voices and a scale")}`, { texts: ["none: a history begins here"] }],
    [`/dev/nocturne-midi/commit/${midi.id("A bass, and a raised third")}`, { name: "commit-midi", texts: ["1 breaking change", "tracks/bass.mid"] }],
    ["/dev/nocturne/compare/tempo...main", { name: "compare", texts: ["Transpose a voice"] }],
    ["/dev/nocturne/compare/tempo...main?view=split", { texts: ["Transpose a voice"] }],
    ["/dev/nocturne/compare/main...main", {}],
    ["/dev/nocturne/branches", { name: "branches", texts: ["main", "tempo"] }],
    ["/dev/nocturne/-/tags", { name: "tags", texts: ["v0.1.0", "emotion:joyful"] }],
    ["/dev/nocturne/-/releases", { name: "releases", texts: ["The first scale", "more than seven", "Take degrees past the seventh"] }],
    ["/dev/nocturne/log", { name: "log", texts: ["main", "tempo"] }],
    ["/dev/nocturne/stats", { name: "stats", texts: ["Commits"] }],
    ["/dev/empty/branches", {}],
    ["/dev/empty/-/tags", {}],
    ["/dev/empty/-/releases", {}],
    ["/dev/empty/log", {}],
    ["/dev/empty/stats", {}],
    ["/dev/many/branches", { texts: ["branch-000"] }],
    ["/dev/many/-/tags", { texts: ["tag-000"] }],
    ["/dev/many/-/releases", { texts: [`release-0${MANY - 1}`] }],
    ["/dev/many/log", { texts: [`branch-0${MANY - 1}`] }],
    ["/login", { name: "login", texts: ["How to get a token"] }],
    ["/dev/nowhere", { name: "error", status: 404 }],
    ["/dev/secret", { status: 404 }],
    ["/dev/nocturne/tree/main/nowhere", { status: 404 }],
    ["/dev/nocturne/blob/main/nowhere.txt", { status: 404 }],
    ["/dev/nocturne/commits/nowhere", { status: 404 }],
    [`/dev/nocturne/commit/${"0".repeat(64)}`, { status: 404 }],
    ["/dev/nocturne/compare/main...nowhere", { status: 404 }],
    ["/dev/nocturne/compare/main", { status: 404 }],
    ["/dev/nocturne/log?after=nonsense", { status: 422 }],
    ["/dev/nocturne/commits/main?after=(", { status: 422 }],
    [`/${segment(SCRIPT)}`, { status: 404 }],
    [`/dev/nocturne/commits/${segment(HOSTILE)}`, { status: 404, texts: [HOSTILE] }],
    ["/dev/hostile", { name: "hostile", texts: [HOSTILE, SCRIPT, "Change "] }],
    [`/dev/hostile/tree/${at}`, { texts: [SCRIPT.split("/")[0], `${IMAGE}.md`] }],
    [`/dev/hostile/tree/main/${pathOf(SCRIPT)}`, { texts: [`${IMAGE}.txt`] }],
    [`/dev/hostile/blob/${at}/${hostilePath}`, { texts: [SCRIPT, `${IMAGE}, changed`] }],
    [`/dev/hostile/blob/main/${pathOf(`${IMAGE}.md`)}`, { texts: [IMAGE, SCRIPT] }],
    ["/dev/hostile/blob/main/README.md", { texts: [SCRIPT, `const text = "${SCRIPT}"; // ${IMAGE}`] }],
    ["/dev/hostile/blob/main/README.md?plain=1", { texts: [SCRIPT, IMAGE] }],
    [`/dev/hostile/blob/main/${pathOf("a b/c#d?e%41&f;g'h.txt")}`, { texts: ["A path that a URL has to spell."] }],
    ["/dev/hostile/blob/main/art/cover.png", { name: "blob-image" }],
    ["/dev/hostile/blob/main/art/run.svg", { texts: [SCRIPT] }],
    ["/dev/hostile/blob/main/bin/data.bin", {}],
    ["/dev/hostile/blob/main/code/run.js", { texts: [SCRIPT, IMAGE] }],
    [`/dev/hostile/blob/${hostile.first}/empty.txt`, {}],
    ["/dev/hostile/blob/main/page.html", { texts: [SCRIPT] }],
    ["/dev/hostile/blob/main/sound/beep.wav", { name: "blob-audio" }],
    ["/dev/hostile/blob/main/sound/broken.mid", {}],
    ["/dev/hostile/blob/main/sound/lead.mid", { texts: [SCRIPT] }],
    ["/dev/hostile/blob/main/text/long-line.txt", { texts: ["do re mi"] }],
    ["/dev/hostile/blob/main/text/large.txt", { axe: false, texts: ["Line 3000 of many"] }],
    [`/dev/hostile/blob/main/text/${segment("unicode-\u{e9}\u{4e2d}\u{1f3b5}.txt")}`, { texts: ["\u{e9}\u{4e2d}\u{1f3b5}", "[U+202E]"] }],
    ["/dev/hostile/commits/main", { texts: [`Begin ${HOSTILE}`, `Mallory ${HOSTILE}`, `agent ${HOSTILE}`, `model ${HOSTILE}`] }],
    [`/dev/hostile/commit/${hostile.head}`, { name: "commit-hostile", texts: [SCRIPT, IMAGE, `Summary ${HOSTILE}`, `function run ${HOSTILE}`] }],
    [`/dev/hostile/commit/${hostile.head}?view=split`, { texts: [`${IMAGE}, changed`] }],
    [`/dev/hostile/commit/${hostile.first}`, { texts: [`Begin ${HOSTILE}`] }],
    [`/dev/hostile/compare/${hostile.first}...${at}`, { texts: [HOSTILE_BRANCH] }],
    ["/dev/hostile/branches", { texts: [HOSTILE_BRANCH, "scratch"] }],
    ["/dev/hostile/-/tags", { texts: [SCRIPT, IMAGE] }],
    ["/dev/hostile/-/releases", { texts: [HOSTILE, `const text = "${SCRIPT}"; // ${IMAGE}`] }],
    ["/dev/hostile/log", { name: "log-forced", texts: ["forced", "deleted", HOSTILE_BRANCH] }],
    ["/dev/hostile/stats", {}],
    ["/", { isLong: true, name: "home", texts: ["Push a repository", "nocturne", HOSTILE] }],
    ["/dev/long", { isLong: true, texts: ["Ten thousand commits"] }],
    ["/dev/long/commits/main", { isLong: true, name: "commits-long", texts: ["Merge a side into"] }],
    ["/dev/long/stats", { isLong: true, name: "stats-long", texts: ["10,000"] }],
  ];
}

async function everyPage(browser, state) {
  const left = pagesOf(state);
  // What needs the long history comes last, for it is still being pushed; the hub's page has it on top.
  await Promise.all(Array.from({ length: TABS }, async () => {
    const tab = await browser.tab();
    for (let next = left.shift(); next; next = left.shift()) {
      const [path, { isLong, ...wanted }] = next;
      if (isLong) await state.long;
      const built = await tab.visit(path, wanted);
      if (!wanted.status) built.links.forEach((link) => links.add(link));
    }
    await tab.close();
  }));
}

// ---- Clicking --------------------------------------------------------------------------------------------------------

/** From the hub to a line of a file and back, by what a reader sees. */
async function clickThrough(browser, state, script) {
  const tab = await browser.tab({ script });
  const how = script ? "clicking" : "clicking without JavaScript";
  const look = { axe: false };
  const equal = (what, found, wanted) => checks.equal(`${how}: ${what}`, found, wanted);
  await tab.visit("/", look);
  const isListed = checks.check(`${how}: the hub's page has repositories`, await tab.exists(`main ${leadsTo("/dev")}`));
  await (isListed ? tab.follow(`main ${leadsTo("/dev")}`, look) : tab.visit("/dev", look));
  equal("the owner", tab.path(), "/dev");
  // To others a repository is there from its first push on.
  const unpushed = await tab.page.$$eval(".repos li", (lines) => lines.filter((line) => line.textContent.includes("nothing pushed yet")).map((line) => line.querySelector("b").textContent));
  equal("what nothing was pushed to", unpushed, []);
  await tab.follow(leadsTo("/dev/nocturne"), look);
  equal("the repository", tab.path(), "/dev/nocturne");
  checks.check(`${how}: the README is there`, (await tab.text("[aria-label=README]")).includes("kept in Muse"));
  await tab.click("main details.menu summary");
  await tab.follow(link("tempo"), look);
  equal("the other branch", tab.path(), "/dev/nocturne/tree/tempo");
  await tab.follow(leadsTo("/dev/nocturne/tree/tempo/song"), look);
  checks.equal(`${how}: the files of a folder`, await tab.page.$$eval(".files tbody a", (links) => links.map((link) => link.textContent)), ["render.py", "voices.py"]);
  await tab.follow(leadsTo("/dev/nocturne/blob/tempo/song/render.py"), look);
  checks.check(`${how}: the file at that branch`, (await main(tab)).includes("def tempo(beats, bpm=60):"));
  const lines = await tab.page.$$eval(".numbers a", (links) => links.map((link) => link.textContent.trim()));
  equal("numbers of lines", lines, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
  const last = (await tab.page.$$(".numbers a")).at(-1);
  await last.evaluate((link) => link.id).then((id) => tab.click(`[id="${id}"]`));
  checks.check(`${how}: a number leads to its line`, await last.evaluate((link) => link.matches(":target")));
  await tab.click("main details.menu summary");
  await tab.follow(link("main"), look);
  equal("back to the default branch, at the same file", tab.path(), "/dev/nocturne/blob/main/song/render.py");
  await tab.follow('nav[aria-label="Folders"] a:first-of-type', look);
  equal("up the folders", tab.path(), "/dev/nocturne/tree/main");

  const tabs = async (name, path) => {
    await tab.follow(`nav[aria-label="Repository"] ${link(name)}`, look);
    equal(`the tab ${name}`, tab.path(), path);
    equal(`the tab ${name} is marked`, await tab.page.$$eval('nav[aria-label="Repository"] [aria-current=page]', (links) => links.map((link) => link.textContent)), [name]);
  };
  await tabs("Commits", "/dev/nocturne/commits/main");
  const subjects = await tab.page.$$eval(".commits .subject", (links) => links.map((link) => link.textContent));
  equal("commits", subjects.length, 7);
  equal("the newest is first", subjects[0], "Merge branch 'tempo' into main");
  await tab.follow(link("Transpose a voice"), look);
  equal("a commit", tab.path(), `/dev/nocturne/commit/${state.code.id("Transpose a voice")}`);
  const delta = await tab.text("section[aria-labelledby=delta]");
  checks.check(`${how}: the structured delta`, ["added", "Voice.transpose", "changed", "class Voice"].every((part) => delta.includes(part)), delta);
  checks.check(`${how}: a unified diff`, await tab.exists("table.diff:not(.split)"));
  await tab.follow(link("Side by side"), look);
  checks.check(`${how}: side by side`, (await tab.exists("table.diff.split")) && tab.path().endsWith("?view=split"));
  await tab.follow(link("Unified"), look);
  checks.check(`${how}: and unified again`, await tab.exists("table.diff:not(.split)"));
  await tab.follow(link("Browse files"), look);
  equal("the files of a commit", tab.path(), `/dev/nocturne/tree/${state.code.id("Transpose a voice")}`);
  await tabs("Branches", "/dev/nocturne/branches");
  await tab.follow(link("Compare tempo with main"), look);
  equal("a comparison", tab.path(), "/dev/nocturne/compare/main...tempo");
  await tab.follow(link("The other way round"), look);
  equal("the other way round", tab.path(), "/dev/nocturne/compare/tempo...main");
  equal("what one branch has over another", await tab.page.$$eval(".commits .subject", (links) => links.length), 3);
  await tabs("Tags", "/dev/nocturne/-/tags");
  await tab.follow(link("v0.1.0"), look);
  equal("a tag", tab.path(), "/dev/nocturne/tree/v0.1.0");
  await tabs("Releases", "/dev/nocturne/-/releases");
  checks.check(`${how}: a draft is for no reader`, !(await main(tab)).includes("Not yet out"));
  await tab.follow(link("Browse files of v0.1.0"), look);
  equal("the files of a release", tab.path(), `/dev/nocturne/tree/${state.code.id("Scales of any length")}`);
  await tabs("Push log", "/dev/nocturne/log");
  await tabs("Stats", "/dev/nocturne/stats");
  await tabs("Files", "/dev/nocturne");
  await tab.follow("header .hub", look);
  equal("the hub again", tab.path(), "/");
  await tab.close();
}

/** All pages of a list, by the link to the next; gives what each had. */
async function nextPages(tab, path, selector, limit) {
  const found = [];
  await tab.visit(path, { axe: false });
  for (let pages = 1; ; pages++) {
    found.push(await tab.page.$$eval(selector, (elements) => elements.map((element) => element.getAttribute("href") ?? element.textContent)));
    if (!(await tab.exists("a[rel=next]"))) return found;
    if (!checks.check(`${path}: has an end`, pages < limit)) return found;
    await tab.follow("a[rel=next]", { axe: false });
  }
}

async function lists(browser) {
  const tab = await browser.tab();
  const of = async (what, path, selector, wanted) => {
    const pages = await nextPages(tab, path, selector, 5);
    checks.check(`${what}: more than one page`, pages.length > 1, `${pages.length} pages`);
    checks.equal(`${what}: each once`, new Set(pages.flat()).size, wanted);
    checks.equal(`${what}: none twice`, pages.flat().length, wanted);
  };
  await of("branches", "/dev/many/branches", ".rows .subject", MANY + 1);
  await of("tags", "/dev/many/-/tags", ".rows .subject", MANY);
  await of("releases", "/dev/many/-/releases", "article h2", MANY);
  const pages = await nextPages(tab, "/dev/many/log", ".rows li p:first-child > a", 5);
  checks.equal("push log: lines", pages.flat().length, MANY + 1);
  await tab.close();
}

/**
 * The long history, from its head to its first commit: some pages by clicking, without JavaScript, then all of them by the link
 * to the next, and the end by clicking again.
 */
async function longHistory(browser, state) {
  await state.long;
  const path = "/dev/long/commits/main";
  const subjects = ".commits .subject";
  const tab = await browser.tab({ script: false });
  const shown = () => tab.page.$$eval(subjects, (links) => links.map((link) => link.getAttribute("href")));
  await tab.visit(path, { axe: false });
  const clicked = await shown();
  for (let page = 1; page < PAGES_CLICKED; page++) {
    await tab.follow("a[rel=next]", { axe: false });
    clicked.push(...await shown());
  }

  const all = [];
  let before;
  let last = path;
  let pages = 0;
  for (let next = path; next && pages <= LONG / COMMITS_OF_A_PAGE; pages++) {
    const markup = await (await ask(next)).text();
    all.push(...[...markup.matchAll(/<a class="subject" href="([^"]*)"/g)].map(([, href]) => href));
    before = last;
    last = next;
    next = /<a rel="next" href="([^"]*)"/.exec(markup)?.[1];
  }
  checks.equal("the long history: pages", pages, LONG / COMMITS_OF_A_PAGE);
  checks.equal("the long history: commits", all.length, LONG);
  checks.equal("the long history: none twice", new Set(all).size, LONG);
  checks.equal("the long history: as it was clicked", clicked, all.slice(0, clicked.length));
  await tab.visit(before, { axe: false });
  await tab.follow("a[rel=next]", { axe: false, texts: ["Begin with 1"] });
  checks.equal("the long history: its end", await shown(), all.slice(-COMMITS_OF_A_PAGE));
  checks.check("the long history: no page is behind its end", !(await tab.exists("a[rel=next]")));
  await tab.follow(link("First page"), { axe: false });
  checks.equal("the long history: back at its head", tab.path(), path);
  await tab.close();
}

// ---- Scripts ---------------------------------------------------------------------------------------------------------

async function player(browser) {
  const tab = await browser.tab();
  const { page } = tab;
  await tab.visit("/dev/nocturne-midi/blob/main/tracks/lead.mid", { axe: false });
  const notes = await page.$eval(".midi script", (script) => JSON.parse(script.textContent).length);
  checks.check("player: there are notes", notes > 0);
  checks.equal("player: each note is drawn", await page.$$eval(".roll rect[class^=t], .roll rect[class*=' t']", (rects) => rects.length), notes);
  checks.equal("player: each note is in the table", await page.$$eval(".notes tbody tr", (rows) => rows.length), notes);
  const head = () => page.$eval(".roll .now", (line) => ({ hidden: line.hasAttribute("hidden"), at: line.getAttribute("d") }));
  checks.check("player: nothing plays at first", (await head()).hidden);
  await tab.click(button("Play"));
  await page.waitForSelector(button("Stop"));
  const first = await head();
  checks.check("player: its head is shown", !first.hidden);
  const moves = page.waitForFunction((at) => document.querySelector(".roll .now").getAttribute("d") !== at, {}, first.at);
  checks.check("player: its head moves", await moves.then(() => true, () => false));
  await tab.click(button("Stop"));
  await page.waitForSelector(button("Play"));
  checks.check("player: its head goes when it stops", (await head()).hidden);
  // By the keyboard, and to its end.
  await page.focus("[data-play]");
  await page.keyboard.press("Space");
  await page.waitForSelector(button("Stop"));
  await page.waitForSelector(button("Play"));
  checks.check("player: it stops at the end by itself", (await head()).hidden);
  tab.faults("player");
  await tab.close();
}

async function copying(browser) {
  const tab = await browser.tab();
  const { page } = tab;
  await tab.context.overridePermissions(url, ["clipboard-read", "clipboard-write", "clipboard-sanitized-write"]);
  await tab.visit("/dev/nocturne", { axe: false });
  await tab.click(button("Copy"));
  await page.waitForSelector(button("Copied"));
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  checks.equal("copy: the command to clone", copied, `muse clone ${process.env.MUSEHUB_PUBLIC_URL || url}/dev/nocturne`);
  const times = await page.$$eval("time[datetime]", (times) => times.map(({ textContent, title }) => [textContent, title]));
  checks.check("times: are said as how long ago", times.length > 0 && times.every(([text, title]) => /ago|now|in |yesterday|last|next|tomorrow/.test(text) && title), times);
  tab.faults("copy");
  await tab.close();
}

// ---- The keyboard ----------------------------------------------------------------------------------------------------

/** Goes through a page with the Tab key, and gives what it came by. */
async function tabThrough(tab, where) {
  const focused = () => tab.page.evaluate(() => {
    const element = document.activeElement;
    if (!element || element === document.body) return null;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    const { width, height, top, left, bottom, right } = element.getBoundingClientRect();
    // What `checkVisibility` says nothing of: outside the window, or cut to nothing.
    const isSeen = width > 1 && height > 1 && bottom > 0 && right > 0 && top < innerHeight && left < innerWidth;
    const all = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), summary, [tabindex='0'], audio[controls]")];
    return {
      position: all.indexOf(element), isMarked: outlineStyle !== "none" && parseFloat(outlineWidth) >= 1, isSeen,
      what: `${element.localName} "${(element.getAttribute("aria-label") ?? element.textContent).trim().slice(0, 40)}"`,
      href: element.getAttribute("href"),
    };
  });
  const stops = [];
  for (let presses = 0; presses < 400; presses++) {
    await tab.page.keyboard.press("Tab");
    const stop = await focused();
    if (!stop || (stops.length > 0 && stop.position === stops[0].position)) break;
    stops.push(stop);
  }
  const reachable = await tab.page.evaluate(() => {
    const all = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), summary, [tabindex='0'], audio[controls]")];
    return all.map((element, position) => [position, element.checkVisibility()]).filter(([, isSeen]) => isSeen).map(([position]) => position);
  });
  const came = new Set(stops.map((stop) => stop.position));
  checks.check(`keyboard, ${where}: reaches everything`, reachable.every((position) => came.has(position)), `${came.size} of ${reachable.length}`);
  const positions = [...came].filter((position) => position >= 0);
  checks.equal(`keyboard, ${where}: goes in the order of the page`, positions, [...positions].sort((a, b) => a - b));
  const unmarked = stops.filter((stop) => !stop.isMarked);
  checks.check(`keyboard, ${where}: the focus is marked`, unmarked.length === 0, unmarked.slice(0, 3).map((stop) => stop.what));
  const unseen = stops.filter((stop) => !stop.isSeen);
  checks.check(`keyboard, ${where}: the focus is seen`, unseen.length === 0, unseen.slice(0, 3).map((stop) => stop.what));
  return stops;
}

async function keyboard(browser, state) {
  const tab = await browser.tab();
  const { page } = tab;
  const look = { axe: false };
  await tab.visit("/dev/nocturne", look);
  await page.keyboard.press("Tab");
  checks.equal("keyboard: the first stop leads to the content", await page.evaluate(() => document.activeElement.getAttribute("href")), "#main");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  checks.check("keyboard: and past what is before it", await page.evaluate(() => document.querySelector("main").contains(document.activeElement)));

  for (const [path, wanted] of [
    ["/", ["/", "/login", "/dev/nocturne"]],
    ["/dev/nocturne", ["/dev", "/dev/nocturne/commits/main", "/dev/nocturne/stats", "/dev/nocturne/tree/main/song"]],
    ["/dev/nocturne/blob/main/song/voices.py", ["/dev/nocturne/raw/main/song/voices.py"]],
    ["/dev/nocturne-midi/blob/main/tracks/lead.mid", []],
    [`/dev/nocturne/commit/${state.code.id("Transpose a voice")}`, []],
    ["/login", []],
  ]) {
    await tab.visit(path, look);
    const stops = await tabThrough(tab, path);
    for (const href of wanted) {
      checks.check(`keyboard, ${path}: comes to ${href}`, stops.some((stop) => stop.href === href));
    }
  }

  // The switcher: opened, left with Escape, and used.
  await tab.visit("/dev/nocturne", look);
  await page.focus("main details.menu summary");
  await page.keyboard.press("Enter");
  await page.waitForSelector("details.menu[open]");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Escape");
  checks.check("keyboard: Escape closes the switcher", !(await tab.exists("details.menu[open]")));
  checks.equal("keyboard: and the focus is back on it", await page.evaluate(() => document.activeElement.localName), "summary");
  await page.keyboard.press("Enter");
  await page.waitForSelector("details.menu[open]");
  for (let presses = 0; presses < 5; presses++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.textContent === "tempo")) break;
  }
  await tab.press("Enter", look);
  checks.equal("keyboard: the other branch", tab.path(), "/dev/nocturne/tree/tempo");
  await tab.close();
}

// ---- Logging in ------------------------------------------------------------------------------------------------------

async function loggingIn(browser, state) {
  const tab = await browser.tab();
  const { page } = tab;
  const session = async () => (await tab.session.send("Network.getCookies", { urls: [url] })).cookies;

  await tab.visit("/dev/secret", { axe: false, status: 404 });
  await tab.follow(`main ${link("Log in")}`, { axe: false });
  await page.type(role("textbox", "Token"), ownerToken);
  await tab.press("Enter", { axe: false });
  checks.equal("login: leads back to what was not there before", tab.path(), "/dev/secret");
  await tab.follow(button("Log out"), { axe: false });

  await tab.visit("/dev/secret", { axe: false, status: 404 });
  const hidden = await main(tab);
  await tab.visit("/dev/nowhere", { axe: false, status: 404 });
  checks.equal("private: looks as if it were not there", await main(tab), hidden);
  for (const path of ["commits/main", "tree/main", `commit/${state.secret.head}`, "raw/main/README.md", "stats", "log", "branches", "-/tags", "-/releases"]) {
    const [secret, nowhere] = await Promise.all(["secret", "nowhere"].map(async (slug) => {
      const answer = await ask(`/dev/${slug}/${path}`);
      // But for the path that was asked for, which a login leads back to.
      return [answer.status, (await answer.text()).replaceAll(slug, "SLUG"), answer.headers.get("etag")];
    }));
    checks.equal(`private: ${path} is not there`, secret, [404, nowhere[1], null]);
  }
  await tab.visit("/dev", { axe: false });
  checks.check("private: its owner's page does not name it", !(await main(tab)).includes("A private piece"));

  await tab.visit("/dev/nocturne", { axe: false });
  await tab.follow(link("Log in"), { axe: false });
  await page.type(role("textbox", "Token"), "no.good.token");
  await tab.follow(button("Log in"), { status: 401, name: "login-failed" });
  checks.check("login: a bad token is said to be one", (await tab.text("[role=alert]")).includes("token"));
  checks.equal("login: and is not kept", await session(), []);
  await page.type(role("textbox", "Token"), ownerToken);
  await tab.press("Enter", { axe: false });
  checks.equal("login: leads back", tab.path(), "/dev/nocturne");
  const [cookie, ...others] = await session();
  checks.equal("login: one cookie", others, []);
  checks.equal("login: its flags", [cookie?.httpOnly, cookie?.sameSite, cookie?.path, cookie?.session], [true, "Lax", "/", false]);
  checks.equal("login: no script sees it", await page.evaluate(() => document.cookie), "");
  checks.check("login: the page says who it is", await tab.exists(`header ${leadsTo("/dev")}`));
  checks.check("login: the token is on no page", !(await page.content()).includes(ownerToken));

  await tab.visit("/dev", { name: "owner-logged-in", texts: ["A private piece"] });
  await tab.follow(leadsTo("/dev/secret"), { name: "repo-private", texts: ["private", "For the owner alone."] });
  await tab.visit(`/dev/secret/commit/${state.secret.head}`, { texts: ["Keep this between us"] });
  const raw = await page.goto(`${url}/dev/secret/raw/${state.secret.head}/README.md`);
  checks.equal("private: raw", [raw.status(), await raw.text()], [200, "# Secret\n\nFor the owner alone.\n"]);
  checks.check("private: raw is for no shared cache", /private|no-store/.test(raw.headers()["cache-control"]), raw.headers()["cache-control"]);
  tab.faults("private: raw");
  await tab.visit("/", { axe: false });
  checks.check("private: the hub's page does not list it", !(await main(tab)).includes("A private piece"));
  await tab.visit("/dev/nowhere", { status: 404, axe: false });
  checks.check("login: an error page says who it is", await tab.exists(`header ${leadsTo("/dev")}`));
  await tab.visit("/dev/secret", { axe: false });
  await tab.follow(button("Log out"), { axe: false });
  checks.equal("logout: leads to the hub", tab.path(), "/");
  checks.equal("logout: the cookie is gone", await session(), []);
  checks.check("logout: the page says so", await tab.exists(`header ${link("Log in")}`));
  await page.goBack({ waitUntil: "load" });
  checks.check("logout: the way back shows nothing private", !(await main(tab)).includes("For the owner alone."), tab.path());
  tab.faults("logout", (fault) => !fault.includes("status of 404"));
  await tab.close();

  const other = await browser.tab({ script: false });
  await other.visit("/login?next=%2Fdev%2Fsecret", {});
  await other.page.type("#token", otherToken);
  await other.follow(button("Log in"), { status: 404 });
  checks.equal("login without JavaScript: leads to where it was meant to", other.path(), "/dev/secret");
  checks.check("private: is nothing to another user", !(await main(other)).includes("For the owner alone."));
  await other.visit("/ada", {});
  await other.follow(button("Log out"), {});
  checks.check("logout without JavaScript", await other.exists(`header ${link("Log in")}`));
  await other.close();

  // A token that has ended is still in the cookie.
  const ended = await browser.tab();
  const [name, flags] = [cookie?.name ?? "", { url, httpOnly: true }];
  await ended.session.send("Network.setCookie", { name, value: `${ownerToken.slice(0, -4)}AAAA`, ...flags });
  // It counts as none: what is public stays in sight, and a login is offered.
  await ended.visit("/dev/nocturne", { axe: false });
  await ended.follow(`header ${link("Log in")}`, { axe: false });
  await ended.page.type(role("textbox", "Token"), ownerToken);
  await ended.press("Enter", { axe: false });
  await ended.visit("/dev/secret", { axe: false, texts: ["For the owner alone."] });
  await ended.close();

  // A form of another site, as a browser sends it.
  const form = { method: "POST", body: new URLSearchParams({ token: ownerToken, next: "/" }) };
  for (const path of ["/login", "/logout"]) {
    for (const headers of [{ Origin: "https://elsewhere.example" }, { "Sec-Fetch-Site": "cross-site", Origin: "null" }]) {
      const answer = await ask(path, { ...form, headers });
      checks.check(`${path}: takes no form of another site`, answer.status >= 400 && !answer.headers.has("set-cookie"), String(answer.status));
    }
  }
  for (const next of ["//elsewhere.example", "https://elsewhere.example", "/\\elsewhere.example"]) {
    const answer = await ask("/login", { ...form, body: new URLSearchParams({ token: ownerToken, next }) });
    checks.equal(`/login: does not lead to ${next}`, answer.headers.get("location"), "/");
  }
}

// ---- Answers ---------------------------------------------------------------------------------------------------------

async function answers(browser, state) {
  const ofPage = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "content-type": "text/html; charset=utf-8",
  };
  for (const path of ["/", "/dev", "/dev/nocturne", "/login", "/dev/nocturne/commits/main", "/dev/nowhere"]) {
    const answer = await ask(path);
    for (const [name, value] of Object.entries(ofPage)) checks.equal(`${path}: ${name}`, answer.headers.get(name), value);
    const policy = answer.headers.get("content-security-policy") ?? "";
    checks.check(`${path}: a strict policy`, policy.includes("default-src 'none'") && !/unsafe|data:|https?:|\*/.test(policy), policy);
  }
  for (const path of ["/", "/dev", "/dev/nocturne", "/dev/nocturne/stats", `/dev/nocturne/commit/${state.code.head}`]) {
    const etag = (await ask(path)).headers.get("etag");
    checks.check(`${path}: has a version`, Boolean(etag));
    checks.equal(`${path}: is not sent twice`, (await ask(path, { headers: { "If-None-Match": etag } })).status, 304);
  }
  for (const path of ["/", "/dev", "/dev/nocturne", "/dev/nocturne/commits/main", "/dev/nocturne/stats", "/dev/nowhere"]) {
    const json = await ask(path, { headers: { Accept: "application/json" } });
    checks.equal(`${path}: in JSON, for those who ask so`, json.headers.get("content-type"), "application/json");
    checks.check(`${path}: and JSON it is`, typeof (await json.json().catch(() => undefined)) === "object");
  }
  const refs = await ask("/dev/nocturne/refs", { headers: { Accept: "application/json" } });
  checks.equal("clients get their refs as before", (await refs.json()).branch_heads?.main, state.code.head);

  const text = "text/plain; charset=utf-8";
  const bytes = "application/octet-stream";
  const tab = await browser.tab();
  for (const [file, type] of [
    ["page.html", text], ["art/run.svg", text], ["README.md", text], ["code/run.js", text], ["bin/data.bin", bytes],
    ["art/cover.png", "image/png"], ["sound/beep.wav", "audio/wav"], ["sound/lead.mid", "audio/midi"],
    [`${SCRIPT}/${IMAGE}.txt`, text],
  ]) {
    const path = `/dev/hostile/raw/main/${pathOf(file)}`;
    const answer = await ask(path);
    checks.equal(`raw ${file}: status`, answer.status, 200);
    checks.equal(`raw ${file}: type`, answer.headers.get("content-type"), type);
    checks.equal(`raw ${file}: nosniff`, answer.headers.get("x-content-type-options"), "nosniff");
    const policy = answer.headers.get("content-security-policy") ?? "";
    checks.check(`raw ${file}: runs nothing`, /default-src 'none'.*sandbox/.test(policy) && !policy.includes("allow-"), policy);
    // A browser that is led there shows it, or offers to save it. What it says of the policy is of its own viewers.
    await tab.page.goto(url + path).catch((error) => checks.check(`raw ${file}: opens`, /ERR_ABORTED/.test(error.message), error.message));
    tab.faults(`raw ${file}`, (fault) => !/Content.Security.Policy/.test(fault));
  }
  const image = await tab.visit("/dev/hostile/blob/main/art/cover.png", { axe: false }).then(() => tab.page.$eval("main img", (image) => [image.complete, image.naturalWidth, image.naturalHeight]));
  checks.equal("an image is shown", image, [true, 48, 64]);
  await tab.visit("/dev/hostile/blob/main/sound/beep.wav", { axe: false });
  await tab.page.waitForFunction(() => document.querySelector("audio").readyState >= 1).catch(() => {});
  checks.check("audio is played on its page", (await tab.page.$eval("audio", (audio) => audio.duration)) > 0.05);
  await tab.close();
  const fixed = await ask(`/dev/nocturne/blob/${state.code.head}/README.md`);
  checks.check("a file of a commit is good for a year", /immutable/.test(fixed.headers.get("cache-control")), fixed.headers.get("cache-control"));
  const assets = (await (await ask("/")).text()).match(/\/-\/[a-z]+\.[0-9a-f]+\.(css|js)/g);
  let size = 0;
  for (const asset of assets) size += (await (await ask(asset)).arrayBuffer()).byteLength;
  checks.check("style sheet and script are under 30 KB", assets.length === 2 && size < 30_000, `${size} bytes`);
}

/** Some of each kind of link that pages had lead somewhere. */
async function followLinks() {
  const kinds = new Map();
  for (const link of links) {
    const { origin, pathname, search } = new URL(link);
    if (origin !== url) continue;
    const path = pathname + search;
    const kind = path.replaceAll(/[0-9a-f]{64}/g, "{id}").replaceAll(/[0-9]+/g, "{number}").replace(/after=[^&]*/, "after=");
    const known = kinds.get(kind) ?? new Set();
    if (known.size < LINKS_OF_A_KIND) kinds.set(kind, known.add(path));
  }
  const left = [...kinds.values()].flatMap((paths) => [...paths]);
  await Promise.all(Array.from({ length: TABS }, async () => {
    for (let path = left.shift(); path; path = left.shift()) {
      const answer = await ask(path);
      await answer.arrayBuffer();
      checks.equal(`the link ${path}`, answer.status, 200);
    }
  }));
}

// ---- All of it -------------------------------------------------------------------------------------------------------

/** A part that fails in another way than by a check is a failure too, and keeps no other from running. */
async function part(name, run) {
  const started = performance.now();
  try {
    await run();
  } catch (error) {
    checks.check(name, false, error.stack);
  }
  if (process.env.PAGES_TIMES) console.error(`${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

const [state, browser] = await Promise.all([
  makeState(url, ownerToken, otherToken, samples),
  Browser.start(url, checks, screenshots),
]);
try {
  await Promise.all([
    part("every page", () => everyPage(browser, state)),
    (async () => {
      await part("clicking", () => clickThrough(browser, state, true));
      await part("clicking without JavaScript", () => clickThrough(browser, state, false));
      await part("lists", () => lists(browser));
      await part("player", () => player(browser));
      await part("copying", () => copying(browser));
      await part("keyboard", () => keyboard(browser, state));
      await part("logging in", () => loggingIn(browser, state));
      await part("answers", () => answers(browser, state));
    })(),
    part("the long history", () => longHistory(browser, state)),
  ]);
  await part("links", followLinks);
} finally {
  await browser.close();
}
for (const failure of checks.failures) console.log(`FAILED  ${failure}`);
const seconds = ((performance.now() - begin) / 1000).toFixed(0);
if (checks.failures.length > 0) {
  console.log(`try-pages: ${checks.failures.length} failures, ${checks.passed} checks passed, in ${seconds} s`);
  process.exit(1);
}
console.log(`try-pages: ${checks.passed} checks passed`);
