// Behaviour of the shell: keys, menus, copy buttons, row selection, quiet refresh. Texts come from the templates.
"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
const isTyping = (element) => element.closest("input, textarea, select, [contenteditable]") !== null;

// ---- menu of the narrow screen ----
function setRail(open) {
  const rail = $("#rail");
  const button = $("[data-rail-toggle]");
  if (!rail || !button) return;
  rail.classList.toggle("is-open", open);
  button.setAttribute("aria-expanded", String(open));
  if (open) $("a[href]", rail)?.focus();
}

// ---- keys ----
function rows() {
  return [...document.querySelectorAll(".table tbody tr")].filter(
    (row) => row.offsetParent !== null && $("a[href], [data-open]", row),
  );
}

function moveRow(step) {
  const all = rows();
  if (!all.length) return;
  const now = all.findIndex((row) => row.contains(document.activeElement));
  const next = now < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, now + step));
  const target = $("[data-open], a[href]", all[next]);
  target.focus({ preventScroll: true });
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  all[next].scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
}

function toggleSelection() {
  const row = document.activeElement?.closest?.(".table tbody tr");
  const box = row && $("input[type=checkbox]", row);
  if (box) box.click();
}

// The queue of the row that has the focus; else the only one that can be retried on this page.
function retry() {
  const row = document.activeElement?.closest?.(".table tbody tr");
  const buttons = (row ?? document).querySelectorAll("[data-retry]");
  if (buttons.length === 1) buttons[0].click();
}

const keys = {
  "/": () => $("#search")?.focus(),
  "?": () => $("#keys")?.showModal(),
  j: () => moveRow(1),
  k: () => moveRow(-1),
  x: toggleSelection,
  r: retry,
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const rail = $("#rail.is-open");
    if (rail) {
      setRail(false);
      $("[data-rail-toggle]")?.focus();
    }
    document.querySelectorAll("details.menu[open]").forEach((menu) => {
      menu.open = false;
      $("summary", menu)?.focus();
    });
    if (event.target.id === "search") event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || $("dialog[open]")) return;
  const action = keys[event.key];
  if (action) {
    event.preventDefault();
    action();
  }
});

// ---- clicks ----
async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Plain HTTP on a local network has no clipboard interface.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function say(text) {
  const status = $("#status");
  if (status) status.textContent = text;
}

document.addEventListener("click", (event) => {
  const target = event.target;
  const copy = target.closest("[data-copy]");
  if (copy) {
    copyText(copy.dataset.copy).then(() => {
      copy.classList.add("is-done");
      say(copy.dataset.copied ?? "");
      setTimeout(() => copy.classList.remove("is-done"), 1600);
    });
    return;
  }
  if (target.closest("[data-rail-toggle]")) {
    setRail(!$("#rail").classList.contains("is-open"));
    return;
  }
  if ($("#rail.is-open") && !target.closest("#rail")) setRail(false);
  const dialog = target.closest("[data-dialog]");
  if (dialog) {
    dialog.closest("details.menu")?.removeAttribute("open");
    document.getElementById(dialog.dataset.dialog)?.showModal();
    return;
  }
  if (target.closest("[data-close]")) {
    target.closest("dialog")?.close();
    const panel = target.closest(".side-panel");
    if (panel) panel.hidden = true;
    return;
  }
  const density = target.closest("[data-density-choice]");
  if (density) setDensity(density.dataset.densityChoice);
  document.querySelectorAll("details.menu[open]").forEach((menu) => {
    if (!menu.contains(target)) menu.open = false;
  });
});

// ---- a form is sent once: the second click of a double click would do it again, or say that there is nothing to do ----
const SENT_FOR = 10_000; // ms; after that the answer is lost, and one may try again
let sentAt = new WeakMap();

document.addEventListener("submit", (event) => {
  if (event.target.method !== "post" || event.defaultPrevented) return;
  const before = sentAt.get(event.target);
  if (before !== undefined && performance.now() - before < SENT_FOR) event.preventDefault();
  else sentAt.set(event.target, performance.now());
});
addEventListener("pageshow", () => {
  sentAt = new WeakMap(); // a page that came back from the browser's memory
});

// ---- row height, remembered ----
function setDensity(density) {
  document.documentElement.dataset.density = density;
  try {
    localStorage.setItem("density", density);
  } catch {
    // Storage is switched off: the choice lasts until the next page.
  }
  showDensity();
}

function showDensity() {
  const now = document.documentElement.dataset.density ?? "compact";
  document.querySelectorAll("[data-density-choice]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.densityChoice === now));
  });
}

document.addEventListener("change", (event) => {
  const box = event.target.closest(".table input[type=checkbox]");
  box?.closest("tbody tr")?.classList.toggle("is-selected", box.checked);
});

// ---- parts that refresh themselves wait while somebody is using them ----
function isInUse(element) {
  const selection = document.getSelection();
  return (
    element.matches(":hover") ||
    element.contains(document.activeElement) ||
    $("details[open], input:checked", element) !== null ||
    [...element.querySelectorAll("input:not([type=checkbox], [type=hidden])")].some((i) => i.value !== i.defaultValue) ||
    (selection !== null && !selection.isCollapsed && element.contains(selection.anchorNode))
  );
}

document.addEventListener("htmx:beforeRequest", (event) => {
  const element = event.detail.elt;
  if (element.matches("[data-refresh]") && (document.hidden || isInUse(element))) event.preventDefault();
});

// ---- a part that could not be fetched: what stands here may be old ----
function showFailure(failed) {
  const banner = $("#request-failed");
  if (banner) banner.hidden = !failed;
}
for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, (event) => showFailure(event.detail.xhr?.status !== 401)); // 401: on the way to the sign-in page
}
document.addEventListener("htmx:afterSwap", () => showFailure(false));

showDensity();
