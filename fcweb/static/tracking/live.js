// Live page: rows by WebSocket, pause with a count, filter while running, gap filled after a reconnect, side panel.
const root = document.getElementById("live");
const body = document.getElementById("rows");
const stateBox = document.getElementById("live-state");
const rateBox = document.getElementById("live-rate");
const notice = document.getElementById("live-notice");
const wrong = document.getElementById("live-wrong");
const empty = document.getElementById("live-empty");
const unmatched = document.getElementById("live-unmatched");
const pauseButton = document.getElementById("live-pause");
const searchLink = document.getElementById("live-search");
const field = document.getElementById("live-q");
const form = document.getElementById("live-filter");
const panel = document.getElementById("side-panel");
const panelBody = document.getElementById("side-panel-body");
const CAP = 1000; // rows in the page
const HELD = 5000; // rows waiting while paused; beyond that only their number is kept
const REMEMBERED = 20000; // log ids known, so that a row sent twice is shown once
const RATE_SECONDS = 10;
const texts = root.dataset;

let last = Number(texts.last) || 0;
let filter = field.value;
let socket = null;
let retry = 250;
let isForbidden = false;
let isPaused = false;
let held = [];
let dropped = 0;
let arrivals = [];
let opened = null; // row whose message the panel shows
let request = null;
const seen = new Set([...body.rows].map((row) => row.dataset.log));

// ---- what is said ----
function show() {
  const waiting = held.length + dropped;
  const state = isPaused ? "paused" : socket?.readyState === WebSocket.OPEN ? "live" : "reconnecting";
  const count = waiting ? ` +${waiting.toLocaleString(texts.language)}` : "";
  stateBox.dataset.state = state;
  const text = `${texts[state]}${count}`;
  if (stateBox.textContent !== text) stateBox.textContent = text;
}

function showRate() {
  const since = performance.now() - RATE_SECONDS * 1000;
  arrivals = arrivals.filter(([at]) => at > since);
  const rate = arrivals.reduce((sum, [, count]) => sum + count, 0) / RATE_SECONDS;
  const text = `${rate.toLocaleString(texts.language, { maximumFractionDigits: 1 })} ${texts.rate}`;
  if (rateBox.textContent !== text) rateBox.textContent = text;
}

function searchUrl() {
  return `${texts.search}?${new URLSearchParams(filter ? { list: "event", q: filter } : { list: "event" })}`;
}

function tell(text, isLinked = true) {
  notice.textContent = `${text} `;
  if (isLinked) {
    const link = document.createElement("a");
    link.href = searchUrl();
    link.textContent = texts.openSearch;
    notice.append(link);
  }
  notice.hidden = false;
}

// ---- rows: nothing moves under the cursor ----
function isBusy() {
  const selection = getSelection();
  return (
    isPaused || body.matches(":hover") || body.contains(document.activeElement) ||
    (selection && !selection.isCollapsed && body.contains(selection.anchorNode)) ||
    body.getBoundingClientRect().top < 0
  );
}

function showEmpty() {
  empty.hidden = body.rows.length > 0 || filter !== "";
  unmatched.hidden = body.rows.length > 0 || filter === "";
}

function parseRows(html) {
  const holder = document.createElement("template");
  holder.innerHTML = `<table><tbody>${html}</tbody></table>`;
  return [...holder.content.querySelectorAll("tr")];
}

function flush() {
  if (held.length + dropped && !isBusy()) {
    if (dropped) tell(texts.gap);
    dropped = 0;
    for (const row of held.splice(0)) body.prepend(row);
    showEmpty();
    if (body.rows.length > CAP) {
      while (body.rows.length > CAP) body.deleteRow(-1);
      tell(texts.capped);
    }
  }
  show();
}

function hold(rows) {
  held.push(...rows);
  if (held.length > HELD) dropped += held.splice(0, held.length - HELD).length;
}

function remember(row) {
  seen.add(row.dataset.log);
  if (seen.size > REMEMBERED) seen.delete(seen.values().next().value);
}

