// Whoever takes a case by its key types on: what is pressed until the page with the decision has come is kept for it.
const STORE = "review-ahead";
const WAIT_MS = 3000; // a page that takes longer finds no keys: whoever waited that long has looked up

let since = 0;
let keys = [];

// Begin: the page of the case that is being taken is on its way.
export function beginAhead() {
  since = Date.now();
  keys = [];
}

// Returns whether the key was kept; it must do nothing on the page that is about to go.
export function keepAhead(key) {
  if (!since || Date.now() - since > WAIT_MS) return false;
  keys.push(key);
  try {
    sessionStorage.setItem(STORE, JSON.stringify({ path: location.pathname, since, keys }));
  } catch {
    // Storage is blocked: what was typed too early is lost.
  }
  return true;
}

// The keys that were pressed for this page before it came, once.
export function takeAhead() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(STORE));
    sessionStorage.removeItem(STORE);
    if (kept?.path === location.pathname && Date.now() - kept.since < WAIT_MS) return kept.keys;
  } catch {
    // Storage is blocked, or holds what is not ours.
  }
  return [];
}
