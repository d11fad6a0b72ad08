// Keeps a panel true: the socket says that something changed, the page fetches the fragment. Without a socket it asks
// every two seconds for as long as something is under way.
import { isSignIn, isSignedOut, tellSignedOut } from "./signedout.js";

const POLL_MS = 2000;
const GATHER_MS = 150; // several messages in a row cost one fetch
const RETRY_MS = [1000, 2000, 5000, 10000, 30000];
const NOT_SIGNED_IN = 4401; // a socket that was open
const UNANSWERED = 2; // a socket that is refused does not say why: after so many, the page asks

export function init(root, start) {
  for (const panel of root.querySelectorAll("[data-live-panel]")) watch(panel, start);
}

function watch(panel, start) {
  const status = document.querySelector("[data-live-status]");
  noteFolds(panel, new Map());
  const state = { open: false, failures: 0, timer: 0, busy: false, again: false };

  async function refresh() {
    clearTimeout(state.timer);
    state.timer = 0;
    if (isSignedOut()) return;
    if (state.busy) {
      state.again = true;
      return;
    }
    state.busy = true;
    try {
      const query = panel.dataset.liveKind === "list" ? location.search : "";
      const response = await fetch(panel.dataset.liveUrl + query, { headers: { "X-Requested-With": "fetch" } });
      if (isSignIn(response.url)) tellSignedOut();
      else if (response.redirected || response.status === 404) location.reload();
      else if (response.ok) replace(panel, await response.text(), status, start);
    } catch {
      // Offline for a moment: the next round asks again.
    } finally {
      state.busy = false;
      if (state.again) {
        state.again = false;
        soon();
      }
    }
  }

  function soon() {
    if (!state.timer) state.timer = setTimeout(refresh, GATHER_MS);
  }

  function isActive() {
    return panel.querySelector("[data-live-body]")?.dataset.liveActive === "true";
  }

  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${panel.dataset.liveSocket}`);
    socket.addEventListener("open", () => {
      state.open = true;
      soon(); // something may have happened since the page was made, or while the socket was away
      state.failures = 0;
    });
    socket.addEventListener("message", (event) => {
      const change = JSON.parse(event.data);
      document.dispatchEvent(new CustomEvent("job-changed", { detail: change }));
      if (!nudge(panel, change)) soon();
    });
    socket.addEventListener("close", ({ code }) => {
      state.open = false;
      if (code === NOT_SIGNED_IN) tellSignedOut();
      if (isSignedOut()) {
        document.addEventListener("signed-in", connect, { once: true });
        return;
      }
      if (state.failures === UNANSWERED) refresh();
      const wait = RETRY_MS[Math.min(state.failures, RETRY_MS.length - 1)];
      state.failures += 1;
      setTimeout(connect, wait);
    });
  }

  panel.addEventListener("refresh-now", refresh);
  document.addEventListener("signed-in", refresh);
  if (panel.dataset.liveKind === "list" || isActive()) connect();
  setInterval(() => {
    if (!state.open && isActive() && !document.hidden) refresh();
  }, POLL_MS);
}

// A step forward only moves the bar, and one of a row that is on another page not even that; anything else is worth a
// fetch.
function nudge(panel, change) {
  const row = panel.dataset.liveKind === "list" ? panel.querySelector(`[data-job="${change.job}"]`) : panel;
  if (!row && change.status === "running" && change.percent > 0) return true;
  const bar = row?.querySelector("[data-live-progress]");
  if (!bar || change.status !== "running" || row.dataset.stage !== change.stage) {
    if (row) row.dataset.stage = change.stage || "";
    return false;
  }
  bar.value = change.percent;
  const number = row.querySelector("[data-live-percent]");
  if (number) number.textContent = `${change.percent}\u00a0%`;
  return true;
}

function replace(panel, html, status, start) {
  const held = panel.contains(document.activeElement) ? focusKey(document.activeElement) : "";
  const changed = changedFolds(panel);
  panel.innerHTML = html;
  start(panel);
  noteFolds(panel, changed);
  if (held) panel.querySelector(held)?.focus();
  const news = panel.querySelector("[data-live-news]")?.dataset.liveNews || "";
  if (status && news && status.textContent !== news) status.textContent = news;
}

// What somebody opened or closed stays so; all else begins as the page ships it.
const begun = new WeakMap();

function changedFolds(panel) {
  return new Map(folds(panel).filter(([, fold]) => begun.get(fold) !== fold.open).map(([key, fold]) => [key, fold.open]));
}

function noteFolds(panel, changed) {
  for (const [key, fold] of folds(panel)) {
    begun.set(fold, fold.open);
    fold.open = changed.get(key) ?? fold.open;
  }
}

// A fold is known by its words and, among folds of the same words, by its place; numbers in them may have changed.
function folds(panel) {
  const seen = {};
  return [...panel.querySelectorAll("details")].map((fold) => {
    const words = fold.querySelector("summary").textContent.replace(/[\d,.]+/g, "").trim();
    seen[words] = (seen[words] || 0) + 1;
    return [`${words} ${seen[words]}`, fold];
  });
}

function focusKey(element) {
  if (element.id) return `#${CSS.escape(element.id)}`;
  const href = element.getAttribute("href");
  if (!href) return "";
  const page = CSS.escape(href.split("?")[0]); // the same page under other filters is still the one that was left
  return `a[href="${CSS.escape(href)}"], a[href="${page}"], a[href^="${page}\\?"]`;
}
