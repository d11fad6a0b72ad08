// Single keys of the list of analyses. KEYS is what a help sheet shows.
export const KEYS = [
  { keys: ["j"], does: "Next analysis" },
  { keys: ["k"], does: "Previous analysis" },
  { keys: ["Enter"], does: "Open it" },
  { keys: ["x"], does: "Choose it, or no longer" },
  { keys: ["Shift", "x"], does: "Choose all from the last chosen one to here" },
  { keys: ["/"], does: "Search" },
  { keys: ["e"], does: "Export what is chosen" },
  { keys: ["u"], does: "Undo the deletion" },
  { keys: ["g", "a"], does: "Go to analyses" },
  { keys: ["g", "r"], does: "Go to review" },
  { keys: ["g", "d"], does: "Go to the documentation of the API" },
];
const TWO_KEYS_MS = 1500;
const PLACES = { a: ".site-nav a[href='/']", r: ".site-nav a[href^='/review']", d: ".site-nav [data-go=d], .site-nav a[href='/v1/docs/']" };

export function init(root) {
  const list = root.querySelector("[data-list]");
  if (!list) return;
  let goUntil = 0;
  const does = { j: () => move(list, 1), k: () => move(list, -1), x: () => choose(list, false), X: () => choose(list, true) };
  const presses = { "/": "[data-search]", e: "[data-export]", u: "[data-undo] button" };

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    if (isTyping(event.target) || root.querySelector("dialog[open]")) return;
    const goes = Date.now() < goUntil && PLACES[event.key];
    goUntil = event.key === "g" ? Date.now() + TWO_KEYS_MS : 0;
    const done = goes ? press(root, goes) : does[event.key] ? does[event.key]() : presses[event.key] && press(list, presses[event.key]);
    if (done) event.preventDefault();
  });
}

function isTyping(element) {
  if (element.closest("textarea, select, [contenteditable]")) return true;
  const input = element.closest("input");
  return Boolean(input) && !["checkbox", "radio", "button", "submit"].includes(input.type);
}

function press(root, selector) {
  const element = root.querySelector(selector);
  if (!element || element.closest("[hidden]")) return false;
  if (element.matches("input")) element.focus();
  else element.click();
  return true;
}

function move(list, step) {
  const links = [...list.querySelectorAll("[data-row-link]")];
  if (links.length === 0) return false;
  const row = document.activeElement?.closest("tr");
  const here = links.findIndex((link) => row?.contains(link));
  const next = here < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(Math.max(here + step, 0), links.length - 1);
  links[next].focus();
  links[next].scrollIntoView({ block: "nearest" });
  return true;
}

function choose(list, isRange) {
  const box = document.activeElement?.closest("tr")?.querySelector("[data-choose]");
  if (!box || !list.contains(box)) return false;
  const held = document.activeElement;
  box.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, shiftKey: isRange }));
  held.focus();
  return true;
}
