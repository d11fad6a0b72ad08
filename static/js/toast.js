// A short message that goes by itself, with an undo where there is one. It stays while it is looked at.
const STAY_MS = 10000;

export function toast(message, { undo = null, label = "Undo", kind = "", stayMs = STAY_MS } = {}) {
  const region = document.querySelector("[data-toasts]");
  if (!region) return null;
  const note = document.createElement("div");
  note.className = `toast ${kind}`.trim();
  const words = document.createElement("span");
  words.textContent = message;
  note.append(words);
  let timer = 0;
  const close = () => {
    clearTimeout(timer);
    note.remove();
  };
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(close, stayMs);
  };
  if (undo) {
    note.append(
      button(label, () => {
        close();
        undo();
      }),
    );
  }
  note.append(button("Dismiss", close));
  for (const name of ["pointerenter", "focusin"]) note.addEventListener(name, () => clearTimeout(timer));
  for (const name of ["pointerleave", "focusout"]) note.addEventListener(name, wait);
  region.append(note);
  wait();
  return close;
}

function button(text, onClick) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "button quiet small-button";
  made.textContent = text;
  made.addEventListener("click", onClick);
  return made;
}
