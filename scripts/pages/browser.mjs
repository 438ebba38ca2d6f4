// A headless Chromium whose every page is looked at: what it logs, what it asks for, and how it is built.

import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

// The packages lie under target/, not beside this file.
const require = createRequire(`${process.env.PAGES_PACKAGES}/package.json`);
const puppeteer = require("puppeteer-core").default ?? require("puppeteer-core");
const axe = require("axe-core");

export const WIDE = { width: 1280, height: 800 };
export const NARROW = { width: 360, height: 740 };
/** Pixels of a screenshot from top to bottom, at most. */
const TALLEST = { [WIDE.width]: 1_600, [NARROW.width]: 1_800 };
const SCHEMES = ["light", "dark"];
/** Milliseconds that a condition is waited for. */
export const PATIENCE = 10_000;
/** What the clock of a page says in a screenshot: some days after the last commit. */
const SHOWN_TIME = Date.UTC(2026, 11, 4, 12);

/** Counts what was checked, and keeps what failed. */
export class Checks {
  passed = 0;
  failures = [];

  /** `detail` says more of a failure: text, or anything that JSON can write. */
  check(what, isRight, detail) {
    if (isRight) {
      this.passed++;
    } else {
      const more = detail === undefined || typeof detail === "string" ? detail : JSON.stringify(detail);
      this.failures.push(more ? `${what}: ${more}` : what);
    }
    return Boolean(isRight);
  }

  equal(what, found, wanted) {
    return this.check(what, JSON.stringify(found) === JSON.stringify(wanted), `${shown(found)}, not ${shown(wanted)}`);
  }
}

