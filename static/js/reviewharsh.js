// The mark "harsh" is set and taken off where one is; the cover follows it, and undo brings back what one saw before.
import { post } from "./reviewinplace.js";
import { toast } from "./toast.js";

export function init(root) {
  const part = () => root.querySelector("#veil");
  const button = () => root.querySelector("#harsh-button");
  if (!button()) return;
  let before = {}; // what was covered when the form was sent
  let wanted = null; // what an undo covers again

  async function undo(covers, isHarsh) {
    const form = root.querySelector("#harsh-form");
    const { is_harsh: next, csrfmiddlewaretoken: token } = form.elements;
    // Only what is still as one left it is taken back.
    if (next.value === (isHarsh ? "0" : "1")) {
      wanted = covers;
      await post(form.action, { is_harsh: next.value, csrfmiddlewaretoken: token.value }, part());
    }
    button().focus({ preventScroll: true });
  }

  root.addEventListener("htmx:beforeRequest", ({ target }) => {
    if (part().contains(target)) before = covers(root);
  });
  root.addEventListener("htmx:afterSwap", ({ target }) => {
    if (target.id !== "veil") return;
    const isHarsh = root.querySelector("#harsh-form").elements.is_harsh.value === "0";
    const words = isHarsh ? "Marked as harsh: it is covered for everybody." : "No longer marked as harsh.";
    const seen = before;
    toast(words, wanted ? {} : { undo: () => undo(seen, isHarsh) });
    cover(root, wanted ?? covers(root));
    wanted = null;
  });
}

function boxes(root) {
  return [...root.querySelectorAll("input[name=veil]")];
}

function covers(root) {
  return Object.fromEntries(boxes(root).map((box) => [box.value, box.checked]));
}

// The sound follows its box as it does when it is ticked by hand.
function cover(root, wanted) {
  for (const box of boxes(root)) {
    box.checked = Boolean(wanted[box.value]);
    box.dispatchEvent(new Event("change", { bubbles: true }));
  }
}
