// Says when the server cannot be reached, asks again until it can, and then lets the page's panels look again. Forms
// are held back meanwhile: the browser would put a page of its own in place of what was typed.
import { toast } from "./toast.js";

const CALM_MS = 30000;
const LOST_MS = 4000;
const PATIENCE_MS = 8000;
const NOT_SENT = "Not sent: there is no connection. What you typed is still here; send it again when the bar below has gone.";

export function init(root) {
  const banner = root.querySelector("[data-offline]");
  if (!banner) return;
  const words = banner.querySelector("p");
  let timer = 0;
  let misses = 0;

  function show(isLost) {
    if (words.hidden !== isLost) return;
    words.hidden = !isLost;
    if (isLost) return;
    for (const panel of root.querySelectorAll("[data-live-panel], [data-refresh]")) {
      panel.dispatchEvent(new CustomEvent("refresh-now"));
    }
  }

  async function ask() {
    clearTimeout(timer);
    if (!document.hidden) {
      const isThere = await answers(banner.dataset.ping);
      misses = isThere ? 0 : misses + 1;
      if (isThere || misses > 1 || !navigator.onLine) show(!isThere);
    }
    timer = setTimeout(ask, misses ? LOST_MS : CALM_MS);
  }

  // Capturing, so that nobody else takes the form for sent. Uploads and what is sent in place tell it where it is.
  addEventListener(
    "submit",
    (event) => {
      const form = event.target;
      if ((event.submitter?.formMethod || form.method) !== "post" || form.closest("[hx-boost], [data-upload]")) return;
      if (navigator.onLine && words.hidden) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      show(true);
      ask();
      toast(NOT_SENT, { kind: "error" });
    },
    { capture: true },
  );
  addEventListener("offline", ask);
  addEventListener("online", ask);
  timer = setTimeout(ask, CALM_MS);
}

// Any answer will do, an error too: the server is there.
async function answers(url) {
  try {
    await fetch(url, { method: "GET", cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    return true;
  } catch {
    return false;
  }
}
