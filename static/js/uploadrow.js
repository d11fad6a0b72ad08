// One item on its way, as a line under the upload form: name, bar, words, and what can be done about it.
export function makeRow(list, item, act) {
  const row = document.createElement("li");
  row.className = "upload-item";
  const name = document.createElement("a");
  name.className = "name";
  name.textContent = name.title = item.name;
  const bar = document.createElement("progress");
  bar.max = 100;
  bar.value = 0;
  bar.setAttribute("aria-label", `Progress of ${item.name}`);
  const words = document.createElement("span");
  words.className = "words";
  const buttons = document.createElement("span");
  buttons.className = "button-row";
  row.append(name, bar, words, buttons);
  list.append(row);
  const parts = { row, name, bar, words, buttons, act };
  show(parts, item);
  return parts;
}

const SAID = { waiting: "Waiting", queued: "Accepted, waiting for its turn", running: "Working", cancelled: "Stopped" };

// States: waiting, sending, queued, running, completed, refused (never taken), failed (taken, but no verdict), cancelled.
export function show(parts, item) {
  const { row, name, bar, words } = parts;
  row.dataset.state = item.state;
  bar.hidden = ["completed", "refused", "failed", "cancelled"].includes(item.state);
  bar.value = item.state === "queued" ? 0 : item.percent || 0;
  if (item.url_of_job) name.href = item.url_of_job;
  words.textContent = told(item);
  putButtons(parts, item);
}

// Problems stand first, in the order in which they came. What somebody points at or is in with the keyboard stays where
// it is in their view.
export function putFirst(list, row) {
  const first = [...list.children].find((one) => !["refused", "failed"].includes(one.dataset.state));
  const held = row.contains(document.activeElement) ? document.activeElement : null;
  const isWatched = list.matches(":hover, :focus-within");
  if (first && first.compareDocumentPosition(row) & Node.DOCUMENT_POSITION_FOLLOWING) first.before(row);
  held?.focus({ preventScroll: true }); // a row that is moved loses it
  if (!isWatched) showIn(list, row);
}

// Scrolls the list alone, never the page.
export function showIn(list, row) {
  const view = list.getBoundingClientRect();
  const place = row.getBoundingClientRect();
  if (place.top < view.top || place.height > view.height) list.scrollTop += place.top - view.top;
  else if (place.bottom > view.bottom) list.scrollTop += place.bottom - view.bottom;
}

function told(item) {
  if (item.state === "sending") return item.percent < 100 ? `Sending, ${item.percent} %` : "Storing";
  if (item.state === "running") return `${item.words || SAID.running}, ${item.percent || 0} %`;
  if (item.state === "completed") return item.words || "Finished";
  if (item.state === "refused" || item.state === "failed") return item.error;
  return SAID[item.state];
}

function putButtons({ buttons, act }, item) {
  const again = item.mayPass ? ["retry", "dismiss"] : ["dismiss"];
  const wanted = {
    waiting: ["stop"], sending: ["stop"], queued: ["stop"], running: ["stop"], refused: again, failed: again,
    cancelled: ["retry", "dismiss"], completed: ["dismiss"],
  }[item.state];
  if (buttons.dataset.shown === wanted.join()) return; // a button that is made anew loses the focus
  buttons.dataset.shown = wanted.join();
  const held = buttons.contains(document.activeElement);
  buttons.replaceChildren(...wanted.map((what) => makeButton(what, item, act)));
  if (held) buttons.querySelector("button")?.focus();
}

const WORDS = { stop: "Stop", retry: "Try again", dismiss: "Dismiss" };

function makeButton(what, item, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button quiet";
  button.textContent = WORDS[what];
  button.setAttribute("aria-label", `${WORDS[what]}: ${item.name}`);
  button.addEventListener("click", () => act[what](item));
  return button;
}
