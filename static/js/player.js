// Player, faces, heatmaps and timeline, kept on the same moment.
import { drawFaces } from "./faces.js";

const HEAT_WINDOW_S = 0.3; // how long a heatmap stays beside the frame that it belongs to
const SVG = "http://www.w3.org/2000/svg";

export function init(root) {
  for (const player of root.querySelectorAll("[data-player]")) attach(player, root);
}

function attach(player, root) {
  const media = player.querySelector("[data-media]");
  const data = JSON.parse(player.querySelector("#player-data").textContent);
  const stage = makeStage(player, data);
  const timeline = player.querySelector("[data-timeline]");
  const isPlayable = data.kind !== "image";
  let pinned = "";

  const now = () => (isPlayable ? media.currentTime || 0 : 0);
  const length = () => (Number.isFinite(media.duration) && media.duration > 0 ? media.duration : data.duration);

  function show() {
    stage.show(now(), pinned);
    if (timeline) moveHead(timeline, now(), length());
  }

  function seek(seconds) {
    if (isPlayable) media.currentTime = Math.min(Math.max(seconds, 0), length());
    show();
  }

  if (isPlayable) follow(media, show);
  if (isPlayable && data.start > 0) openAt(media, data.start + 0.001);
  if (timeline) steer(timeline, { seek, now, length });
  player.addEventListener("keydown", (event) => step(event, { seek, now, length, media, data, timeline }));
  for (const link of root.querySelectorAll("[data-seek]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      pinned = link.dataset.overlayId || "";
      mark(root, link);
      if (isPlayable) media.pause();
      seek(Number(link.dataset.seek) + 0.001);
      player.scrollIntoView({ block: "nearest" });
    });
  }
  stage.onChange(show);
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

// Overlay ----------------------------------------------------------------------------------------

function makeStage(player, data) {
  const overlay = player.querySelector("[data-overlay]");
  const faces = overlay?.querySelector("[data-faces]");
  const heat = overlay?.querySelector("[data-heat]");
  const heatButton = player.querySelector("[data-toggle-heat]");
  const faceButton = player.querySelector("[data-toggle-faces]");
  const strength = player.querySelector("[data-heat-strength]");
  const isOn = (button) => button?.getAttribute("aria-pressed") === "true";

  function show(time, pinned) {
    if (!overlay) return;
    const visible = isOn(heatButton) ? pickHeat(data, time, pinned) : new Set();
    for (const image of heat.children) {
      image.classList.toggle("is-off", !visible.has(image.id));
      image.setAttribute("opacity", (strength?.value ?? 80) / 100);
    }
    drawFaces(faces, isOn(faceButton) ? data.faces : [], time, data, overlay.viewBox.baseVal.width, SVG);
  }

  function onChange(redraw) {
    for (const button of [heatButton, faceButton]) {
      button?.addEventListener("click", () => {
        button.setAttribute("aria-pressed", String(!isOn(button)));
        redraw();
      });
    }
    strength?.addEventListener("input", redraw);
  }

  return { show, onChange };
}

// One heatmap per place: they come strongest first, and two on the same spot would only blur each other.
function pickHeat(data, time, pinned) {
  const isStill = data.kind === "image";
  const near = data.overlays.filter((overlay) => isStill || Math.abs(overlay.time - time) <= HEAT_WINDOW_S);
  const wanted = near.find((overlay) => `heat-${overlay.id}` === pinned);
  if (wanted) return new Set([pinned]);
  const first = near.length ? [near[0]] : [];
  return new Set(first.map((overlay) => `heat-${overlay.id}`));
}

// Timeline ---------------------------------------------------------------------------------------

function moveHead(timeline, time, length) {
  const share = length > 0 ? Math.min(time / length, 1) : 0;
  const head = timeline.querySelector("[data-playhead]");
  head.setAttribute("x1", `${100 * share}%`);
  head.setAttribute("x2", `${100 * share}%`);
  timeline.setAttribute("aria-valuenow", time.toFixed(1));
  timeline.setAttribute("aria-valuetext", clock(time));
}

function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

function steer(timeline, { seek, length }) {
  const at = (event) => {
    const box = timeline.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * length());
  };
  timeline.addEventListener("pointerdown", (event) => {
    timeline.setPointerCapture(event.pointerId);
    at(event);
  });
  timeline.addEventListener("pointermove", (event) => {
    if (timeline.hasPointerCapture(event.pointerId)) at(event);
  });
}

function step(event, { seek, now, length, media, data, timeline }) {
  if (data.kind === "image" || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "," || event.key === ".") {
    media.pause();
    seek(now() + (event.key === "." ? 1 : -1) / data.fps);
    event.preventDefault();
    return;
  }
  if (event.target !== timeline) return; // the player's own controls keep their own keys
  const moves = {
    ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1,
    PageUp: length() / 10, PageDown: -length() / 10, Home: -length(), End: length(),
  };
  if (event.key in moves) seek(now() + moves[event.key]);
  else if (event.key === " ") media[media.paused ? "play" : "pause"]();
  else return;
  event.preventDefault();
}
