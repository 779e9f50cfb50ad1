// The live page: takes over from what the server rendered, without moving it.

import { ago, duration, element, number, put } from "./format.js";
import { follow } from "./live.js";
import { lookUp } from "./lookup.js";
import { draw, Series } from "./plot.js";

const span = 300; // seconds of the plot
const commitsShown = 8;
const $ = (id) => document.getElementById(id);
const isReplica = document.body.dataset.role === "client";

const words = {
  starting: "Starting", serving: "Serving", connecting: "Looking for its source", syncing: "Syncing", in_step: "In step",
  behind: "Source is behind", forked: "Forked", mismatch: "Other kind of log", stale: "Checkpoint is stale", rollback: "Checkpoint went back", failed: "Storage failed",
  paused: "Paused, disk nearly full", damaged: "Stored data is damaged",
};

let status = null; // newest answer
let head = null; // newest state, by event or answer
let heard = 0; // when the newest event came to be, by the process's clock; milliseconds
let skew = 0; // milliseconds that the process's clock is ahead of ours
let committed = 0; // when the newest state came to be, as far as that is known; seconds
const series = new Series(span);

const now = () => (Date.now() + skew) / 1000; // by the process's clock

function showStatus(s) {
  status = s;
  skew = Date.parse(s.time) - Date.now();
  const word = words[s.state] ?? s.state;
  const state = $("state");
  if (state.dataset.state !== s.state) {
    state.dataset.state = s.state;
    document.title = `${word} · proofsync ${isReplica ? "replica" : s.role}`;
  }
  put("state-words", word);
  put("message", s.message);
  document.body.dataset.family = s.family;
  document.body.dataset.encoding = s.encoding;
  if (s.head && Date.parse(s.time) > heard) showHead(s.head, now()); // an answer may be overtaken by an event
  if (isReplica) showSync(s);
}

function showSync(s) {
  put("target", s.target ? number(s.target.end) : "unknown");
  const lag = s.lag;
  put("lag", !lag ? "unknown" : lag.operations ? `${number(lag.operations)} ops` : lag.seconds > 0 ? duration(lag.seconds) : "none");
  if (lag) series.note(now(), lag.operations);
  const sync = s.sync;
  $("sync").hidden = !sync || s.state !== "syncing";
  $("trouble").hidden = !sync?.last_error;
  if (sync) {
    $("progress").value = sync.progress;
    put("percent", `${(Math.floor(sync.progress * 1000) / 10).toFixed(1)}%`);
    put("pace", sync.rate > 0 ? `${number(sync.rate)} ops/s` : "");
    put("eta", sync.stalled ? "stalled" : sync.eta_seconds >= 0 ? `about ${duration(sync.eta_seconds)} left` : "");
    put("trouble", sync.last_error ? `${sync.failures > 1 ? `${sync.failures} failures in a row. ` : ""}${sync.last_error}` : "");
  }
  showSources(s.sources ?? []);
}

let sourcesShown = "";
function showSources(sources) {
  const shown = JSON.stringify(sources.map((s) => ({ ...s, cool_down_seconds: Math.ceil(s.cool_down_seconds) })));
  if (shown === sourcesShown) return;
  sourcesShown = shown;
  $("sources").replaceChildren(...sources.map((s) => {
    let what = s.state.replaceAll("_", "-");
    if (s.state === "cool_down") what = `set aside for ${Math.ceil(s.cool_down_seconds)} s`;
    if (s.following) what += ", pushes";
    const li = element("li", { "data-source": s.state }, element("span", { class: "dot", "aria-hidden": "true" }),
      element("b", {}, s.name), element("span", { class: "what" }, what));
    if (s.last_error) li.append(element("span", { class: "why" }, s.last_error));
    return li;
  }), ...(sources.length ? [] : [element("li", { class: "faint" }, "none")]));
}

// showHead takes a state; an older one than the page has is only taken from a
// status, because a replica may start anew with another history.
function showHead(h, seconds, isEvent = false) {
  if (head && h.size === head.size && h.root === head.root) {
    head = h;
  } else {
    if (isEvent && head && h.size < head.size) return;
    if (head && h.size > head.size && !isReplica) series.add(seconds, (h.size - head.size) / series.step);
    if (isEvent || head) committed = seconds;
    head = h;
    $("copy").hidden = false;
    newCommits();
  }
  put("size", number(h.size));
  put("floor", number(h.floor));
  put("root", h.root);
  put("root-size", number(h.size));
  put("root-floor", number(h.floor));
  put("start", number(h.start));
}

function showEvent(e) {
  const at = Date.parse(e.time) || Date.now() + skew;
  heard = Math.max(heard, at);
  showHead(e, at / 1000, true);
}

