// A picture enlarged and moved, beside its original or wiped over it; both views stay on the same place.
const MOST = 12;
const STEP = 1.4;
const MOVE_PX = 60;

export function makeZoom(player, data) {
  const stages = player.querySelector("[data-stages]");
  if (!stages || data.kind !== "image") return null;
  const stage = stages.querySelector("[data-stage]");
  const view = { scale: 1, x: 0, y: 0 };
  const pointers = new Map();
  makeViews(player, stages, stage, apply);

  function apply() {
    const { width, height } = stage.getBoundingClientRect();
    view.scale = Math.min(Math.max(view.scale, 1), MOST);
    view.x = Math.min(Math.max(view.x, width * (1 - view.scale)), 0);
    view.y = Math.min(Math.max(view.y, height * (1 - view.scale)), 0);
    for (const inner of stages.querySelectorAll("[data-inner]")) {
      inner.style.transform = view.scale === 1 ? "" : `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    }
    stages.classList.toggle("is-zoomed", view.scale > 1);
    const said = player.querySelector("[data-zoom-level]");
    if (said) said.textContent = `${Math.round(100 * view.scale)} %`;
  }

  function zoom(factor, place) {
    const box = stage.getBoundingClientRect();
    const at = place || { x: box.width / 2, y: box.height / 2 };
    const before = view.scale;
    view.scale = Math.min(Math.max(before * factor, 1), MOST);
    view.x = at.x - ((at.x - view.x) * view.scale) / before;
    view.y = at.y - ((at.y - view.y) * view.scale) / before;
    apply();
  }

  function whole() {
    Object.assign(view, { scale: 1, x: 0, y: 0 });
    apply();
  }

  function press(event) {
    if (!event.target.closest("[data-stage]")) return false;
    const moves = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.key === "+" || event.key === "=") zoom(STEP);
    else if (event.key === "-" || event.key === "−") zoom(1 / STEP);
    else if (event.key === "0") whole();
    else if (event.key in moves && view.scale > 1) {
      view.x += MOVE_PX * moves[event.key][0];
      view.y += MOVE_PX * moves[event.key][1];
      apply();
    } else return false;
    return true;
  }

  watch(stages, pointers, { view, zoom, apply });
  player.querySelector("[data-zoom-in]")?.addEventListener("click", () => zoom(STEP));
  player.querySelector("[data-zoom-out]")?.addEventListener("click", () => zoom(1 / STEP));
  player.querySelector("[data-zoom-whole]")?.addEventListener("click", whole);
  addEventListener("resize", apply);
  return { press };
}

function watch(stages, pointers, { view, zoom, apply }) {
  const placeOf = (event) => {
    const box = event.target.closest("[data-stage]").getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  // The page must scroll past the picture: the wheel enlarges with Ctrl (as a pinch on a touchpad sends it), and alone
  // once the picture has the focus.
  stages.addEventListener(
    "wheel",
    (event) => {
      if (!event.target.closest("[data-stage]")) return;
      if (!event.ctrlKey && !stages.contains(document.activeElement)) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400)), placeOf(event));
    },
    { passive: false },
  );
  stages.addEventListener("pointerdown", (event) => {
    if (!event.target.closest("[data-stage]") || event.target.closest(".is-drawing")) return;
    pointers.set(event.pointerId, event);
  });
  stages.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const other = [...pointers.values()].find((one) => one.pointerId !== event.pointerId);
    if (other) {
      zoom(distance(event, other) / Math.max(distance(before, other), 1), placeOf(event));
    } else if (view.scale > 1) {
      view.x += event.clientX - before.clientX;
      view.y += event.clientY - before.clientY;
      apply();
    }
    pointers.set(event.pointerId, event);
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    stages.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }
}

function distance(one, other) {
  return Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
}

// Overlay, side by side, or wiped: the buttons say which.
function makeViews(player, stages, stage, apply) {
  const buttons = [...player.querySelectorAll("[data-view]")];
  const wipe = player.querySelector("[data-wipe]");
  const inner = stage.querySelector("[data-inner]");
  const overlay = inner.querySelector("[data-overlay]");
  const line = inner.querySelector("[data-wipe-line]");
  let original = null;

  function choose(name) {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.view === name));
    if (name === "beside" && !original) {
      original = makeOriginal(stage);
      stages.prepend(original);
    }
    if (original) original.hidden = name !== "beside";
    stages.classList.toggle("is-beside", name === "beside");
    if (wipe) wipe.parentElement.hidden = name !== "wipe";
    cut(name === "wipe");
    apply();
  }

  function cut(isWiped) {
    if (!overlay || !line) return;
    overlay.style.clipPath = isWiped ? `inset(0 0 0 ${wipe.value}%)` : "";
    line.style.left = `${wipe?.value ?? 50}%`;
    line.hidden = !isWiped;
  }

  for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.view));
  wipe?.addEventListener("input", () => cut(true));
}

function makeOriginal(stage) {
  const copy = stage.cloneNode(false);
  const inner = document.createElement("div");
  const picture = stage.querySelector("[data-media]").cloneNode(false);
  picture.removeAttribute("data-media");
  picture.alt = "The same picture without anything over it";
  inner.className = "stage-inner";
  inner.dataset.inner = "";
  inner.append(picture);
  copy.setAttribute("aria-label", "The original, zoomed together with the other view");
  copy.append(inner);
  return copy;
}
