// Marked places: shown over the picture, drawn with a pointer into the form's four numbers, kept and removed in place.
import { post } from "./reviewinplace.js";
import { toast } from "./toast.js";

const SVG = "http://www.w3.org/2000/svg";
const BESIDE_S = 0.5; // how long a marked moment stays beside its frame
const SIDES = ["x", "y", "width", "height"];

export function init(root) {
  const player = root.querySelector("[data-player]");
  let section = root.querySelector("#places");
  if (!player || !section) return;
  const media = player.querySelector("[data-media]");
  const layer = makeLayer(player);
  let marks = marksOf(section);
  const formOf = () => section.querySelector("[data-region-form]");
  const redraw = () => layer && draw(layer, marks, media.currentTime ?? null, draft(formOf()));

  function attach() {
    marks = marksOf(section);
    const form = formOf();
    form?.addEventListener("input", redraw);
    if (layer && form) letDraw(layer, form);
    for (const button of section.querySelectorAll("[data-take-time]")) {
      button.addEventListener("click", () => {
        form.elements[button.dataset.takeTime].value = media.currentTime.toFixed(2);
      });
    }
    redraw();
  }

  // What to do once the part that a form asked for is there: `isTaken` says whether the server did what was sent.
  let after = () => {};

  function takeOver(fresh) {
    const isTaken = !fresh.querySelector("[role=alert]");
    const add = fresh.querySelector(".place-add");
    if (add) add.open = section.querySelector(".place-add")?.open ?? false;
    const typed = formOf();
    section = fresh;
    if (typed && !(isTaken && isSent(typed))) keepTyped(typed, formOf());
    player.dispatchEvent(new CustomEvent("part-replaced", { detail: fresh }));
    attach();
    after(isTaken);
    after = () => {};
  }

  let sent = null;
  const isSent = (form) => form === sent;
  const tokenOf = (form) => form.elements.csrfmiddlewaretoken.value;
  const actionOf = (mark) => section.querySelector(`[data-place="${mark.id}"] form`)?.action;

  function keep(form) {
    const before = new Set(marks.map((mark) => mark.id));
    const token = tokenOf(form);
    const focus = document.activeElement === form.elements.text ? "[name=text]" : "[type=submit]";
    after = (isTaken) => {
      formOf()?.querySelector(focus)?.focus({ preventScroll: true });
      const made = marks.find((mark) => !before.has(mark.id));
      if (isTaken && made) toast(`Mark ${made.number} is kept.`, { undo: () => takeBack(made, token) });
    };
  }

  function takeBack(mark, token) {
    const action = actionOf(mark);
    if (action) undo(action, { csrfmiddlewaretoken: token }, "The mark is gone again.");
    else focusSection(section);
  }

  function remove(form) {
    const token = tokenOf(form);
    const id = form.closest("[data-place]").dataset.place;
    const place = marks.findIndex((mark) => mark.id === id);
    const gone = marks[place];
    after = (isTaken) => {
      const buttons = [...section.querySelectorAll("[data-remove-place] button")];
      if (buttons.length > 0) buttons[Math.min(place, buttons.length - 1)].focus({ preventScroll: true });
      else focusSection(section);
      if (isTaken) toast(`Mark ${gone.number} is removed.`, { undo: () => bringBack(gone, token) });
    };
  }

  function bringBack(mark, token) {
    const [x, y, width, height] = mark.box ?? [];
    const values = { text: mark.text, start_s: mark.start, end_s: mark.end, x, y, width, height };
    const told = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
    const action = formOf()?.action;
    if (action) undo(action, { csrfmiddlewaretoken: token, ...Object.fromEntries(told) }, "The mark is back.");
    else focusSection(section);
  }

  function undo(action, values, words) {
    sent = null;
    after = (isTaken) => {
      if (isTaken) toast(words);
      focusSection(section);
    };
    post(action, values, section);
  }

  if (layer) {
    for (const name of ["timeupdate", "seeked", "loadedmetadata"]) media.addEventListener(name, redraw);
    followPointer(layer, formOf, redraw);
  }
  attach();
  root.addEventListener("htmx:beforeRequest", ({ target }) => {
    if (!section.contains(target)) return;
    sent = target.matches("form") ? target : null;
    if (target.matches("[data-region-form]")) keep(target);
    else if (target.matches("[data-remove-place]")) remove(target);
  });
  root.addEventListener("htmx:afterSwap", ({ target }) => {
    if (target.id === "places") takeOver(target);
  });
}

