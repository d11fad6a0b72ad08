// Sends many items, three at a time, and follows each to its verdict. The form works without this file, too.
import { makeRow, show } from "./uploadrow.js";
import { fromAddresses, fromDrop, fromFiles, fromFolder, fromPaste } from "./uploadsources.js";

const AT_ONCE = 3;
const POLL_MS = 3000;
const ASKED_AT_ONCE = 100;
const UNDER_WAY = ["queued", "running"];
const ENDED = ["completed", "refused", "failed", "cancelled"];

export function init(root) {
  const form = root.querySelector("[data-upload]");
  if (!form) return;
  const zone = form.querySelector("[data-drop-zone]");
  const input = form.querySelector("#upload-files");
  const folder = form.querySelector("[data-folder]");
  const addresses = form.querySelector("[name=url]");
  const queue = makeQueue(form);

  input.addEventListener("change", () => {
    queue.add(fromFiles(input.files));
    input.value = "";
  });
  folder.addEventListener("change", () => {
    const { items, told } = fromFolder(folder.files);
    queue.add(items, told);
    folder.value = "";
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const items = fromAddresses(addresses.value);
    addresses.value = "";
    if (items.length > 0) queue.add(items);
    else input.click();
  });
  addresses.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
  takeDrops(zone, queue);
  document.addEventListener("paste", (event) => {
    const items = fromPaste(event);
    if (items.length === 0) return;
    event.preventDefault();
    queue.add(items);
  });
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
  document.addEventListener("drop", async (event) => {
    zone.classList.remove("is-over");
    if (!carriesFiles(event)) return;
    event.preventDefault();
    const { items, told } = await fromDrop(event.dataTransfer);
    queue.add(items, told);
  });
}

