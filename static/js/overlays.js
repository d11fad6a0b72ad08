// What lies over the picture: heatmaps, maps of fine detail, and the parts that were judged by themselves.
import { clock } from "./clock.js";

const SVG = "http://www.w3.org/2000/svg";
const NEAR_S = 0.5; // further away than this, a map belongs to another moment and is shown at half strength
const SAME_S = 0.3;

export function makeOverlays(player, data, redraw) {
  const overlay = player.querySelector("[data-overlay]");
  const images = overlay ? [...overlay.querySelectorAll("[data-map]")] : [];
  const partsGroup = overlay?.querySelector("[data-parts]");
  const said = player.querySelector("[data-overlay-words]");
  const layers = [
    { key: "h", name: "Heatmap", maps: data.overlays, button: find("[data-toggle-heat]"), strength: find("[data-heat-strength]") },
    { key: "d", name: "Fine detail", maps: data.details, button: find("[data-toggle-detail]"), strength: find("[data-detail-strength]") },
  ];
  const partsButton = find("[data-toggle-parts]");

  function find(selector) {
    return player.querySelector(selector);
  }

  function show(time, pinned) {
    if (!overlay) return;
    const visible = new Map();
    const words = [];
    for (const layer of layers) {
      const map = isOn(layer.button) ? pick(layer.maps, time, pinned, data.kind === "image") : null;
      if (!map) continue;
      const away = data.kind === "image" ? 0 : Math.abs(map.time - time);
      const strength = (layer.strength?.value ?? 80) / 100;
      visible.set(`map-${map.id}`, away > NEAR_S ? strength / 2 : strength);
      if (data.kind !== "image") words.push(describe(layer.name, map, time, data));
    }
    for (const image of images) {
      image.classList.toggle("is-off", !visible.has(image.id));
      if (visible.has(image.id)) image.setAttribute("opacity", visible.get(image.id));
    }
    if (said) said.textContent = words.join(" ");
    drawParts(partsGroup, isOn(partsButton) ? partsAt(data, time) : [], data, overlay.viewBox.baseVal.width);
  }

  function press(event) {
    const layer = layers.find((one) => one.key === event.key);
    if (!layer?.button) return false;
    layer.button.click();
    return true;
  }

  for (const button of [...layers.map((layer) => layer.button), partsButton]) {
    button?.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(!isOn(button)));
      redraw();
    });
  }
  for (const { strength } of layers) strength?.addEventListener("input", redraw);
  return { show, press };
}

function isOn(button) {
  return button?.getAttribute("aria-pressed") === "true";
}

// The one nearest in time; of several of one frame the strongest, which comes first, unless one was chosen.
function pick(maps, time, pinned, isStill) {
  const chosen = maps.find((map) => `map-${map.id}` === pinned && (isStill || Math.abs(map.time - time) <= SAME_S));
  if (chosen || isStill || maps.length === 0) return chosen || maps[0] || null;
  return maps.reduce((best, map) => (Math.abs(map.time - time) < Math.abs(best.time - time) ? map : best));
}

function describe(name, map, time, data) {
  const away = map.time - time;
  const distance = Math.abs(away) < 1 / data.fps ? "" : `, ${Math.abs(away).toFixed(1)} s ${away < 0 ? "before" : "after"} this moment`;
  return `${name} of the frame at ${clock(map.time)} (number ${map.frame})${distance}.`;
}

function partsAt(data, time) {
  if (data.kind === "image" || data.pieces.length === 0) return data.pieces;
  const nearest = data.pieces.reduce((best, part) => (Math.abs(part[0] - time) < Math.abs(best - time) ? part[0] : best), data.pieces[0][0]);
  return data.pieces.filter((part) => part[0] === nearest);
}

function drawParts(group, parts, data, width) {
  if (!group) return;
  group.replaceChildren();
  for (const [, x, y, w, h, score] of parts) {
    const box = document.createElementNS(SVG, "rect");
    const level = score >= data.fakeAt ? "high" : score < data.realBelow ? "low" : "middle";
    for (const [name, value] of Object.entries({ x, y, width: w, height: h, class: `part-box is-${level}` })) {
      box.setAttribute(name, value);
    }
    const tag = document.createElementNS(SVG, "text");
    const size = Math.max(width / 48, 9);
    const place = { x: x + size * 0.4, y: y + size * 1.3, "font-size": size, "stroke-width": size / 5, class: "face-tag part-tag" };
    for (const [name, value] of Object.entries(place)) tag.setAttribute(name, value);
    tag.textContent = `${Math.round(100 * score)} %`;
    group.append(box, tag);
  }
}
