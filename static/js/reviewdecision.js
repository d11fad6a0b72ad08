// A decision that would be refused is told beside each field that is missing, before anything is sent.
import { focusInSide } from "./reviewkeys.js";

const SENTENCES = {
  reasons: "Choose at least one reason for overriding the verdict.",
  other: "Say what the other reason is.",
  escalate: "Say what the next person should look at.",
  answer: "Somebody appealed: write the answer that they will read.",
};

export function init(root) {
  const form = root.querySelector("[data-decision-form]");
  if (!form) return;
  form.addEventListener("submit", (event) => {
    const lacks = missing(form);
    tell(form, lacks);
    if (lacks.size > 0) event.preventDefault();
  });
  form.addEventListener("change", () => {
    const lacks = missing(form);
    for (const shown of form.querySelectorAll("[data-refusal]:not([hidden])")) {
      shown.hidden = lacks.get(shown.dataset.refusal) !== shown.querySelector("span").textContent;
    }
  });
  // What the server refused has the focus already where the browser gives it by itself.
  const refused = form.querySelector("[autofocus]");
  if (refused) focusInSide(refused);
}

// All that is missing at once: place -> sentence, in the order of the form.
function missing(form) {
  const outcome = form.elements.outcome.value;
  const reasons = [...form.querySelectorAll("input[name=reasons]:checked")].map((box) => box.value);
  const has = (name) => Boolean(form.elements[name]?.value.trim());
  const lacks = new Map();
  if (outcome.startsWith("override_") && reasons.length === 0) lacks.set("reasons", SENTENCES.reasons);
  if (outcome === "escalate" && !has("note")) lacks.set("note", SENTENCES.escalate);
  else if (reasons.includes("other") && !has("note")) lacks.set("note", SENTENCES.other);
  if (outcome && outcome !== "escalate" && form.elements.answer && !has("answer")) lacks.set("answer", SENTENCES.answer);
  return lacks;
}

function tell(form, lacks) {
  for (const shown of form.querySelectorAll("[data-refusal]")) {
    const sentence = lacks.get(shown.dataset.refusal);
    shown.hidden = !sentence;
    shown.querySelector("span").textContent = sentence || "";
  }
  const [place] = lacks.keys();
  if (!place) return;
  const first = form.querySelector(`[data-refusal="${place}"]`).parentElement;
  const fields = [...first.querySelectorAll("input, textarea")];
  focusInSide(fields.find((field) => field.getClientRects().length > 0) || first);
}