function makeQueue(form) {
  const list = form.querySelector("[data-upload-items]");
  const status = form.querySelector("[data-upload-status]");
  const items = new Set();
  const act = { stop, retry, dismiss };
  const told = makeTold(form, items, { retryAll, stopAll, clear });

  function add(found, remark = "") {
    for (const item of found) {
      Object.assign(item, { state: "waiting", percent: 0, token: crypto.randomUUID?.() || String(Math.random()) });
      items.add(item);
      item.row = makeRow(list, item, act);
    }
    told.remark = remark;
    next();
  }

  function set(item, changes) {
    Object.assign(item, changes);
    show(item.row, item);
    told.show();
  }

  function next() {
    const waiting = [...items].filter((item) => item.state === "waiting");
    let free = AT_ONCE - [...items].filter((item) => item.state === "sending").length;
    for (const item of waiting) {
      if (free <= 0) break;
      free -= 1;
      begin(item);
    }
    told.show();
  }

  function begin(item) {
    set(item, { state: "sending", percent: 0, error: "" });
    send(form, item, (percent) => set(item, { percent }), (outcome) => {
      if (!items.has(item)) return;
      if (outcome.stopped) set(item, { state: "cancelled" });
      else if (outcome.error) set(item, { state: "refused", error: outcome.error });
      else set(item, { state: "queued", percent: 0, job: outcome.id, url_of_job: outcome.url });
      status.textContent = outcome.error ? `${item.name}: ${outcome.error}` : `${item.name} was accepted.`;
      document.querySelector("[data-live-panel]")?.dispatchEvent(new CustomEvent("refresh-now"));
      next();
    });
  }

  function stop(item) {
    if (item.state === "waiting") set(item, { state: "cancelled" });
    else if (item.state === "sending") item.request.abort();
    else post(form, `${item.url_of_job}cancel/`).then(() => ask());
    next();
  }

  // What was taken is run again where it is; what was not is sent again, with the same token, so that it is taken once.
  async function retry(item) {
    if (!item.job) set(item, { state: "waiting" });
    else {
      const answer = await post(form, `${item.url_of_job}rerun/`);
      const job = answer.url.match(/\/analyses\/([0-9a-f-]{36})\//)?.[1];
      if (job) set(item, { state: "queued", percent: 0, job, url_of_job: new URL(answer.url).pathname, error: "" });
    }
    next();
  }

  function dismiss(item) {
    items.delete(item);
    const beside = item.row.row.nextElementSibling || item.row.row.previousElementSibling;
    item.row.row.remove();
    (beside?.querySelector("button") || list).focus();
    told.show();
  }

  function retryAll() {
    for (const item of items) if (item.state === "refused") set(item, { state: "waiting" });
    next();
  }

  function stopAll() {
    for (const item of items) if (["waiting", "sending"].includes(item.state)) stop(item);
  }

  function clear() {
    for (const item of [...items]) if (ENDED.includes(item.state) && item.state !== "refused") dismiss(item);
  }

  // Progress comes through the page's socket; what it did not bring, or not in full, is asked for.
  let heardAt = 0;
  document.addEventListener("job-changed", (event) => {
    heardAt = Date.now();
    const change = event.detail;
    const item = [...items].find((found) => found.job === change.job);
    if (!item) return;
    if (change.status === "running" || change.status === "queued") set(item, { state: change.status, percent: change.percent });
    else ask();
  });
  setInterval(() => {
    if (Date.now() - heardAt > POLL_MS && !document.hidden) ask();
  }, POLL_MS);

  async function ask() {
    const wanted = [...items].filter((item) => item.job && UNDER_WAY.includes(item.state)).slice(0, ASKED_AT_ONCE);
    if (wanted.length === 0) return;
    const query = new URLSearchParams(wanted.map((item) => ["id", item.job]));
    try {
      const response = await fetch(`${form.dataset.states}?${query}`, { headers: { Accept: "application/json" } });
      if (!response.ok) return;
      const { jobs } = await response.json();
      const there = new Map(jobs.map((job) => [job.job, job]));
      for (const item of wanted) set(item, read(there.get(item.job)));
    } catch {
      // Offline for a moment: the next round asks again.
    }
  }

  // A page that is left takes with it what was not sent yet; what was accepted goes on by itself.
  addEventListener("beforeunload", (event) => {
    if ([...items].some((item) => ["waiting", "sending"].includes(item.state))) event.preventDefault();
  });

  return { add };
}

function makeTold(form, items, act) {
  const box = form.querySelector("[data-upload-told]");
  const summary = form.querySelector("[data-upload-summary]");
  const buttons = { retry: act.retryAll, stop: act.stopAll, clear: act.clear };
  for (const [name, run] of Object.entries(buttons)) {
    form.querySelector(`[data-upload-${name}]`).addEventListener("click", run);
  }
  return {
    remark: "",
    show() {
      const count = (...states) => [...items].filter((item) => states.includes(item.state)).length;
      const parts = [];
      if (items.size > 0) parts.push(`${count("completed")} of ${items.size} finished`);
      if (count("waiting", "sending")) parts.push(`${count("waiting", "sending")} still to send: keep this page open`);
      if (count("refused", "failed")) parts.push(`${count("refused", "failed")} without a result`);
      const text = parts.length > 0 ? `${parts.join(", ")}.` : "";
      summary.textContent = [text, this.remark].filter(Boolean).join(" ");
      box.hidden = summary.textContent === "";
      form.querySelector("[data-upload-retry]").hidden = count("refused") < 2;
      form.querySelector("[data-upload-stop]").hidden = count("waiting", "sending") < 2;
      form.querySelector("[data-upload-clear]").hidden = count("completed", "failed", "cancelled") < 2;
    },
  };
}

function send(form, item, onPercent, done) {
  const body = new FormData();
  body.set("csrfmiddlewaretoken", form.querySelector("[name=csrfmiddlewaretoken]").value);
  body.set("token", item.token);
  if (item.file) body.set("files", item.file, item.file.name === "image.png" ? item.name : item.file.name);
  else body.set("url", item.url);
  const request = new XMLHttpRequest();
  item.request = request;
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) onPercent(Math.round((100 * event.loaded) / event.total));
  });
  request.addEventListener("load", () => done(answerOf(request)));
  request.addEventListener("error", () => done({ error: "The connection broke. Check your network and try again." }));
  request.addEventListener("abort", () => done({ stopped: true }));
  request.send(body);
}

function answerOf(request) {
  let answer = {};
  try {
    answer = JSON.parse(request.responseText);
  } catch {
    // A proxy in between may answer with a page of its own.
  }
  if (request.status === 201) return { id: answer.id, url: answer.url };
  if (request.responseURL.includes("/accounts/login/")) {
    return { error: "You are signed out. Sign in in another tab, then try again here." };
  }
  if (request.status === 413 && !answer.detail) return { error: "The file is larger than this server accepts. Send a shorter cut or a smaller copy." };
  if (request.status === 429 || request.status === 503) return { error: answer.detail || "The server is busy. Wait a minute and try again." };
  return { error: answer.detail || "The server did not take it. Reload the page and try again." };
}

const LABELS = { fake: "Fake", real: "Real", inconclusive: "Inconclusive" };

function read(job) {
  if (!job) return { state: "failed", error: "The analysis was deleted." };
  if (job.status === "completed") {
    const score = job.score === null ? "" : `, ${Math.min(Math.max(Math.round(100 * job.score), 1), 99)} %`;
    return { state: "completed", words: `${LABELS[job.final_label] || "Finished"}${score}` };
  }
  if (job.status === "failed") return { state: "failed", error: job.failure_message };
  return { state: job.status, percent: job.percent };
}

function post(form, address) {
  const body = new FormData();
  body.set("csrfmiddlewaretoken", form.querySelector("[name=csrfmiddlewaretoken]").value);
  return fetch(address, { method: "POST", body, headers: { "X-Requested-With": "fetch" } });
}
