// The queue: what was chosen stays chosen while rows come and go, and forms act on the list as it is filtered now.
export function init(root) {
  const panel = root.querySelector("[data-queue]");
  if (!panel) return;
  const chosen = new Set();
  const count = root.querySelector("[data-bulk-count]");

  function boxes() {
    return [...panel.querySelectorAll("input[name=cases]")];
  }

  function show() {
    for (const box of boxes()) box.checked = chosen.has(box.value);
    const all = panel.querySelector("[data-choose-all]");
    const here = boxes();
    if (all) {
      all.hidden = false;
      all.checked = here.length > 0 && here.every((box) => box.checked);
      all.indeterminate = !all.checked && here.some((box) => box.checked);
    }
    if (count) count.textContent = `${chosen.size} ${chosen.size === 1 ? "case" : "cases"} chosen`;
  }

  function note(box) {
    if (box.checked) chosen.add(box.value);
    else chosen.delete(box.value);
  }

  panel.addEventListener("change", (event) => {
    if (event.target.matches("[data-choose-all]")) {
      for (const box of boxes()) {
        box.checked = event.target.checked;
        note(box);
      }
    } else if (event.target.matches("input[name=cases]")) note(event.target);
    show();
  });

  // A refresh may bring fewer rows than were chosen: what is no longer there is no longer chosen.
  new MutationObserver(() => {
    const there = new Set(boxes().map((box) => box.value));
    for (const value of chosen) if (!there.has(value)) chosen.delete(value);
    show();
  }).observe(panel, { childList: true });

  for (const form of root.querySelectorAll("[data-keeps-query], #bulk-form")) {
    form.addEventListener("submit", () => {
      form.action = form.action.split("?")[0] + location.search;
    });
  }
  for (const box of boxes()) note(box); // the browser may have kept some after going back
  show();
}
