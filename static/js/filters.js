// Filters without a page load: the table follows each choice, and the address bar follows too.
const TYPING_MS = 300;
const GIVE_UP_MS = 8000;

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
    // The order stays in the address: a bare one would open the member's default view after a reload.
    history.replaceState(null, "", `?${query}`);
    for (const field of root.querySelectorAll("[data-follows-query]")) field.value = query.toString();
    for (const view of root.querySelectorAll(".view[aria-current]")) view.removeAttribute("aria-current");
    wait();
    panel.dispatchEvent(new CustomEvent("refresh-now"));
  }

  function wait() {
    panel.setAttribute("aria-busy", "true");
    setTimeout(() => panel.removeAttribute("aria-busy"), GIVE_UP_MS);
  }
  new MutationObserver(() => {
    panel.removeAttribute("aria-busy");
    tellWrong(form, panel);
  }).observe(panel, { childList: true });

  // A chip holds the address without its filter: the form takes it over, and the list follows.
  panel.addEventListener("click", (event) => {
    const chip = event.target.closest("[data-chip]");
    if (!chip || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    fill(form, new URL(chip.href).searchParams);
    apply();
    form.querySelector("[type=search]").focus();
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
    if (form.contains(document.activeElement)) document.activeElement.blur(); // the next key is one of the list's
  });
  form.addEventListener("change", apply);
  form.addEventListener("input", (event) => {
    if (event.target.type !== "search") return;
    clearTimeout(timer);
    timer = setTimeout(apply, TYPING_MS);
  });
}

// What the server did not take of the filters stands at the field, as on a page that was loaded with it.
function tellWrong(form, panel) {
  for (const told of form.querySelectorAll(".field-error")) told.remove();
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
  }
  for (const wrong of panel.querySelectorAll("[data-wrong]")) {
    const field = form.elements[wrong.dataset.wrong];
    if (!field || field.type === "hidden") continue;
    const told = document.createElement("span");
    told.className = "field-error";
    told.id = `${field.id}-error`;
    told.textContent = wrong.content.textContent;
    told.setAttribute("role", "alert");
    field.after(told);
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", told.id);
  }
}

function fill(form, query) {
  for (const field of form.elements) {
    if (!field.name) continue;
    if (field.type === "hidden" && !query.has(field.name)) field.remove();
    else if (field.name === "sort") field.value = query.get("sort") || "newest";
    else field.value = query.get(field.name) || "";
  }
}
