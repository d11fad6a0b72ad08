// Filters without a page load: the table follows each choice, and the address bar follows too.
const TYPING_MS = 300;

export function init(root) {
  const form = root.querySelector("[data-filters]");
  const panel = root.querySelector("[data-live-panel]");
  if (!form || !panel) return;
  let timer = 0;

  function apply() {
    clearTimeout(timer);
    if (!form.reportValidity()) return;
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value) query.set(name, value);
    const text = query.toString();
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
    panel.dispatchEvent(new CustomEvent("refresh-now"));
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  form.addEventListener("change", apply);
  form.addEventListener("input", (event) => {
    if (event.target.type !== "search") return;
    clearTimeout(timer);
    timer = setTimeout(apply, TYPING_MS);
  });
}