// A value for a message: a page would be too long.
function shown(value) {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

export class Browser {
  constructor(browser, url, checks, screenshots) {
    this.browser = browser;
    this.url = url;
    this.checks = checks;
    this.screenshots = screenshots;
    if (screenshots) mkdirSync(screenshots, { recursive: true });
  }

  static async start(url, checks, screenshots) {
    const browser = await puppeteer.launch({
      executablePath: process.env.CHROMIUM,
      args: [
        // Its sandbox does not start as root.
        ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
        "--disable-dev-shm-usage", "--no-proxy-server", "--mute-audio", "--force-color-profile=srgb", "--font-render-hinting=none",
        // No page leads anywhere but to the hub, and a name that one tries is not looked up.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
      ],
    });
    return new Browser(browser, url, checks, screenshots);
  }

  /** A tab with cookies of its own. */
  async tab({ script = true } = {}) {
    const context = await this.browser.createBrowserContext();
    const page = await context.newPage();
    const tab = new Tab(this, context, page, script);
    await tab.begin();
    return tab;
  }

  close() {
    return this.browser.close();
  }
}

export class Tab {
  #seen = { faults: [], requests: [] };

  constructor(browser, context, page, script) {
    this.browser = browser;
    this.checks = browser.checks;
    this.context = context;
    this.page = page;
    this.script = script;
  }

  async begin() {
    const { page } = this;
    page.setDefaultTimeout(PATIENCE);
    await page.setViewport(WIDE);
    await page.setJavaScriptEnabled(this.script);
    const faults = (fault) => this.#seen.faults.push(fault);
    page.on("console", (message) => {
      if (["error", "warn"].includes(message.type())) faults(`the console says "${message.text()}"`);
    });
    page.on("pageerror", (error) => faults(`a script fails: ${error.message}`));
    page.on("dialog", (dialog) => {
      faults(`what was pushed runs: a dialog says "${dialog.message()}"`);
      dialog.dismiss();
    });
    page.on("popup", () => faults("a window opens"));
    page.on("request", (request) => this.#seen.requests.push(request.url()));
    const session = await page.createCDPSession();
    this.session = session;
    session.on("Audits.issueAdded", ({ issue }) => {
      if (issue.code === "ContentSecurityPolicyIssue") {
        const { violatedDirective, blockedURL, contentSecurityPolicyViolationType } = issue.details.contentSecurityPolicyIssueDetails;
        faults(`a violation of the Content-Security-Policy: ${contentSecurityPolicyViolationType} ${violatedDirective} ${blockedURL ?? ""}`);
      }
    });
    await session.send("Audits.enable");
    await session.send("Browser.setDownloadBehavior", { behavior: "deny", browserContextId: this.context.id });
    // A tab behind others has the focus too.
    await session.send("Emulation.setFocusEmulationEnabled", { enabled: true });
    if (this.browser.screenshots) {
      await page.evaluateOnNewDocument((time) => { Date.now = () => time; }, SHOWN_TIME);
    }
  }

  close() {
    return this.context.close();
  }

  path() {
    const { pathname, search } = new URL(this.page.url());
    return pathname + search;
  }

  /** Goes to a path of the hub, and looks at the page. */
  async visit(path, wanted = {}) {
    const answer = await this.page.goto(this.browser.url + path, { waitUntil: "load" });
    return this.#look(answer, path, wanted);
  }

  /** Clicks what leads to another page, and looks at that. */
  async follow(selector, wanted = {}) {
    const [answer] = await Promise.all([this.page.waitForNavigation({ waitUntil: "load" }), this.click(selector)]);
    return this.#look(answer, `${selector} leads to ${this.path()}`, wanted);
  }

  /** Presses a key that leads to another page, and looks at that. */
  async press(key, wanted = {}) {
    const [answer] = await Promise.all([this.page.waitForNavigation({ waitUntil: "load" }), this.page.keyboard.press(key)]);
    return this.#look(answer, `${key} leads to ${this.path()}`, wanted);
  }

  /** Clicks in the middle of something, as a mouse does: without a script of the page. */
  async click(selector) {
    const handle = (await this.page.$(selector)) ?? (await this.page.waitForSelector(selector));
    // An inline link that is broken over two lines has its middle nowhere: its first piece has one.
    const node = { objectId: handle.remoteObject().objectId };
    await handle.client.send("DOM.scrollIntoViewIfNeeded", node);
    const { quads } = await handle.client.send("DOM.getContentQuads", node);
    if (quads.length === 0) throw new Error(`${selector} is not to be seen on ${this.path()}`);
    const [x1, y1, , , x2, y2] = quads[0];
    await this.page.mouse.click((x1 + x2) / 2, (y1 + y2) / 2);
    await handle.dispose();
  }

  text(selector = "body") {
    return this.page.$eval(selector, (element) => element.innerText);
  }

  exists(selector) {
    return this.page.$(selector).then((handle) => handle !== null);
  }

  async #look(answer, what, { status = 200, name, axe: isChecked = this.script, texts = [], shot = Boolean(name) }) {
    const { checks, page } = this;
    const where = name ? `${name} (${what})` : what;
    // What the browser has already, it is told to be the same.
    const found = answer?.status();
    checks.equal(`${where}: status`, found === 304 ? 200 : found, status);
    // A page for an error is one more thing that the console tells.
    this.faults(where, (fault) => !(status >= 400 && fault.includes(`the server responded with a status of ${status}`)));
    const built = await page.evaluate(structure);
    checks.equal(`${where}: h1`, built.headings, 1);
    checks.check(`${where}: has a title`, built.title.length > 0);
    checks.check(`${where}: what was pushed is no markup`, built.foreign.length === 0, built.foreign.slice(0, 5));
    checks.check(`${where}: nothing hidden is missing a script`, this.script || built.buttons.length === 0, built.buttons);
    for (const text of texts) {
      checks.check(`${where}: says ${JSON.stringify(text)}`, built.text.includes(text), `it says ${JSON.stringify(built.text.slice(0, 300))}`);
    }
    if (isChecked) await this.#checkWidthsAndSchemes(where, name, shot);
    return built;
  }

  /** Nothing was logged, and nothing asked of another host, since this was last called. */
  faults(where, isFault = () => true) {
    const { faults, requests } = this.#seen;
    this.#seen = { faults: [], requests: [] };
    const found = [...new Set(faults)].filter(isFault);
    this.checks.check(`${where}: is quiet`, found.length === 0, found);
    // What a browser draws its own controls with are `data:` URLs, which ask no host.
    const elsewhere = requests.filter((url) => !url.startsWith("data:") && new URL(url).origin !== this.browser.url);
    this.checks.check(`${where}: asks no other host`, elsewhere.length === 0, elsewhere);
  }

  async #checkWidthsAndSchemes(where, name, isShot) {
    const { checks, page } = this;
    await page.evaluate(axe.source);
    const grounds = new Set();
    for (const scheme of SCHEMES) {
      await this.#show(WIDE, scheme);
      grounds.add(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor + getComputedStyle(document.body).backgroundColor));
      if (isShot) await this.#shoot(`${name}-${scheme}`);
      // Of what another scheme changes, axe sees the contrast.
      await this.#checkWithAxe(where, scheme, scheme === "light" ? {} : { runOnly: ["color-contrast"] });
    }
    checks.equal(`${where}: has two schemes`, grounds.size, SCHEMES.length);
    await this.#show(NARROW, "light");
    const { over, cut } = await page.evaluate(wider);
    checks.check(`${where}: scrolls only down at ${NARROW.width} px`, over.length === 0, over);
    checks.check(`${where}: cuts nothing at ${NARROW.width} px`, cut.length === 0, cut);
    if (isShot) await this.#shoot(`${name}-${NARROW.width}`);
    await this.#show(WIDE, "light");
  }

  async #checkWithAxe(where, scheme, options) {
    const violations = await this.page.evaluate(
      async (options) => {
        const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"], ...options });
        return violations.map(({ id, nodes }) => ({
          id, count: nodes.length, html: nodes[0].html.slice(0, 160), summary: nodes[0].failureSummary.replaceAll(/\s+/g, " ").slice(0, 300),
        }));
      },
      options,
    );
    this.checks.check(`${where}: axe (${scheme})`, violations.length === 0);
    for (const { id, count, html, summary } of violations) {
      this.checks.failures.push(`${where}: axe (${scheme}): ${id}, ${count} times, first ${html}: ${summary}`);
    }
  }

  async #show(size, scheme) {
    await this.page.setViewport(size);
    await this.page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  }

  async #shoot(name) {
    const { page } = this;
    if (!this.browser.screenshots) return;
    // What was pushed a moment ago says so, and today is the day of the clock of screenshots.
    await page.evaluate((time) => {
      for (const element of document.querySelectorAll("time[datetime]")) {
        if (performance.timeOrigin - new Date(element.dateTime) < 600_000) element.textContent = "just now";
      }
      const [today, shown] = [performance.timeOrigin, time].map((time) => new Date(time).toISOString().slice(0, 10));
      const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      for (let text = texts.nextNode(); text; text = texts.nextNode()) text.data = text.data.replaceAll(today, shown);
    }, SHOWN_TIME);
    const { width } = page.viewport();
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    const clip = { x: 0, y: 0, width, height: Math.min(height, TALLEST[width]) };
    writeFileSync(`${this.browser.screenshots}/${name}.png`, await page.screenshot({ clip, captureBeyondViewport: true }));
  }
}

