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
    else line.textContent = `It would read: ${WORDS[reading(form.dataset, real, fake)]}.`;
  };
  form.addEventListener("input", show);
  show();
}

function reading({ score, fixed }, real, fake) {
  if (score === "" || fixed) return "inconclusive";
  if (Number(score) >= fake) return "fake";
  return Number(score) < real ? "real" : "inconclusive";
}
