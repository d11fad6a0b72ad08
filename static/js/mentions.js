// Members are suggested while @ and a name are typed.
const MOST = 6;
const TYPED = /(?:^|[^\w@.+-])@([\w.+-]*)$/;

export function init(root) {
  const source = root.querySelector("#mention-members");
  if (!source) return;
  const members = JSON.parse(source.textContent);
  for (const field of root.querySelectorAll("textarea[data-mentions]")) suggest(field, members);
  root.addEventListener("htmx:afterSwap", ({ target }) => {
    if (target.id !== "notes") return;
    const field = target.querySelector("textarea");
    suggest(field, members);
    field.focus({ preventScroll: true });
  });
}

// A list under the field: arrows and Enter or Tab, or a click. The field keeps the focus.
function suggest(field, members) {
  const list = document.createElement("ul");
  list.className = "mention-list";
  list.id = `${field.id}-members`;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Members");
  list.hidden = true;
  const said = document.createElement("span");
  said.className = "visually-hidden";
  said.setAttribute("role", "status");
  const anchor = document.createElement("div");
  anchor.className = "mentions";
  anchor.append(list, said);
  field.after(anchor);
  field.setAttribute("aria-autocomplete", "list");
  let at = 0;

  function open(found) {
    list.replaceChildren(
      ...found.map((member, place) => {
        const item = document.createElement("li");
        item.id = `${list.id}-${place}`;
        item.setAttribute("role", "option");
        item.dataset.name = member.name;
        item.textContent = member.full ? `@${member.name} (${member.full})` : `@${member.name}`;
        return item;
      }),
    );
    list.hidden = found.length === 0;
    if (list.hidden) {
      close();
      return;
    }
    field.setAttribute("aria-controls", list.id);
    said.textContent = `${found.length} ${found.length === 1 ? "member" : "members"}; arrows choose, Enter takes.`;
    mark(0);
    list.scrollIntoView({ block: "nearest" });
  }

  function close() {
    list.hidden = true;
    said.textContent = "";
    field.removeAttribute("aria-activedescendant");
    field.removeAttribute("aria-controls");
  }

  function mark(place) {
    const items = [...list.children];
    at = (place + items.length) % items.length;
    items.forEach((item, number) => item.setAttribute("aria-selected", String(number === at)));
    field.setAttribute("aria-activedescendant", items[at].id);
  }

  function take(item) {
    const before = field.value.slice(0, field.selectionStart).replace(/@[\w.+-]*$/, `@${item.dataset.name} `);
    field.value = before + field.value.slice(field.selectionStart);
    field.setSelectionRange(before.length, before.length);
    close();
  }

  field.addEventListener("input", () => {
    const typed = TYPED.exec(field.value.slice(0, field.selectionStart));
    const start = typed?.[1].toLowerCase();
    const fits = ({ name, full }) => [name, ...full.split(" ")].some((word) => word.toLowerCase().startsWith(start));
    const found = typed ? members.filter(fits).slice(0, MOST) : [];
    const isWhole = found.length === 1 && found[0].name.toLowerCase() === start;
    open(isWhole ? [] : found);
  });
  field.addEventListener("keydown", (event) => {
    if (list.hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowDown") mark(at + 1);
    else if (event.key === "ArrowUp") mark(at - 1);
    else if (event.key === "Enter" || event.key === "Tab") take(list.children[at]);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
  list.addEventListener("mousedown", (event) => {
    event.preventDefault(); // the field keeps the focus
    const item = event.target.closest("li");
    if (item) take(item);
  });
  field.addEventListener("blur", close);
}
