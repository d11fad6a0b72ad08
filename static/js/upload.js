// Sends many items, three at a time, and follows each to its verdict. The form works without this file, too.
import { isSignIn, renewTokens, tellSignedOut } from "./signedout.js";
import { toast } from "./toast.js";
import { makeRow, putFirst, show, showIn } from "./uploadrow.js";
import { fromAddresses, fromDrop, fromFiles, fromFolder, fromPaste } from "./uploadsources.js";

const STORE = "upload-more";
const AT_ONCE = 3;
const POLL_MS = 3000;
const ASKED_AT_ONCE = 100;
const UNDER_WAY = ["queued", "running"];
const BROKEN = "The connection broke. Check your network and try again.";
const SIGNED_OUT = "You are signed out. Sign in in another tab, then try again here.";
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
  keepOpen(form.querySelector("[data-upload-more]"));
  takeDrops(zone, queue);
  document.addEventListener("paste", (event) => {
    const { items, told } = fromPaste(event);
    if (items.length === 0) return;
    event.preventDefault();
    queue.add(items, told);
  });
}

// Whoever wants the rest of the form in sight has it there the next time, too.
function keepOpen(more) {
  const summary = more.querySelector("summary");
  try {
    const kept = localStorage.getItem(STORE);
    if (kept) more.open = kept === "open";
    summary.addEventListener("click", () => {
      localStorage.setItem(STORE, more.open ? "closed" : "open"); // it opens and closes after the click
    });
  } catch {
    // Storage is blocked: the form begins as it is shipped.
  }
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
      item.keepsNothing = form.querySelector("[data-keeps-nothing]")?.checked || false; // as it stood when it was added
      items.add(item);
      item.row = makeRow(list, item, act);
    }
    if (found.length > 0) showIn(list, found[found.length - 1].row.row);
    if (found.length > 0) showIn(list, found[0].row.row); // the first of them at least, and as many after it as fit
    told.remark = remark;
    next();
  }

  function set(item, changes) {
    const before = item.state;
    Object.assign(item, changes);
    show(item.row, item);
    if (item.state !== before && ["refused", "failed"].includes(item.state)) putFirst(list, item.row.row);
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
      if (outcome.stale && !item.renewed) return resend(item);
      if (outcome.stopped) set(item, { state: "cancelled" });
      else if (outcome.error) set(item, { state: "refused", error: outcome.error, mayPass: outcome.mayPass });
      else set(item, { state: "queued", percent: 0, job: outcome.id, url_of_job: outcome.url });
      status.textContent = outcome.error ? `${item.name}: ${outcome.error}` : `${item.name} was accepted.`;
      document.querySelector("[data-live-panel]")?.dispatchEvent(new CustomEvent("refresh-now"));
      next();
    });
  }

  // Somebody signed in anew in another tab: the page's token is of before, and one try with the new one is made.
  async function resend(item) {
    item.renewed = true;
    await renewTokens().catch(() => {});
    if (items.has(item) && item.state === "sending") begin(item);
  }

  async function stop(item) {
    if (item.state === "waiting") set(item, { state: "cancelled" });
    else if (item.state === "sending") item.request.abort();
    else {
      const { error } = await post(form, `${item.url_of_job}cancel/`);
      if (error) toast(`${item.name} goes on. ${error}`, { kind: "error" });
      else ask();
    }
    next();
  }

  // What was taken is run again where it is; what was not is sent again, with the same token, so that it is taken once.
  async function retry(item) {
    if (!item.job) set(item, { state: "waiting", renewed: false });
    else {
      const { url = "", error } = await post(form, `${item.url_of_job}rerun/`);
      const job = url.match(/\/analyses\/([0-9a-f-]{36})\//)?.[1];
      if (error) set(item, { state: "failed", error, mayPass: true });
      else if (job) set(item, { state: "queued", percent: 0, job, url_of_job: new URL(url).pathname, error: "" });
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
    for (const item of items) if (isWorthAnother(item)) retry(item);
  }

  function stopAll() {
    for (const item of items) if (["waiting", "sending"].includes(item.state)) stop(item);
  }

  function clear() {
    for (const item of [...items]) if (ENDED.includes(item.state) && !isWorthAnother(item)) dismiss(item);
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
      if (isSignIn(response.url)) tellSignedOut();
      if (!response.ok || response.redirected) return;
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

// The same file, sent again to the same server, is refused again; a broken connection or a busy server passes.
function isWorthAnother(item) {
  return Boolean(item.mayPass) && ["refused", "failed"].includes(item.state);
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
      const ended = count(...ENDED);
      if (items.size > 0) parts.push(`${ended} of ${items.size} done`);
      if (count("waiting", "sending")) parts.push(`${count("waiting", "sending")} still to send: keep this page open`);
      if (count("refused", "failed")) parts.push(`${count("refused", "failed")} of them without a result`);
      const text = parts.length > 0 ? `${parts.join(", ")}.` : "";
      summary.textContent = [text, this.remark].filter(Boolean).join(" ");
      box.hidden = summary.textContent === "";
      form.querySelector("[data-upload-retry]").hidden = [...items].filter(isWorthAnother).length < 2;
      form.querySelector("[data-upload-stop]").hidden = count("waiting", "sending") < 2;
      form.querySelector("[data-upload-clear]").hidden = ended - [...items].filter(isWorthAnother).length < 2;
    },
  };
}

function send(form, item, onPercent, done) {
  const body = new FormData();
  body.set("csrfmiddlewaretoken", form.querySelector("[name=csrfmiddlewaretoken]").value);
  body.set("token", item.token);
  if (item.file) body.set("files", item.file, item.file.name === "image.png" ? item.name : item.file.name);
  else body.set("url", item.url);
  if (item.keepsNothing) body.set("keeps_nothing", "1");
  const request = new XMLHttpRequest();
  item.request = request;
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) onPercent(Math.round((100 * event.loaded) / event.total));
  });
  request.addEventListener("load", () => done(answerOf(request)));
  request.addEventListener("error", () => done({ error: BROKEN, mayPass: true }));
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
  if (isSignIn(request.responseURL)) {
    tellSignedOut();
    return { error: SIGNED_OUT, mayPass: true };
  }
  if (request.status === 413 && !answer.detail) return { error: "The file is larger than this server accepts. Send a shorter cut or a smaller copy." };
  const mayPass = request.status === 429 || request.status >= 500; // 503: busy, 507: its disk is full
  if (request.status === 429 || request.status === 503) return { error: answer.detail || "The server is busy. Wait a minute and try again.", mayPass };
  const stale = request.status === 403;
  return { error: answer.detail || "The server did not take it. Reload the page and try again.", mayPass, stale };
}

const LABELS = { fake: "Fake", real: "Real", inconclusive: "Inconclusive" };

function read(job) {
  if (!job) return { state: "failed", error: "The analysis was deleted.", mayPass: false };
  if (job.status === "completed") {
    const score = job.score_words ? `, probability of manipulation ${job.score_words}` : "";
    return { state: "completed", words: `${LABELS[job.final_label] || "Finished"}${score}` };
  }
  if (job.status === "failed") return { state: "failed", error: job.failure_message, mayPass: job.may_pass };
  return { state: job.status, percent: job.percent };
}

// The address that the answer came from, or the sentence that says why there is none.
async function post(form, address, isAgain = false) {
  const body = new FormData();
  body.set("csrfmiddlewaretoken", form.querySelector("[name=csrfmiddlewaretoken]").value);
  try {
    const response = await fetch(address, { method: "POST", body, headers: { "X-Requested-With": "fetch" } });
    if (isSignIn(response.url)) {
      tellSignedOut();
      return { error: SIGNED_OUT };
    }
    if (response.status === 403 && !isAgain && (await renewTokens())) return await post(form, address, true);
    return response.ok ? { url: response.url } : { error: "The server did not take it. Wait a minute and try again." };
  } catch {
    return { error: BROKEN };
  }
}
