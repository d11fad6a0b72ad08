// The position along the clip: a slider over the lanes, and the lanes that are shown.
import { clock } from "./clock.js";

const EDGE_S = 0.08; // a moment this near to a window's beginning counts as in it

export function makeTimeline(player, data, { seek, now, length, half, media }) {
  const slider = player.querySelector("[data-timeline]");
  if (!slider) return null;
  const head = slider.querySelector("[data-playhead]");
  letChoose(player);
  steer(slider, seek, length);

  function show(time, whole) {
    const share = whole > 0 ? Math.min(time / whole, 1) : 0;
    head.setAttribute("x1", `${100 * share}%`);
    head.setAttribute("x2", `${100 * share}%`);
    slider.setAttribute("aria-valuenow", time.toFixed(1));
    slider.setAttribute("aria-valuetext", clock(time));
  }

  function press(event) {
    if (event.target !== slider) return false; // the player's own controls keep their own keys
    const to = target(event, data.windows, now(), length());
    if (to !== null) seek(to === 0 || to >= length() ? to : to + half);
    else if (event.key === " ") media[media.paused ? "play" : "pause"]();
    else return false;
    return true;
  }

  return { show, press };
}

function target(event, windows, time, whole) {
  const second = { ArrowRight: time + 1, ArrowUp: time + 1, ArrowLeft: time - 1, ArrowDown: time - 1 };
  const far = { PageUp: time + whole / 10, PageDown: time - whole / 10, Home: 0, End: whole };
  if (event.key in far) return Math.min(Math.max(far[event.key], 0), whole);
  if (!(event.key in second)) return null;
  const isOn = event.key === "ArrowRight" || event.key === "ArrowUp";
  const next = isOn
    ? windows.find((start) => start > time + EDGE_S)
    : windows.findLast((start) => start < time - EDGE_S);
  const to = event.shiftKey || windows.length === 0 ? second[event.key] : (next ?? (isOn ? whole : 0));
  return Math.min(Math.max(to, 0), whole);
}

function steer(slider, seek, length) {
  const at = (event) => {
    const box = slider.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * length());
  };
  slider.addEventListener("pointerdown", (event) => {
    slider.setPointerCapture(event.pointerId);
    at(event);
  });
  slider.addEventListener("pointermove", (event) => {
    if (slider.hasPointerCapture(event.pointerId)) at(event);
  });
}

// Each check's curve can be taken away.
function letChoose(player) {
  for (const box of player.querySelectorAll("[data-lane-toggle]")) {
    const lane = player.querySelector(`[data-lane="${CSS.escape(box.dataset.laneToggle)}"]`);
    box.addEventListener("change", () => {
      lane.hidden = !box.checked;
    });
  }
}
