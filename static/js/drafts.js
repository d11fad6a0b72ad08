// What was typed into a form whose sending ended at the sign-in page is put back when that page has been passed. It is
// kept in this tab alone, until the next page, and for the same member.
const STORE = "unsent-form";
const MARK = "#unsent"; // in the address that sign-in leads to, when the form was not taken

export function init(root) {
  const member = document.body.dataset.member;
  if (!member) return; // the sign-in page
  let kept = null;
  try {
    kept = sessionStorage.getItem(STORE);
    sessionStorage.removeItem(STORE);
  } catch {
    return; // storage is blocked: nothing is kept
  }
  if (location.hash === MARK) {
    history.replaceState(history.state, "", location.pathname + location.search);
    if (kept) putBack(root, JSON.parse(kept), member);
  }
  root.addEventListener("submit", ({ target: form, defaultPrevented }) => {
    const isByHtmx = form.closest("[hx-boost]");
    if ((defaultPrevented && !isByHtmx) || form.method !== "post") return;
    const typed = [...new FormData(form)].filter(([name, value]) => name !== "csrfmiddlewaretoken" && typeof value === "string");
    if (form.querySelector("input[type=password]")) return;
    sessionStorage.setItem(STORE, JSON.stringify({ member, action: form.action, typed }));
  });
}

function putBack(root, { member, action, typed }, current) {
  const form = [...root.forms].find((one) => one.action === action && one.method === "post");
  if (!form || member !== current) return;
  let last = null;
  for (const field of form.elements) {
    const values = typed.filter(([name]) => name === field.name).map(([, value]) => value);
    if (field.type === "hidden" || field.type === "submit" || field.type === "file" || field.type === "button") continue;
    if (field.type === "checkbox" || field.type === "radio") field.checked = values.includes(field.value);
    else if (field.matches("select[multiple]")) for (const option of field.options) option.selected = values.includes(option.value);
    else if (values.length > 0) [field.value] = values;
    else continue;
    if (values.length > 0) last = field;
  }
  for (let part = form.parentElement; part; part = part.parentElement) if (part.matches("details")) part.open = true;
  form.dispatchEvent(new Event("change", { bubbles: true }));
  last?.focus();
}
