// Uploads one by one with progress: drop, paste, choose, or an address. The form works without this file, too.
const AT_ONCE = 2;

export function init(root) {
  const form = root.querySelector("[data-upload]");
  if (!form) return;
  const zone = form.querySelector("[data-drop-zone]");
  const input = form.querySelector("input[type=file]");
  const address = form.querySelector("input[name=url]");
  const queue = makeQueue(form);

  input.addEventListener("change", () => {
    queue.add([...input.files].map((file) => ({ file, name: file.name })));
    input.value = "";
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const url = address.value.trim();
    if (url) {
      queue.add([{ url, name: url }]);
      address.value = "";
    } else if (input.files.length === 0) {
      input.click();
    }
  });
  takeDrops(zone, queue);
  takePastes(queue);
}

function takeDrops(zone, queue) {
  const carriesFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      zone.classList.add("is-over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.classList.remove("is-over");
  });
  document.addEventListener("drop", (event) => {
    zone.classList.remove("is-over");
    if (!carriesFiles(event)) return;
    event.preventDefault();
    queue.add([...event.dataTransfer.files].map((file) => ({ file, name: file.name })));
  });
}

function takePastes(queue) {
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (files.length === 0) return;
    event.preventDefault();
    queue.add(files.map((file) => ({ file, name: file.name || "pasted" })));
  });
}

function makeQueue(form) {
  const list = form.querySelector("[data-upload-items]");
  const status = form.querySelector("[data-upload-status]");
  const waiting = [];
  let running = 0;

  function add(items) {
    for (const item of items) {
      item.row = makeRow(list, item);
      waiting.push(item);
    }
    next();
  }

  function next() {
    while (running < AT_ONCE && waiting.length > 0) {
      const item = waiting.shift();
      running += 1;
      send(form, item, (outcome) => {
        running -= 1;
        status.textContent = outcome.error ? `${item.name}: ${outcome.error}` : `${item.name} was accepted.`;
        finish(item, outcome);
        document.querySelector("[data-live-panel]")?.dispatchEvent(new CustomEvent("refresh-now"));
        next();
      });
    }
  }

  return { add };
}

function makeRow(list, item) {
  const row = document.createElement("li");
  row.className = "upload-item";
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = name.title = item.name;
  const bar = document.createElement("progress");
  bar.max = 100;
  bar.setAttribute("aria-label", `Upload of ${item.name}`);
  const words = document.createElement("span");
  words.className = "words";
  words.textContent = "Waiting";
  const stop = makeButton("Stop", () => item.request?.abort());
  row.append(name, bar, words, stop);
  list.append(row);
  return { row, bar, words, stop };
}

function makeButton(text, onClick) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button quiet";
  button.textContent = text;
  button.addEventListener("click", onClick);
  return button;
}

function send(form, item, done) {
  const body = new FormData();
  body.set("csrfmiddlewaretoken", form.querySelector("[name=csrfmiddlewaretoken]").value);
  if (item.file) body.set("files", item.file, item.name);
  else body.set("url", item.url);
  const request = new XMLHttpRequest();
  item.request = request;
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.upload.addEventListener("progress", (event) => {
    if (!event.lengthComputable) return;
    const percent = Math.round((100 * event.loaded) / event.total);
    item.row.bar.value = percent;
    item.row.words.textContent = percent < 100 ? `${percent} %` : "Storing";
  });
  request.addEventListener("load", () => done(read(request)));
  request.addEventListener("error", () => done({ error: "The connection broke. Check your network and try again." }));
  request.addEventListener("abort", () => done({ error: "Stopped." }));
  request.send(body);
}

function read(request) {
  let answer = {};
  try {
    answer = JSON.parse(request.responseText);
  } catch {
    // A proxy in between may answer with a page of its own.
  }
  if (request.status === 201) return { url: answer.url };
  if (request.status === 413 && !answer.detail) return { error: "The file is larger than this server accepts." };
  return { error: answer.detail || "The server did not take it. Reload the page and try again." };
}

function finish(item, outcome) {
  const { row, bar, words, stop } = item.row;
  if (!outcome.error) {
    row.remove();
    return;
  }
  row.classList.add("is-refused");
  bar.remove();
  words.textContent = outcome.error;
  stop.replaceWith(makeButton("Dismiss", () => row.remove()));
}