/** How a page is built; this runs in it. */
function structure() {
  const foreign = [];
  for (const element of document.querySelectorAll("*")) {
    const name = element.localName;
    const isOwnScript = /^\/-\/app\.[0-9a-f]+\.js$/.test(element.getAttribute("src") ?? "") || element.type === "application/json";
    if (name === "script" && !isOwnScript) foreign.push(element.outerHTML.slice(0, 100));
    if (["iframe", "object", "embed", "base", "style"].includes(name)) foreign.push(element.outerHTML.slice(0, 100));
    for (const { name: attribute, value } of element.attributes) {
      const isRunning = attribute.startsWith("on") || attribute === "style" || attribute === "srcdoc";
      const leads = ["href", "src", "action", "formaction", "xlink:href"].includes(attribute);
      if (isRunning || (leads && /^\s*(javascript|data|vbscript):/i.test(value))) foreign.push(`${name} ${attribute}=${value.slice(0, 100)}`);
    }
  }
  const isSeen = (element) => element.checkVisibility();
  const needsScript = [...document.querySelectorAll("[data-copy], [data-play]")];
  return {
    title: document.title,
    text: document.body.innerText,
    headings: document.querySelectorAll("h1").length,
    buttons: needsScript.filter(isSeen).map((button) => button.textContent),
    // A switcher leads to the same path of another ref, which may have none.
    links: [...document.querySelectorAll("a[href]:not(details.menu a, .skip)")].map((link) => link.href),
    foreign,
  };
}

/** What makes the page wider than its window, and what is cut so that no reader gets to it; this runs in it. */
function wider() {
  const { scrollWidth, clientWidth } = document.documentElement;
  const name = (element) => `${element.localName}.${element.getAttribute("class") ?? ""} "${element.textContent.trim().slice(0, 40)}"`;
  const over = scrollWidth > clientWidth ? [`the page is ${scrollWidth} px wide`] : [];
  const cut = [];
  for (const element of document.querySelectorAll("body *")) {
    if (over.length > 0 && over.length < 6 && element.getBoundingClientRect().right > clientWidth + 0.5) over.push(name(element));
    const { overflowX, textOverflow } = getComputedStyle(element);
    // What is hidden for all, and the drawing of a history, which ends at the tenth lane anyway.
    const isMeant = textOverflow === "ellipsis" || element.closest(".vh, .graph") || element.closest("svg");
    if (overflowX === "hidden" && !isMeant && element.scrollWidth > element.clientWidth + 1) cut.push(name(element));
  }
  return { over, cut };
}