// ---- frames ----
const frames = {
  rows(frame) {
    const rows = parseRows(frame.html).filter((row) => !seen.has(row.dataset.log)).reverse();
    rows.forEach(remember);
    last = Math.max(last, frame.last);
    arrivals.push([performance.now(), rows.length]);
    hold(rows);
    flush();
  },
  filter(frame) {
    held = [];
    dropped = 0;
    arrivals = [];
    last = Math.max(last, frame.last);
    const rows = parseRows(frame.html);
    rows.forEach((row) => row.classList.remove("is-new"));
    seen.clear();
    rows.forEach(remember);
    body.replaceChildren(...rows);
    showEmpty();
    notice.hidden = true;
    wrong.textContent = frame.wrong.length ? `${texts.wrong} ${frame.wrong.join(" ")}` : "";
    wrong.hidden = !frame.wrong.length;
    show();
  },
  gap(frame) {
    last = Math.max(last, frame.to);
    tell(texts.gap);
  },
  state(frame) {
    last = Math.max(last, frame.last);
    show();
  },
};

// ---- socket ----
function ask() {
  if (socket?.readyState === WebSocket.OPEN) {
    socket.send(JSON.stringify({ q: filter, last, language: texts.language }));
  }
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/ws/live/`);
  let isOpen = false;
  socket.addEventListener("open", () => {
    isOpen = true;
    retry = 250;
    stateBox.dataset.state = "catching-up";
    stateBox.textContent = texts.catchingUp;
    ask();
  });
  socket.addEventListener("message", (event) => {
    const frame = JSON.parse(event.data);
    frames[frame.type]?.(frame);
  });
  socket.addEventListener("close", (event) => {
    if (event.code === 4403) {
      isForbidden = true;
      tell(texts.forbidden, false);
    }
    show();
    if (isForbidden) return;
    setTimeout(connect, retry * (0.75 + Math.random() / 2)); // many tabs do not come back in one instant
    retry = Math.min(retry * 2, 5000);
  });
}

// ---- filter, in the URL without a reload ----
function setFilter(text, { isPushed }) {
  if (text === filter) return;
  filter = text;
  field.value = text;
  searchLink.href = searchUrl();
  const url = new URL(location.href);
  if (text) url.searchParams.set("q", text);
  else url.searchParams.delete("q");
  if (isPushed) history.pushState(null, "", url);
  ask();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  setFilter(field.value.trim(), { isPushed: true });
});
window.addEventListener("popstate", () => {
  setFilter(new URL(location.href).searchParams.get("q") ?? "", { isPushed: false });
});

// ---- pause ----
function setPaused(value) {
  isPaused = value;
  pauseButton.setAttribute("aria-pressed", String(isPaused));
  pauseButton.textContent = isPaused ? pauseButton.dataset.resume : pauseButton.dataset.pause;
  flush();
}
pauseButton.addEventListener("click", () => setPaused(!isPaused));

// ---- message in the side panel ----
async function openMessage(link) {
  request?.abort();
  request = new AbortController();
  opened?.classList.remove("is-current");
  opened = link.closest("tr");
  opened.classList.add("is-current");
  try {
    const answer = await fetch(link.href, { headers: { "HX-Request": "true" }, signal: request.signal });
    if (answer.status === 401) location.reload(); // the session ended: to the sign-in page
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    panelBody.innerHTML = await answer.text();
    htmx.process(panelBody);
  } catch (error) {
    if (error.name === "AbortError") return;
    panelBody.textContent = texts.panelFailed;
  }
  panel.hidden = false;
  panel.focus({ preventScroll: true }); // the rows go on when nobody is in them
}

function closePanel() {
  if (panel.hidden) return;
  panel.hidden = true;
  opened?.querySelector("[data-open]")?.focus({ preventScroll: true });
}

body.addEventListener("click", (event) => {
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.target.closest("summary, details, button, time") || !getSelection().isCollapsed) return;
  const link = event.target.closest("tr")?.querySelector("[data-open]");
  if (!link) return;
  event.preventDefault();
  openMessage(link);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") closePanel();
  if (event.target.closest("input, textarea, select, button, summary, [contenteditable]")) return;
  if (event.key === " ") {
    event.preventDefault();
    setPaused(!isPaused);
  } else if (event.key === "r") {
    document.activeElement?.blur();
    if (isPaused) setPaused(false);
    scrollTo({ top: 0 });
    flush();
  }
});

setInterval(flush, 400);
setInterval(showRate, 1000);
connect();
