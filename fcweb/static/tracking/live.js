// Live page: rows by WebSocket, pause with a count, filter while running, gap filled after a reconnect.
const root = document.getElementById("live");
const body = document.getElementById("rows");
const stateBox = document.getElementById("live-state");
const notice = document.getElementById("live-notice");
const pauseButton = document.getElementById("live-pause");
const field = document.getElementById("live-q");
const form = document.getElementById("live-filter");
const CAP = 1000;
const texts = root.dataset;

let last = Number(texts.last) || 0;
let socket = null;
let retry = 250;
let paused = false;
let held = [];
const seen = new Set([...body.rows].map((row) => row.dataset.log));

function show(state) {
  const word = { live: texts.live, paused: texts.paused, reconnecting: texts.reconnecting, "catching-up": texts.catchingUp }[state];
  stateBox.dataset.state = state;
  stateBox.textContent = held.length ? `${word} +${held.length}` : word;
}

function current() {
  if (paused) return "paused";
  return socket && socket.readyState === WebSocket.OPEN ? "live" : "reconnecting";
}

// Nothing moves under the cursor: rows wait while somebody points at, selects or has scrolled away from the top.
function isBusy() {
  const selection = getSelection();
  return (
    paused || body.matches(":hover") || body.contains(document.activeElement) ||
    (selection && !selection.isCollapsed && body.contains(selection.anchorNode)) || scrollY > body.getBoundingClientRect().top + scrollY + 200
  );
}

function insert(rows) {
  document.getElementById("live-empty")?.remove();
  for (const row of rows) body.prepend(row);
  while (body.rows.length > CAP) {
    seen.delete(body.rows[body.rows.length - 1].dataset.log);
    body.deleteRow(-1);
    tell(texts.capped);
  }
}

function flush() {
  if (held.length && !isBusy()) {
    insert(held);
    held = [];
  }
  show(current());
}

function tell(text) {
  notice.textContent = `${text} `;
  const link = document.createElement("a");
  link.href = `${texts.search}?${new URLSearchParams({ q: field.value })}`;
  link.textContent = texts.search;
  notice.append(link);
  notice.hidden = false;
}

function take(frame) {
  if (frame.type === "rows") {
    const holder = document.createElement("template");
    holder.innerHTML = `<table><tbody>${frame.html}</tbody></table>`;
    const rows = [...holder.content.querySelectorAll("tr")].filter((row) => !seen.has(row.dataset.log)).reverse();
    rows.forEach((row) => seen.add(row.dataset.log));
    last = Math.max(last, frame.last);
    held.push(...rows);
    flush();
  } else if (frame.type === "gap") {
    last = Math.max(last, frame.to);
    tell(texts.gap);
  } else if (frame.type === "state") {
    last = Math.max(last, frame.last);
    show(current());
  }
}

function ask() {
  socket.send(JSON.stringify({ q: field.value, last, language: texts.language }));
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/ws/live/`);
  socket.addEventListener("open", () => {
    retry = 250;
    show("catching-up");
    ask();
  });
  socket.addEventListener("message", (event) => take(JSON.parse(event.data)));
  socket.addEventListener("close", (event) => {
    if (event.code === 4403) {
      tell(texts.forbidden);
      return;
    }
    show("reconnecting");
    setTimeout(connect, retry);
    retry = Math.min(retry * 2, 5000);
  });
}

function setPaused(value) {
  paused = value;
  pauseButton.setAttribute("aria-pressed", String(paused));
  pauseButton.textContent = paused ? pauseButton.dataset.resume : pauseButton.dataset.pause;
  flush();
}

pauseButton.addEventListener("click", () => setPaused(!paused));
document.addEventListener("keydown", (event) => {
  if (event.key === " " && !event.target.closest("input, textarea, select, button, a, summary")) {
    event.preventDefault();
    setPaused(!paused);
  }
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const url = new URL(location.href);
  url.searchParams.set("q", field.value);
  location.assign(url);
});
setInterval(flush, 400);
connect();