function marksOf(section) {
  return JSON.parse(section.querySelector("#annotation-data").textContent);
}

function keepTyped(from, to) {
  if (!to) return;
  for (const field of from.elements) {
    if (field.name && field.type !== "hidden") to.elements[field.name].value = field.value;
  }
}

function focusSection(section) {
  section.querySelector(".place-add > summary")?.focus({ preventScroll: true });
}

function makeLayer(player) {
  const overlay = player.querySelector("[data-overlay]");
  if (!overlay) return null;
  const layer = document.createElementNS(SVG, "svg");
  layer.setAttribute("class", "mark-layer");
  layer.setAttribute("viewBox", overlay.getAttribute("viewBox"));
  layer.setAttribute("preserveAspectRatio", "xMidYMid meet");
  layer.setAttribute("aria-hidden", "true");
  overlay.after(layer);
  return layer;
}

function draft(form) {
  if (!form?.elements.x) return null;
  const box = SIDES.map((name) => Number.parseFloat(form.elements[name].value));
  return box.every(Number.isFinite) && box[2] > 0 && box[3] > 0 ? box : null;
}

function draw(layer, marks, time, unsaved) {
  layer.replaceChildren();
  for (const mark of marks) {
    if (!mark.box || !isNow(mark, time)) continue;
    layer.append(rectangle(mark.box, "halo"), rectangle(mark.box, ""), tag(layer, mark));
  }
  if (unsaved) layer.append(rectangle(unsaved, "halo"), rectangle(unsaved, "draft"));
}

function isNow(mark, time) {
  if (mark.start === null || time === null) return true;
  const end = mark.end ?? mark.start + BESIDE_S;
  return time >= mark.start - BESIDE_S / 2 && time <= end;
}

function rectangle([x, y, width, height], name) {
  const rect = document.createElementNS(SVG, "rect");
  for (const [key, value] of Object.entries({ x, y, width, height, class: name })) rect.setAttribute(key, value);
  return rect;
}

function tag(layer, mark) {
  const size = Math.max(layer.viewBox.baseVal.width / 32, 8);
  const text = document.createElementNS(SVG, "text");
  text.setAttribute("x", mark.box[0] + size * 0.3);
  text.setAttribute("y", mark.box[1] + size * 1.1);
  text.setAttribute("font-size", size);
  text.setAttribute("stroke-width", size / 5);
  text.textContent = mark.number;
  return text;
}

function letDraw(layer, form) {
  layer.classList.remove("is-drawing");
  const button = form.querySelector("[data-draw-region]");
  button?.addEventListener("click", () => {
    setDrawing(layer, form, button.getAttribute("aria-pressed") !== "true");
    if (layer.classList.contains("is-drawing")) layer.scrollIntoView({ block: "nearest" });
  });
}

function setDrawing(layer, form, isOn) {
  form.querySelector("[data-draw-region]")?.setAttribute("aria-pressed", String(isOn));
  layer.classList.toggle("is-drawing", isOn);
}

function followPointer(layer, formOf, redraw) {
  let from = null;
  layer.addEventListener("pointerdown", (event) => {
    if (!layer.classList.contains("is-drawing") || !formOf()) return;
    from = place(layer, event);
    layer.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  layer.addEventListener("pointermove", (event) => {
    if (!from) return;
    write(formOf(), from, place(layer, event));
    redraw();
  });
  layer.addEventListener("pointerup", () => {
    if (!from) return;
    from = null;
    setDrawing(layer, formOf(), false);
    const text = formOf().elements.text;
    if (!text.value) text.focus();
  });
}

function place(layer, event) {
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(layer.getScreenCTM().inverse());
  const { width, height } = layer.viewBox.baseVal;
  return [Math.min(Math.max(point.x, 0), width), Math.min(Math.max(point.y, 0), height)];
}

function write(form, from, to) {
  const box = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
  SIDES.forEach((name, index) => {
    form.elements[name].value = box[index].toFixed(1);
  });
}
