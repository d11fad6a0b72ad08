// How the label would read under the thresholds in the form, while they are typed.
const WORDS = { fake: "fake", real: "real", inconclusive: "inconclusive" };

export function init(root) {
  const form = root.querySelector("[data-threshold-form]");
  const line = form?.querySelector("[data-threshold-reading]");
  if (!line) return;
  const show = () => {
    const real = Number.parseFloat(form.elements.real_below.value) / 100;
    const fake = Number.parseFloat(form.elements.fake_at.value) / 100;
    if (!Number.isFinite(real) || !Number.isFinite(fake)) line.textContent = "";
    else if (real > fake) line.textContent = "The threshold for real must not lie above the one for fake.";
    else line.textContent = sentence(form.dataset, real, fake);
  };
  form.addEventListener("input", show);
  show();
}

// The engine's rule: an interval may reach back across the threshold of a label by a margin, and no further.
function sentence(data, real, fake) {
  const label = reading(data, real, fake);
  if (label === "inconclusive" || data.low === "" || data.high === "") return `It would read: ${WORDS[label]}.`;
  const beyond = label === "fake" ? fake - Number(data.low) : Number(data.high) - real;
  if (beyond > Number(data.margin)) return "It would read: inconclusive. Its interval reaches too far back across the threshold.";
  const isAcross = label === "fake" ? beyond > 0 : beyond >= 0;
  return isAcross ? `It would read: ${WORDS[label]}, as a weak verdict: its interval reaches across the threshold.` : `It would read: ${WORDS[label]}.`;
}

function reading({ score, fixed }, real, fake) {
  if (score === "" || fixed) return "inconclusive";
  if (Number(score) >= fake) return "fake";
  return Number(score) < real ? "real" : "inconclusive";
}
