// Single keys of the list of analyses. KEYS is what the help sheet shows.
import { areKeysOn, isTyping } from "./keys.js";

export const KEYS = [
  { keys: "j", does: "Next analysis" },
  { keys: "k", does: "Previous analysis" },
  { keys: "Enter", does: "Open it" },
  { keys: "x", does: "Choose it, or no longer" },
  { keys: "Shift x", does: "Choose all from the last chosen one to here" },
  { keys: "/", does: "Search" },
  { keys: "e", does: "Export the list" },
  { keys: "u", does: "Undo the deletion" },
];

export function init(root) {
  const list = root.querySelector("[data-list]");
  if (!list) return;
  const does = { j: () => move(list, 1), k: () => move(list, -1), x: () => choose(list, false), X: () => choose(list, true) };
  const presses = { "/": "[data-search]", e: "[data-export]", u: "[data-undo] button" };

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    if (isTyping(event.target) || !areKeysOn() || root.querySelector("dialog[open]")) return;
    const done = does[event.key] ? does[event.key]() : presses[event.key] && press(root, presses[event.key]);
    if (done) event.preventDefault();
  });
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
