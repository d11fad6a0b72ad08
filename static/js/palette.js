// Ctrl+K: pages, actions of this page, and analyses by name, hash or id. Focus goes back to where it was by itself,
// because the palette is a native dialog.
import { places } from "./keys.js";

const TYPING_MS = 150;

export function init(root) {
  const dialog = root.querySelector("[data-palette]");
  if (!dialog) return;
  const input = dialog.querySelector("input");
  const list = dialog.querySelector("[role=listbox]");
  const none = dialog.querySelector("[data-palette-none]");
  const wait = dialog.querySelector("[data-palette-wait]");
  const status = dialog.querySelector("[data-palette-status]");
  // The roles come with what fulfils them.
  const roles = { role: "combobox", "aria-expanded": "true", "aria-controls": list.id, "aria-autocomplete": "list" };
  for (const [name, value] of Object.entries(roles)) input.setAttribute(name, value);
  let shown = [];
  let here = 0;
  let timer = 0;
  let request = null;

  function open() {
    if (dialog.open || root.querySelector("dialog[open]")) return;
    input.value = "";
    dialog.showModal();
    input.focus();
    look();
  }

  async function look() {
    const typed = input.value.trim();
    const known = matching([...pages(root), ...actions(root)], typed);
    show(known);
    request?.abort();
    const mine = (request = new AbortController());
    try {
      const url = `${dialog.dataset.url}?q=${encodeURIComponent(typed)}`;
      const response = await fetch(url, { signal: mine.signal, headers: { Accept: "application/json" } });
      if (!response.ok || response.redirected) throw new Error(response.statusText);
      const already = new Set(known.map((one) => one.url ?? one.element.href).filter(Boolean));
      const found = (await response.json()).results.filter((one) => !already.has(new URL(one.url, location).href));
      show(typed ? [...known, ...found] : [...found, ...known], true);
    } catch {
      if (!mine.signal.aborted) show(known, true); // no answer: what is known here stays
    }
  }

  function show(entries, isWhole = false) {
    shown = entries;
    here = 0;
    list.replaceChildren(...entries.map(option));
    wait.hidden = isWhole || entries.length > 0;
    none.hidden = !isWhole || entries.length > 0;
    if (isWhole) status.textContent = `${entries.length} ${entries.length === 1 ? "result" : "results"}`;
    mark();
  }

  function mark() {
    [...list.children].forEach((element, number) => element.setAttribute("aria-selected", String(number === here)));
    const current = list.children[here];
    if (current) input.setAttribute("aria-activedescendant", current.id);
    else input.removeAttribute("aria-activedescendant");
    current?.scrollIntoView({ block: "nearest" });
  }

  function take(entry) {
    if (!entry) return;
    dialog.close();
    if (entry.url) location.assign(entry.url);
    else entry.element.click();
  }

  dialog.addEventListener("keydown", (event) => {
    const last = shown.length - 1;
    const to = { ArrowDown: here < last ? here + 1 : 0, ArrowUp: here > 0 ? here - 1 : last }[event.key];
    if (event.key === "Enter") take(shown[here]);
    else if (to === undefined || last < 0) return;
    else {
      here = to;
      mark();
    }
    event.preventDefault();
  });
  list.addEventListener("click", (event) => {
    const element = event.target.closest("[role=option]");
    if (element) take(shown[[...list.children].indexOf(element)]);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, TYPING_MS);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault();
    if (dialog.open) dialog.close();
    else open();
  });
  for (const button of root.querySelectorAll("[data-palette-open]")) button.addEventListener("click", open);
}

function pages(root) {
  return places(root).map(({ key, name, link }) => ({ title: name, hint: `g ${key}`, url: link.href, group: "Page" }));
}

function actions(root) {
  return [...root.querySelectorAll("[data-command]")]
    .filter((element) => !element.disabled)
    .map((element) => ({ title: element.dataset.command, hint: "", element, group: "Action" }));
}

// Every word must begin a word of the title, in any order.
function matching(entries, typed) {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  return entries.filter((entry) => {
    const parts = entry.title.toLowerCase().split(/[\s-]+/);
    return words.every((word) => parts.some((part) => part.startsWith(word)));
  });
}

function option(entry, number) {
  const element = document.createElement("li");
  element.id = `palette-${number}`;
  element.className = "palette-option";
  element.setAttribute("role", "option");
  for (const [name, text] of [["group", entry.group], ["title", entry.title], ["hint", entry.hint]]) {
    const part = document.createElement("span");
    part.className = `palette-${name}`;
    part.textContent = text;
    element.append(part);
  }
  return element;
}
