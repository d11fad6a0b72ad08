// Player, overlays, people, timeline and the tools for pictures, kept on the same moment.
import { makeFaces } from "./faces.js";
import { areKeysOn, isTyping } from "./keys.js";
import { makeOverlays } from "./overlays.js";
import { makeTimeline } from "./timeline.js";
import { makeTransport } from "./transport.js";
import { makeZoom } from "./zoom.js";

// These work wherever no field has the focus; all others while something inside the player has it.
const PAGE_WIDE = [",", ".", "[", "]", "l", "h", "d", "f"];

// For a sheet of shortcuts.
export const KEYS = [
  { keys: ", .", does: "One frame back, one frame on", when: "[data-player]" },
  { keys: "Space", does: "Play or pause (timeline in focus)", when: "[data-player]" },
  { keys: "← →", does: "To the window before or after (timeline in focus)", when: "[data-player]" },
  { keys: "Shift ← →", does: "One second back or on (timeline in focus)", when: "[data-player]" },
  { keys: "Home End", does: "To the beginning or the end (timeline in focus)", when: "[data-player]" },
  { keys: "[ ]", does: "Slower, faster", when: "[data-player]" },
  { keys: "l", does: "Repeat the marked stretch at this moment, or stop repeating", when: "[data-player]" },
  { keys: "h", does: "Heatmap on or off", when: "[data-player]" },
  { keys: "d", does: "Fine detail on or off", when: "[data-player]" },
  { keys: "f", does: "Boxes around faces on or off", when: "[data-player]" },
  { keys: "o", does: "Follow the next person", when: "[data-player]" },
  { keys: "+ − 0", does: "Larger, smaller, whole picture (picture in focus)", when: "[data-player]" },
  { keys: "Arrows", does: "Move an enlarged picture (picture in focus)", when: "[data-player]" },
];

export function init(root) {
  for (const player of root.querySelectorAll("[data-player]")) attach(player, root);
}

function attach(player, root) {
  const media = player.querySelector("[data-media]");
  const data = JSON.parse(player.querySelector("#player-data").textContent);
  const isPlayable = data.kind !== "image";
  const half = data.kind === "video" ? 0.5 / data.fps : 0.001; // into the middle of a frame, whatever its rounding
  let pinned = "";

  const now = () => (isPlayable ? media.currentTime || 0 : 0);
  const length = () => (Number.isFinite(media.duration) && media.duration > 0 ? media.duration : data.duration);

  function show() {
    const time = now();
    overlays.show(time, pinned);
    faces.show(time);
    transport?.show(time);
    timeline?.show(time, length());
  }

  function seek(seconds) {
    if (isPlayable) media.currentTime = Math.min(Math.max(seconds, 0), length());
    show();
  }

  const overlays = makeOverlays(player, data, show);
  const faces = makeFaces(player, media, data, show);
  const transport = isPlayable ? makeTransport(player, media, data, { seek, now, length, show }) : null;
  const timeline = makeTimeline(player, data, { seek, now, length, half, media });
  const zoom = makeZoom(player, data);

  if (isPlayable) follow(media, show);
  if (isPlayable && data.start > 0) openAt(media, data.start + half);
  const press = (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || isTyping(event.target)) return;
    const isDone = [zoom, transport, timeline, overlays, faces].some((part) => part?.press(event));
    if (isDone) event.preventDefault();
  };
  player.addEventListener("keydown", press);
  document.addEventListener("keydown", function onPage(event) {
    if (!player.isConnected) document.removeEventListener("keydown", onPage); // live refresh has brought another
    else if (!player.contains(event.target) && PAGE_WIDE.includes(event.key) && areKeysOn()) {
      if (!document.querySelector("dialog[open]")) press(event);
    }
  });
  const lead = (part) => {
    for (const link of part.querySelectorAll("[data-seek]")) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        pinned = link.dataset.overlayId || "";
        mark(root, link);
        if (isPlayable) media.pause();
        seek(Number(link.dataset.seek) + half);
        player.scrollIntoView({ block: "nearest" });
      });
    }
  };
  lead(root);
  player.addEventListener("part-replaced", (event) => lead(event.detail)); // its links lead to moments as well
  show();
}

function openAt(media, seconds) {
  const jump = () => {
    if (media.currentTime === 0) media.currentTime = seconds;
  };
  if (media.readyState >= 1) jump();
  else media.addEventListener("loadedmetadata", jump, { once: true });
}

function mark(root, link) {
  for (const other of root.querySelectorAll("[data-overlay-id]")) other.removeAttribute("aria-current");
  if (link.dataset.overlayId) link.setAttribute("aria-current", "true");
}

function follow(media, show) {
  const tick = () => {
    show();
    if (!media.paused && !media.ended) requestAnimationFrame(tick);
  };
  media.addEventListener("play", tick);
  for (const name of ["seeked", "timeupdate", "loadedmetadata"]) media.addEventListener(name, show);
}
