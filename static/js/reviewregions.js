// Marked places on the picture: shown over it, and drawn with a pointer into the form's four numbers.
const SVG = "http://www.w3.org/2000/svg";
const BESIDE_S = 0.5; // how long a marked moment stays beside its frame
const SIDES = ["x", "y", "width", "height"];

export function init(root) {
  const player = root.querySelector("[data-player]");
  const data = root.querySelector("#annotation-data");
  if (!player || !data) return;
  const media = player.querySelector("[data-media]");
  const form = root.querySelector("[data-region-form]");
  const layer = makeLayer(player);
  const marks = JSON.parse(data.textContent);
  if (layer) {
    const redraw = () => draw(layer, marks, media.currentTime ?? null, draft(form));
    for (const name of ["timeupdate", "seeked", "loadedmetadata"]) media.addEventListener(name, redraw);
    form?.addEventListener("input", redraw);
    if (form) letDraw(layer, form, redraw);
    redraw();
  }
  for (const button of root.querySelectorAll("[data-take-time]")) {
    button.addEventListener("click", () => {
      form.elements[button.dataset.takeTime].value = media.currentTime.toFixed(2);
    });
  }
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

function letDraw(layer, form, redraw) {
  const button = form.querySelector("[data-draw-region]");
  if (!button) return;
  let from = null;

  function set(isOn) {
    button.setAttribute("aria-pressed", String(isOn));
    layer.classList.toggle("is-drawing", isOn);
  }

  button.addEventListener("click", () => {
    set(button.getAttribute("aria-pressed") !== "true");
    if (layer.classList.contains("is-drawing")) layer.scrollIntoView({ block: "nearest" });
  });
  layer.addEventListener("pointerdown", (event) => {
    from = place(layer, event);
    layer.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  layer.addEventListener("pointermove", (event) => {
    if (!from) return;
    write(form, from, place(layer, event));
    redraw();
  });
  layer.addEventListener("pointerup", () => {
    if (!from) return;
    from = null;
    set(false);
    const text = form.elements.text;
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
