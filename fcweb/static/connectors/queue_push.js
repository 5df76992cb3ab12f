// Queue pages: a socket says that queues changed, the page asks for its own part again; never while somebody is in it.
const part = document.querySelector("[data-push]");
const SHORTEST = 700; // ms between two refreshes, however much happens
let newest = ""; // what the server has
let socket = null;
let retry = 250;
let isForbidden = false;
let askedAt = 0;

const shown = () => part.querySelector("[data-seen]")?.dataset.seen ?? "";
const isBehind = () => newest !== "" && newest !== shown();

function show() {
  const box = part.querySelector("#push-state");
  if (!box) return;
  const isOpen = socket?.readyState === WebSocket.OPEN;
  const state = !isOpen ? "reconnecting" : isBehind() && isInUse(part) ? "paused" : "live";
  box.dataset.state = state;
  const text = { live: box.dataset.live, paused: box.dataset.waiting, reconnecting: box.dataset.reconnecting }[state];
  if (box.textContent !== text) box.textContent = text;
}

function refresh() {
  if (isBehind() && !document.hidden && !isInUse(part) && performance.now() - askedAt > SHORTEST) {
    askedAt = performance.now();
    htmx.trigger(part, "pushed");
  }
  show();
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/ws/queues/`);
  socket.addEventListener("open", () => {
    retry = 250;
    show();
  });
  socket.addEventListener("message", (event) => {
    newest = JSON.parse(event.data).seen;
    refresh();
  });
  socket.addEventListener("close", (event) => {
    isForbidden ||= event.code === 4403;
    show();
    if (isForbidden) return;
    setTimeout(connect, retry * (0.75 + Math.random() / 2)); // many tabs do not come back in one instant
    retry = Math.min(retry * 2, 5000);
  });
}

part.addEventListener("htmx:afterSettle", show);
setInterval(refresh, 250);
connect();
