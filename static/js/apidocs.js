// The API's page: groups that open for whatever an address leads to, a filter of its index, and one language for all
// examples once one was chosen.
const LANGUAGE = "docs-language";
const NARROW = "(max-width: 60rem)";

export function init(root) {
  const index = root.querySelector("[data-doc-index]");
  if (!index) return;
  const fold = index.querySelector("details");
  fold.open = !matchMedia(NARROW).matches;
  const field = index.querySelector("input[type=search]");
  const found = index.querySelector("[role=status]");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of index.querySelectorAll("li")) {
      const text = (row.dataset.words || row.textContent).toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      if (!row.hidden) count += 1;
    }
    for (const group of index.querySelectorAll(".doc-index-group")) group.hidden = !group.querySelector("li:not([hidden])");
    if (words.length) fold.open = true;
    found.textContent = words.length ? `${count} found` : "";
  });
  field.addEventListener("keydown", (event) => {
    const first = index.querySelector("li:not([hidden]) a");
    if (event.key === "Enter" && first) first.click();
  });
  for (const link of index.querySelectorAll("a")) {
    link.addEventListener("click", () => {
      if (matchMedia(NARROW).matches) fold.open = false;
    });
  }
  initLanguages(root);
  initGroups(root);
}

function initGroups(root) {
  const groups = [...root.querySelectorAll("[data-doc-group]")];
  const button = root.querySelector("[data-open-all]");
  const say = () => {
    button.textContent = groups.every((group) => group.open) ? "Close all" : "Open all";
  };
  button.addEventListener("click", () => {
    const wanted = !groups.every((group) => group.open);
    for (const group of groups) group.open = wanted;
  });
  for (const group of groups) group.addEventListener("toggle", say);
  addEventListener("hashchange", () => reveal(root));
  root.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (link && link.hash === location.hash) reveal(root); // the address stays as it is, and tells nobody
  });
  reveal(root);
}

function reveal(root) {
  const target = root.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let part = target.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
  target.scrollIntoView();
}

function initLanguages(root) {
  const examples = [...root.querySelectorAll("[data-language]")];
  const show = (language) => {
    for (const one of examples) one.open = one.dataset.language === language;
  };
  let kept = null;
  try {
    kept = localStorage.getItem(LANGUAGE);
  } catch { /* no storage: the choice lasts for this page */ }
  if (examples.some((one) => one.dataset.language === kept)) show(kept);
  for (const one of examples) {
    one.querySelector("summary").addEventListener("click", (event) => {
      event.preventDefault();
      const before = one.getBoundingClientRect().top;
      show(one.dataset.language);
      scrollBy(0, one.getBoundingClientRect().top - before); // examples above it have changed their height, too
      try {
        localStorage.setItem(LANGUAGE, one.dataset.language);
      } catch { /* see above */ }
    });
  }
}

init(document);
