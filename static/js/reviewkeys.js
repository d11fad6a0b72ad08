// Single keys: an element with data-key="n j" is clicked (a text field: focused) when one of them is pressed.
import { areKeysOn, isTyping } from "./keys.js";
import { beginAhead, keepAhead, takeAhead } from "./reviewahead.js";

export function init(root) {
  const page = root.querySelector("[data-review-keys]");
  const sheet = root.querySelector("[data-keys-sheet]");
  root.querySelector("[data-keys-open]")?.addEventListener("click", () => sheet.showModal());
  sendWithControlEnter(root);
  if (!page) return;
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || isTyping(event.target)) return;
    if (root.querySelector("dialog[open]") || !areKeysOn()) return;
    if (!keepAhead(event.key) && !moveInList(page, event.key) && !press(page, event.key)) return;
    event.preventDefault();
  });
  document.addEventListener("submit", ({ target, defaultPrevented }) => {
    if (target.matches("[data-claim]") && !defaultPrevented) beginAhead();
  });
  answer(root.querySelector("[data-decision-form]"), takeAhead());
}

// Keys of the decision alone: none of them may lead away from a case that was taken this moment.
function answer(form, keys) {
  if (!form) return;
  for (const [number, key] of keys.entries()) {
    press(form, key);
    if (!isTyping(document.activeElement)) continue;
    const words = keys.slice(number + 1).filter((one) => one.length === 1);
    document.activeElement.value += words.join("");
    return;
  }
}

function press(page, key) {
  for (const element of page.querySelectorAll("[data-key]")) {
    if (!element.dataset.key.split(" ").includes(key) || element.disabled) continue;
    if (element.getClientRects().length === 0) continue; // a reason that does not go with what is chosen
    if (element.matches("textarea, input[type=search], input[type=text]")) focusInSide(element);
    else {
      element.click();
      if (element.matches("input[type=radio], input[name=reasons]")) focusInSide(element);
    }
    return true;
  }
  return false;
}

// Focus without moving the picture out of view: of a column that scrolls by itself, the column alone is moved.
export function focusInSide(element) {
  const side = element.closest(".case-side");
  const isOwn = side && getComputedStyle(side).overflowY === "auto";
  element.focus({ preventScroll: isOwn });
  if (!isOwn) return;
  const part = (element.closest(".answers, .reasons, .field") || element).getBoundingClientRect();
  const view = side.getBoundingClientRect();
  const foot = side.querySelector(".decision-buttons")?.offsetHeight || 0;
  if (part.top < view.top) side.scrollTop -= view.top - part.top;
  else if (part.bottom > view.bottom - foot) {
    side.scrollTop += Math.min(part.bottom - view.bottom + foot, part.top - view.top);
  }
}

// In the queue, j and k go from row to row, and x chooses the one that has the focus.
function moveInList(page, key) {
  const links = [...page.querySelectorAll("[data-row-link]")];
  if (links.length === 0 || !["j", "k", "x"].includes(key)) return false;
  const row = document.activeElement?.closest("tr");
  const here = links.findIndex((link) => row?.contains(link));
  if (key === "x") {
    row?.querySelector("input[type=checkbox][name=cases]")?.click();
    return true;
  }
  const next = key === "j" ? here + 1 : Math.max(here, 1) - 1;
  links[Math.min(next, links.length - 1)].focus();
  return true;
}

function sendWithControlEnter(root) {
  const form = root.querySelector("[data-decision-form]");
  form?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit(form.querySelector("[data-submit-next]"));
  });
}
