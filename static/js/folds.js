// On a phone, parts that are read on demand begin closed; everywhere else, and without a script, they are open.
const NARROW = "(max-width: 46rem)";

export function init(root) {
  const isNarrow = matchMedia(NARROW).matches;
  for (const fold of root.querySelectorAll("details[data-fold]")) fold.open = !isNarrow;
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = !navigator.clipboard; // browsers give it to https and to this machine only
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(root.querySelector(button.dataset.copy).textContent.trim());
      button.textContent = "Copied";
    });
  }
  openNamed(root);
}

// A link to a part that is closed opens it.
function openNamed(root) {
  for (const link of root.querySelectorAll("a[href^='#']")) {
    link.addEventListener("click", () => {
      const part = root.querySelector(link.getAttribute("href"));
      for (const fold of [part?.closest("details"), part?.querySelector("details")]) if (fold) fold.open = true;
    });
  }
}
