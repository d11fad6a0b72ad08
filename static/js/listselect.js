// Choosing rows: by box, by range with shift, all on the page, all that match; and doing something with them.
export function init(root) {
  const panel = root.querySelector("[data-live-panel]");
  const form = root.querySelector("[data-bulk]");
  if (!panel || !form) return;
  const chosen = new Set();
  const every = form.querySelector("[name=all]");
  let last = null;
  let takesFocus = false;

  const boxes = () => [...panel.querySelectorAll("[data-choose]")];

  function show() {
    const here = boxes();
    for (const box of here) {
      box.checked = chosen.has(box.value);
      box.closest("tr").classList.toggle("is-chosen", box.checked);
    }
    const all = panel.querySelector("[data-choose-all]");
    const isFull = here.length > 0 && here.every((box) => box.checked);
    if (all) {
      all.checked = isFull;
      all.indeterminate = !isFull && here.some((box) => box.checked);
    }
    const { count, more } = panel.querySelector("[data-count]")?.dataset || {};
    const hasMore = isFull && (more === "true" || Number(count) > here.length);
    form.querySelector("[data-bulk-all]").hidden = !hasMore;
    if (!hasMore) every.checked = false;
    const number = `${Number(count || 0).toLocaleString("en")}${more === "true" ? "+" : ""}`;
    form.querySelector("[data-bulk-all-words]").textContent =
      more === "true" ? `All ${number} that match (the first ${Number(count).toLocaleString("en")} at once)` : `All ${number} that match`;
    form.querySelector("[data-bulk-count]").textContent = every.checked ? `All ${number} chosen` : `${chosen.size} chosen`;
    form.hidden = chosen.size === 0;
  }

  function choose(box, isOn) {
    if (isOn) chosen.add(box.value);
    else chosen.delete(box.value);
  }

  panel.addEventListener("click", (event) => {
    const box = event.target.closest("[data-choose]");
    if (!box) return;
    const here = boxes();
    const from = here.findIndex((found) => found.value === last);
    const to = here.indexOf(box);
    if (event.shiftKey && from >= 0) {
      for (const between of here.slice(Math.min(from, to), Math.max(from, to) + 1)) choose(between, box.checked);
    }
    choose(box, box.checked);
    last = box.value;
    show();
  });
  panel.addEventListener("change", (event) => {
    if (!event.target.matches("[data-choose-all]")) return;
    for (const box of boxes()) choose(box, event.target.checked);
    show();
  });
  every.addEventListener("change", show);
  form.querySelector("[data-bulk-none]").addEventListener("click", () => {
    chosen.clear();
    show();
    panel.querySelector("[data-choose]")?.focus();
  });

  form.addEventListener("submit", async (event) => {
    if (event.submitter && event.submitter.name !== "action") return; // the part of another room, sent as it is
    event.preventDefault();
    const body = new FormData(form);
    if (event.submitter) body.set("action", event.submitter.value);
    const buttons = form.querySelectorAll("button");
    for (const button of buttons) button.disabled = true; // a thousand take some seconds
    tell(root, "Working on it.", false);
    // Not form.action: that is the buttons, which are called so.
    const done = await send(form.getAttribute("action"), body, root);
    for (const button of buttons) button.disabled = false;
    if (done) chosen.clear();
    const isDeleted = done && body.get("action") === "delete";
    if (isDeleted) root.querySelector("[data-list-notice]").hidden = true; // "Undo" says it
    show();
    takesFocus = isDeleted; // the button that was pressed goes away with the bar
    panel.dispatchEvent(new CustomEvent("refresh-now"));
  });

  // A refresh may bring other rows than were chosen: what is no longer there is no longer chosen.
  new MutationObserver(() => {
    const there = new Set(boxes().map((box) => box.value));
    for (const value of chosen) if (!there.has(value)) chosen.delete(value);
    show();
    followUndo(root, panel, takesFocus);
    takesFocus = false;
  }).observe(panel, { childList: true });

  for (const box of boxes()) choose(box, box.checked); // the browser may have kept some after going back
  show();
  followUndo(root, panel, false);
}

async function send(address, body, root) {
  try {
    const response = await fetch(address, { method: "POST", body, headers: { Accept: "application/json" } });
    const answer = await response.json();
    tell(root, answer.message || answer.detail, !response.ok);
    return response.ok;
  } catch {
    tell(root, "The connection broke. Check your network and try again.", true);
    return false;
  }
}

function tell(root, text, isError) {
  const notice = root.querySelector("[data-list-notice]");
  notice.textContent = text;
  notice.classList.toggle("error", isError);
  notice.classList.toggle("success", !isError);
  notice.hidden = false;
}

// The way back lies among the messages at the foot of the window, wherever the list is scrolled to, and is read out as
// they are. Seconds go by while the page is open; when none is left, so is the way back.
function followUndo(root, panel, takesFocus) {
  const region = root.querySelector("[data-toasts]");
  const form = panel.querySelector("[data-undo]");
  const shown = region.querySelector("[data-undo]");
  if (form && shown?.getAttribute("action") === form.getAttribute("action")) {
    form.remove();
    return;
  }
  const held = shown?.contains(document.activeElement);
  shown?.remove();
  if (form) region.append(form);
  if (form && (held || takesFocus)) form.querySelector("button").focus();
  else if (held) focusList(panel);
  if (!form) return;
  const number = form.querySelector("[data-undo-seconds]");
  const end = Date.now() + 1000 * Number(form.dataset.seconds);
  const clock = setInterval(() => {
    const left = Math.ceil((end - Date.now()) / 1000);
    number.textContent = Math.max(left, 0);
    if (left > 0 && form.isConnected) return;
    clearInterval(clock);
    const hadFocus = form.contains(document.activeElement);
    form.remove();
    if (hadFocus) focusList(panel);
  }, 500);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await send(form.action, new FormData(form), root);
    const hadFocus = form.contains(document.activeElement);
    form.remove();
    if (hadFocus) focusList(panel);
    panel.dispatchEvent(new CustomEvent("refresh-now"));
  });
}

function focusList(panel) {
  panel.querySelector("[data-row-link]")?.focus({ preventScroll: true });
}
