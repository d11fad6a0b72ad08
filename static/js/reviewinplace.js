// What the acts on a case share that leave the page where it is. htmx sends their forms and puts in what comes back; here
// is what it leaves to us: a broken connection, answers that are pages of their own, and waking up what came in.
import { init as initMoments } from "./moments.js";
import { toast } from "./toast.js";

const BROKEN = "The connection broke, and nothing was changed. Check your network and try again.";

export function init(root) {
  root.addEventListener("htmx:sendError", () => toast(BROKEN, { kind: "error" }));
  // Not allowed, gone, a fault of ours: the old way of sending leads to the page that tells it.
  root.addEventListener("htmx:responseError", ({ target }) => {
    if (target.matches("form")) target.submit();
    else location.reload();
  });
  root.addEventListener("htmx:afterSwap", ({ target }) => settle(target));
  root.addEventListener("htmx:oobBeforeSwap", ({ target, detail }) => {
    if (target.matches("details")) detail.fragment.firstElementChild.open = target.open;
  });
  root.addEventListener("htmx:oobAfterSwap", ({ target }) => settle(target));
}

// Send without a form, for an undo; the part that comes back takes the place of `part`.
export function post(action, values, part) {
  return window.htmx.ajax("POST", action, { target: part, swap: "outerHTML", values }).catch(() => {}); // told above
}

function settle(part) {
  for (const element of part.querySelectorAll("[data-needs-script]")) element.hidden = false;
  initMoments(part);
}
