// Single keys of the whole workspace: g and a letter go somewhere, ? opens the sheet of keys. They can be switched off,
// because they get in the way of speech input (WCAG 2.1.4); the palette's Ctrl+K works always.
const STORE = "single-keys";
const WAIT_MS = 1500; // how long g waits for its letter

export const KEYS = [
  { keys: "Ctrl K", does: "Go to a page, an action or an analysis" },
  { keys: "?", does: "This sheet" },
  { keys: "n p", does: "Next or previous analysis of the list", when: "[data-single-key]" },
  { keys: "Esc", does: "Close what is open, or leave a field" },
];

export function areKeysOn() {
  try {
    return localStorage.getItem(STORE) !== "off";
  } catch {
    return true; // storage is blocked: keys stay as they are shipped
  }
}

export function switchKeys(isOn) {
  try {
    if (isOn) localStorage.removeItem(STORE);
    else localStorage.setItem(STORE, "off");
  } catch {
    // Storage is blocked: the choice holds for this page alone, and the sheet shows it.
  }
}

export function isTyping(element) {
  if (!element.closest) return false;
  if (element.closest("textarea, select, [contenteditable]")) return true;
  const input = element.closest("input");
  return Boolean(input) && !["checkbox", "radio", "button", "submit", "range"].includes(input.type);
}

export function places(root) {
  return [...root.querySelectorAll("[data-goto]")].map((link) => ({
    key: link.dataset.goto,
    name: link.dataset.gotoName || link.textContent.trim(),
    link,
  }));
}

// Whatever is open inside a field's page takes Escape first: it prevents the default or is a dialog or a menu.
function leaveField(root, event) {
  if (event.key !== "Escape" || event.defaultPrevented || event.isComposing || !isTyping(event.target)) return;
  if (root.querySelector("dialog[open]") || event.target.closest("[data-menu]")) return;
  event.preventDefault(); // a search keeps its words
  event.target.blur();
}

export function init(root, { openHelp }) {
  let isWaiting = 0;
  root.addEventListener("keydown", (event) => leaveField(root, event));
  const stop = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation(); // the letter after g is ours: a page may know it, too
  };
  // Capturing, so that it comes before the keys of a page.
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || isTyping(event.target) || !areKeysOn()) return;
      if (["Shift", "CapsLock"].includes(event.key) || root.querySelector("dialog[open]")) return;
      const hasWaited = isWaiting;
      clearTimeout(isWaiting);
      isWaiting = 0;
      if (hasWaited) {
        const place = places(root).find((one) => one.key === event.key);
        if (!place) return;
        stop(event);
        place.link.click();
      } else if (event.key === "g") {
        stop(event);
        isWaiting = setTimeout(() => {
          isWaiting = 0;
        }, WAIT_MS);
      } else if (event.key === "?" && openHelp) {
        stop(event);
        openHelp();
      } else {
        const link = root.querySelector(`[data-single-key="${CSS.escape(event.key)}"]`);
        if (!link) return;
        stop(event);
        link.click();
      }
    },
    { capture: true },
  );
}
