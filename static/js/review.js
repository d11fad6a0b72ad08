// Starts what the pages of review can do beyond links and forms.
import { init as initMentions } from "./mentions.js";
import { init as initDecision } from "./reviewdecision.js";
import { init as initHarsh } from "./reviewharsh.js";
import { init as initInPlace } from "./reviewinplace.js";
import { init as initKeys } from "./reviewkeys.js";
import { init as initQueue } from "./reviewqueue.js";
import { init as initRegions } from "./reviewregions.js";
import { init as initThresholds } from "./reviewthresholds.js";

const CLOCK_MS = 30000;

export function start(root) {
  initKeys(root);
  initDecision(root);
  initInPlace(root);
  initHarsh(root);
  initMentions(root);
  initQueue(root);
  initRegions(root);
  initThresholds(root);
  followMute(root);
  followPlay(root);
  setInterval(() => tick(root), CLOCK_MS);
}

// The clocks of what is due go on while the page is open.
function tick(root) {
  for (const element of root.querySelectorAll("time[data-due]")) {
    const seconds = (new Date(element.dateTime) - Date.now()) / 1000;
    element.textContent = `${span(Math.abs(seconds))} ${seconds >= 0 ? "left" : "overdue"}`;
    element.closest(".due")?.classList.toggle("is-overdue", seconds < 0);
  }
}

function span(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return hours < 10 && minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return `${days} ${days === 1 ? "day" : "days"}${days < 3 && hours % 24 ? ` ${hours % 24} h` : ""}`;
}

// The cover's box for the sound, which comes anew with the cover.
function followMute(root) {
  const media = root.querySelector("[data-media]");
  if (!media || !root.querySelector("[data-mute]")) return;
  root.addEventListener("change", ({ target }) => {
    if (target.matches("[data-mute]")) media.muted = target.checked;
  });
  media.addEventListener("volumechange", () => {
    root.querySelector("[data-mute]").checked = media.muted;
  });
}

// The cover lies over the player's own controls as well, so there is a button beside it.
function followPlay(root) {
  const media = root.querySelector("[data-media]");
  if (!media || !root.querySelector("[data-play]")) return;
  const show = () => {
    root.querySelector("[data-play]").textContent = media.paused ? "Play" : "Pause";
  };
  root.addEventListener("click", ({ target }) => {
    if (target.closest("[data-play]")) media[media.paused ? "play" : "pause"]();
  });
  for (const name of ["play", "pause", "ended"]) media.addEventListener(name, show);
  root.addEventListener("htmx:afterSwap", show);
}

start(document);
