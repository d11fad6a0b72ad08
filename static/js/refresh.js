// A part of a page that stays fresh: it is fetched again while the page is in view, until it says that nothing more
// will come. A button pauses it where there is one (WCAG 2.2.2).
import { areKeysOn, isTyping } from "./keys.js";
import { init as initMoments } from "./moments.js";
import { isSignIn, isSignedOut, tellSignedOut } from "./signedout.js";

export const KEYS = [{ keys: "p", does: "Pause refreshing, or go on", when: "[data-refresh-pause]" }];

export function init(root) {
  const panel = root.querySelector("[data-refresh]");
  const pause = root.querySelector("[data-refresh-pause]");
  if (!panel) return;
  let busy = false;

  async function refresh() {
    if (isSignedOut()) return;
    if (panel.querySelector("[data-refresh-end]") || busy || document.hidden || pause?.getAttribute("aria-pressed") === "true") return;
    if (panel.contains(document.activeElement)) return; // whoever is in there with the keyboard keeps their place
    busy = true;
    try {
      const response = await fetch(panel.dataset.refreshUrl, { headers: { "X-Requested-With": "fetch" } });
      if (isSignIn(response.url)) tellSignedOut();
      else if (response.redirected) location.reload();
      else if (response.ok) replace(panel, await response.text());
    } catch {
      // Offline for a moment: the next round asks again.
    } finally {
      busy = false;
    }
  }

  panel.addEventListener("refresh-now", refresh);
  document.addEventListener("signed-in", refresh);
  setInterval(refresh, 1000 * Number(panel.dataset.refreshS));
  document.addEventListener("visibilitychange", refresh);
  pause?.addEventListener("click", () => {
    const isPaused = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", String(isPaused));
    if (!isPaused) refresh();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "p" || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    if (!isTyping(event.target) && areKeysOn() && !root.querySelector("dialog[open]")) pause?.click();
  });
}

function replace(panel, html) {
  const open = [...panel.querySelectorAll("details[data-keep][open]")].map((element) => element.dataset.keep);
  panel.innerHTML = html;
  for (const element of panel.querySelectorAll("details[data-keep]")) element.open = open.includes(element.dataset.keep);
  initMoments(panel);
}

init(document);