let asked = 0, asking = null;
// newCommits reads the table anew, at most once a second.
function newCommits() {
  if (asking) return;
  asking = setTimeout(async () => {
    asked = performance.now();
    try {
      const answer = await fetch(`v1/commits?limit=${commitsShown + 1}`, { cache: "no-store", signal: AbortSignal.timeout(8000) });
      if (answer.ok) showCommits((await answer.json()).commits);
    } catch {
      // Whether anybody answers is said at the top of the page.
    }
    asking = null;
    if (head && commits.length && head.size > commits[0].size) newCommits();
  }, Math.max(0, asked + 1000 - performance.now()));
}

let commits = [];
function showCommits(list) {
  const known = new Set(commits.map((c) => c.root));
  const had = commits.length > 0;
  commits = list;
  if (!list.length) return;
  if (list[0].time) committed = Math.max(committed, Date.parse(list[0].time) / 1000);
  $("commits").replaceChildren(...list.slice(0, commitsShown).map((c, i) => {
    const before = list[i + 1];
    const when = element("td", { class: "n" });
    if (c.time) when.append(element("time", { datetime: c.time, title: c.time }, ago(now() - Date.parse(c.time) / 1000)));
    return element("tr", had && !known.has(c.root) ? { class: "new" } : {},
      element("td", { class: "n" }, number(c.size)), element("td", { class: "n" }, before ? `+${number(c.size - before.size)}` : ""),
      element("td", { class: "r" }, element("code", { title: c.root }, c.root)), when);
  }));
}

// The history of a server is in its commits, as far as their times are known.
async function pastRates() {
  try {
    const answer = await fetch("v1/commits?limit=300", { cache: "no-store", signal: AbortSignal.timeout(8000) });
    const list = answer.ok ? (await answer.json()).commits : [];
    const from = head ? head.size : Infinity; // what came after is counted as it comes
    let before = null;
    for (const c of list.reverse()) {
      if (!c.time || c.size > from) continue; // its operations count for the next one whose time is known
      const t = Date.parse(c.time) / 1000;
      if (before) series.add(t, (c.size - before.size) / series.step);
      else series.began = Math.min(series.began, t);
      before = c;
    }
  } catch {
    // The curve begins with this page, then.
  }
}

function showTimes() {
  if (committed) put("last", ago(now() - committed));
  for (const t of document.querySelectorAll("#commits time")) {
    const text = ago(now() - Date.parse(t.dateTime) / 1000);
    if (t.textContent !== text) t.textContent = text;
  }
}

function showPlot() {
  const points = series.points(now(), isReplica);
  if (!isReplica) {
    const minute = points.filter(([age]) => age > 0 && age <= 60);
    put("summary", `${number(minute.reduce((n, [, v]) => n + v * series.step, 0))} in the last minute`);
  }
  draw($("plot"), points, span, isReplica ? "operations behind" : "operations per second");
}

function showLink(link, reason) {
  const e = $("link");
  const text = {
    live: "Live", polling: "Live by asking: the stream of events is down", lost: `Connection lost, retrying${reason ? ` (${reason})` : ""}`,
  }[link];
  if (e.dataset.link !== link) e.dataset.link = link;
  put("link", text);
}

async function copyRoot() {
  const button = $("copy"), root = $("root");
  try {
    await navigator.clipboard.writeText(root.textContent);
    button.textContent = "Copied";
  } catch {
    // No clipboard without a secure context: the text is selected instead.
    getSelection().selectAllChildren(root);
    button.textContent = document.execCommand?.("copy") ? "Copied" : "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

const page = {
  trusted: () => head && { root: head.root, size: head.size, family: status?.family, encoding: document.body.dataset.encoding },
  refresh: async () => {
    const answer = await fetch("v1/status", { cache: "no-store", signal: AbortSignal.timeout(8000) });
    if (answer.ok) showStatus(await answer.json());
  },
};

let turn = 0;
async function submit(remember) {
  const button = document.querySelector("#lookup button"), place = $("result"), mine = ++turn;
  const key = $("key").value, as = $("as").value;
  if (remember) history.replaceState(null, "", `?${new URLSearchParams({ key, as })}`);
  button.disabled = true;
  const result = element("div");
  await lookUp(result, key, as, page);
  if (mine !== turn) return; // a later question has been asked
  button.disabled = false;
  place.replaceChildren(...result.childNodes);
}

async function start() {
  $("plot-card").hidden = false;
  $("copy").addEventListener("click", copyRoot);
  $("lookup").addEventListener("submit", (e) => {
    e.preventDefault();
    submit(true);
  });
  addEventListener("resize", showPlot);
  series.began = Date.now() / 1000;
  try {
    await page.refresh();
    series.began = now();
  } catch {
    // follow says so, and goes on trying.
  }
  if (!isReplica) await pastRates();
  follow({ status: showStatus, root: showEvent, link: showLink });
  showPlot();
  setInterval(() => {
    showTimes();
    showPlot();
  }, 1000);
  if (new URLSearchParams(location.search).has("key")) submit(false);
  document.body.dataset.started = "true";
}

start();
