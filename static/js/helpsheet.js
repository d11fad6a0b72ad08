// The sheet of keys. A page module that exports KEYS, a list of { keys, does, when? }, is found by itself; `when` is a
// selector of what must be on the page for the key to do anything.
import { KEYS as ownKeys, areKeysOn, places, switchKeys } from "./keys.js";
import { toast } from "./toast.js";

export function init(root) {
  const sheet = root.querySelector("[data-help]");
  if (!sheet) return null;
  const lists = sheet.querySelector("[data-help-lists]");
  const box = sheet.querySelector("[data-single-keys]");

  async function open() {
    if (sheet.open) return;
    box.checked = areKeysOn();
    lists.replaceChildren();
    sheet.showModal();
    add(lists, "On this page", [...writtenOnPage(root), ...(await exportedByModules())]);
    add(lists, "Go to", places(root).map(({ key, name }) => ({ keys: `g ${key}`, does: name })));
    add(lists, "Everywhere", ownKeys.filter(isHere));
  }

  for (const button of root.querySelectorAll("[data-help-open]")) button.addEventListener("click", open);
  box.addEventListener("change", () => {
    switchKeys(box.checked);
    const isOn = box.checked;
    sheet.close();
    toast(isOn ? "Single keys work again." : "Single keys are off.", { undo: () => switchKeys(!isOn) });
  });
  return open;
}

// Review pages carry a list of their own in the page.
function writtenOnPage(root) {
  return [...root.querySelectorAll("[data-keys-sheet] .keys > div")]
    .map((line) => ({
      keys: [...line.querySelectorAll("kbd")].map((key) => key.textContent).join(" "),
      does: line.querySelector("dd").textContent,
    }))
    .filter(({ keys }) => keys !== "?");
}

// Importing a module again gives the one that runs already.
async function exportedByModules() {
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  const mine = loaded.filter((name) => name.startsWith(`${location.origin}/static/js/`) && name.endsWith(".js"));
  const modules = await Promise.all([...new Set(mine)].map((name) => import(name).catch(() => ({}))));
  return modules
    .flatMap((module) => (module.KEYS && module.KEYS !== ownKeys ? module.KEYS : []))
    .filter(isHere);
}

function isHere({ when }) {
  return !when || document.querySelector(when) !== null;
}

function add(lists, title, keys) {
  if (keys.length === 0) return;
  const heading = document.createElement("h3");
  heading.textContent = title;
  const list = document.createElement("dl");
  list.className = "keys";
  for (const one of keys) {
    const line = document.createElement("div");
    const term = document.createElement("dt");
    for (const key of one.keys.split(" ")) {
      const cap = document.createElement("kbd");
      cap.textContent = key;
      term.append(cap, " ");
    }
    const words = document.createElement("dd");
    words.textContent = one.does;
    line.append(term, words);
    list.append(line);
  }
  lists.append(heading, list);
}
