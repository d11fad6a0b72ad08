// The client against a server that answers as the test says: retries, errors, sources.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createReadStream } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import test from "node:test";

import { Client, DeepfakeError } from "../dist/index.js";
import { serve } from "./server.mjs";

const STARTED = { status: 202, body: { job_id: "job_1", media_id: "med_1", status: "queued" } };
const DONE = { body: { job_id: "job_1", status: "completed", result: { label: "fake", score: 0.9 } } };
const problem = (status, code, headers = {}) =>
  ({ status, headers, body: { status, code, detail: "No.", request_id: "r-1", fields: { mode: ["Unknown."] } } });

async function withServer(t, replies, options = {}) {
  const server = await serve(replies);
  t.after(server.close);
  return { server, client: new Client({ apiKey: "dfk_1_x", baseUrl: server.url, timeoutS: 5, ...options }) };
}

for (const status of [429, 500, 502, 503, 504]) {
  test(`repeats ${status} with the same key`, async (t) => {
    const { server, client } = await withServer(t, { "/v1/detect": [problem(status, "x"), { status }, STARTED] });
    assert.equal((await client.detect("https://example.org/a.mp4")).job_id, "job_1");
    assert.equal(server.seen.length, 3);
    const keys = new Set(server.seen.map((call) => call.headers["idempotency-key"]));
    assert.equal(keys.size, 1);
    assert.ok([...keys][0]);
    assert.deepEqual(server.seen.map((call) => call.headers.authorization), Array(3).fill("Bearer dfk_1_x"));
  });
}

for (const [status, code] of [[400, "invalid"], [401, "not_authenticated"], [404, "not_found"], [409, "job_ended"],
  [422, "idempotency_key_reused"], [507, "storage_full"]]) {
  test(`does not repeat ${status}`, async (t) => {
    const { server, client } = await withServer(t, { "/v1/detect": problem(status, code) });
    await assert.rejects(client.detect("https://example.org/a.mp4"), (error) => {
      assert.ok(error instanceof DeepfakeError);
      assert.deepEqual([error.code, error.status, error.requestId], [code, status, "r-1"]);
      assert.deepEqual(error.fields, { mode: ["Unknown."] });
      return true;
    });
    assert.equal(server.seen.length, 1);
  });
}

test("repeats while the first still runs", async (t) => {
  const { server, client } = await withServer(t, { "/v1/detect": [problem(409, "idempotency_in_progress"), STARTED] });
  await client.detect("https://example.org/a.mp4", { idempotencyKey: "mine" });
  assert.deepEqual(server.seen.map((call) => call.headers["idempotency-key"]), ["mine", "mine"]);
});

test("gives up after its retries", async (t) => {
  const { server, client } = await withServer(t, { "/v1/jobs/job_1": { status: 503, body: "<html>" } }, { retries: 1 });
  await assert.rejects(client.job("job_1"), { code: "http_503", status: 503 });
  assert.equal(server.seen.length, 2);
});

test("obeys Retry-After", async (t) => {
  const { client } = await withServer(t, { "/v1/jobs/job_1": [problem(429, "throttled", { "retry-after": "1" }), DONE] });
  const begun = Date.now();
  await client.job("job_1");
  assert.ok(Date.now() - begun >= 990);
});

test("gives up when asked to come back next week", async (t) => {
  const { server, client } = await withServer(t, { "/v1/jobs/job_1": problem(503, "busy", { "retry-after": "604800" }) });
  await assert.rejects(client.job("job_1"), { code: "busy", retryAfterS: 604800 });
  assert.equal(server.seen.length, 1);
});

test("tries again when the network breaks off", async (t) => {
  const { server, client } = await withServer(t, { "/v1/detect": ["cut", STARTED] });
  await client.detect(new Uint8Array([1, 2, 3]));
  assert.equal(new Set(server.seen.map((call) => call.headers["idempotency-key"])).size, 1);
});

test("tells of a network that is not there", async () => {
  const client = new Client({ apiKey: "k", baseUrl: "http://127.0.0.1:1", retries: 0 });
  await assert.rejects(client.job("job_1"), { code: "network", status: undefined });
});

test("follows no redirect with the key", async (t) => {
  const { server, client } = await withServer(t, { "/v1/jobs/job_1": { status: 302, headers: { location: "/other" } } });
  await assert.rejects(client.job("job_1"), { code: "http_302" });
  assert.equal(server.seen.length, 1);
});

test("sends every source whole, even twice", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "sdk-"));
  t.after(() => rm(folder, { recursive: true }));
  const content = Buffer.alloc(700_000, "0123456789");
  const path = join(folder, "clip.mp4");
  await writeFile(path, content);
  const pipe = Readable.from([content.subarray(0, 9), content.subarray(9)]);
  for (const source of [path, content, new Blob([content]), createReadStream(path), pipe]) {
    const { server, client } = await withServer(t, { "/v1/detect": [{ status: 503 }, STARTED] });
    await client.detect(source, { mode: "video", priority: 5 });
    assert.equal(server.seen.length, 2);
    for (const call of server.seen) {
      const form = await new Response(call.body, { headers: { "content-type": call.headers["content-type"] } }).formData();
      const file = form.get("file");
      assert.ok(content.equals(Buffer.from(await file.arrayBuffer())));
      assert.deepEqual([form.get("mode"), form.get("priority")], ["video", "5"]);
      if (source === path) assert.equal(file.name, "clip.mp4");
    }
  }
});

test("names addresses and items", async (t) => {
  const { server, client } = await withServer(t, {
    "/v1/detect": STARTED, "/v1/media": { status: 201, body: { media_id: "med_1" } },
  });
  const media = await client.upload("https://example.org/a.mp4");
  await client.detect(media, { priority: 3 });
  await client.detect("med_1", { callbackUrl: "https://app.example.org/h" });
  await client.detect(new URL("https://example.org/b.png"));
  assert.deepEqual(server.seen.map((call) => JSON.parse(call.body)), [
    { url: "https://example.org/a.mp4" },
    { mode: "auto", priority: 3, media_id: "med_1" },
    { mode: "auto", callback_url: "https://app.example.org/h", media_id: "med_1" },
    { mode: "auto", url: "https://example.org/b.png" },
  ]);
  assert.equal(new Set(server.seen.map((call) => call.headers["idempotency-key"])).size, 4);
});

test("says which file is not there", async () => {
  const client = new Client({ apiKey: "k" });
  await assert.rejects(client.detect("/nowhere/a.mp4"), { code: "file_not_found" });
});

test("waits for the verdict, or throws what the job says", async (t) => {
  const failed = { body: { job_id: "job_2", status: "failed", error: { code: "media_unreadable", message: "Damaged." } } };
  const { client } = await withServer(t, {
    "/v1/jobs/job_1?wait=25": [{ body: { job_id: "job_1", status: "running" } }, DONE],
    "/v1/jobs/job_2?wait=25": failed,
    "/v1/jobs/job_3?wait=1": { body: { job_id: "job_3", status: "running" } },
  });
  assert.equal((await client.wait("job_1")).result.label, "fake");
  await assert.rejects(client.wait("job_2"), { code: "media_unreadable", message: "Damaged.", status: undefined });
  await assert.rejects(client.wait("job_3", { timeoutS: 0.3 }), { code: "timeout" });
});

test("streams each step once", async (t) => {
  const half = { body: { job_id: "job_1", status: "running", stage: "spatial", percent: 50 } };
  const { client } = await withServer(t, {
    "/v1/jobs/job_1": [{ body: { job_id: "job_1", status: "queued" } }, half, half, DONE],
  });
  const seen = [];
  for await (const job of client.stream("job_1", { intervalS: 0.01 })) seen.push(job.status);
  assert.deepEqual(seen, ["queued", "running", "completed"]);
});

test("keeps a report to the byte", async (t) => {
  const pdf = Buffer.from([37, 80, 68, 70, 0, 255]);
  const { client } = await withServer(t, { "/v1/reports/job_1?format=pdf": { body: pdf } });
  assert.ok(pdf.equals(await client.report("job_1", { format: "pdf" })));
});

test("every failure is a DeepfakeError", async (t) => {
  const saved = process.env.DEEPFAKE_API_KEY;
  delete process.env.DEEPFAKE_API_KEY;
  t.after(() => { if (saved !== undefined) process.env.DEEPFAKE_API_KEY = saved; });
  for (const make of [() => new Client(), () => new Client({ apiKey: "k", baseUrl: "media.example.org" })]) {
    assert.throws(make, (error) => error instanceof DeepfakeError && error.code === "settings_invalid");
  }
  const { client } = await withServer(t, { "/v1/jobs/job_1": { body: "<html>" } });
  await assert.rejects(client.job("job_1"), { name: "DeepfakeError", code: "answer_unreadable" });
  for (const source of [undefined, null, 7]) {
    await assert.rejects(client.detect(source), { name: "DeepfakeError", code: "source_unusable" });
  }
  const broken = Readable.from((function* () { yield Buffer.from("x"); throw new Error("gone"); })());
  await assert.rejects(client.detect(broken), { name: "DeepfakeError", code: "source_unusable" });
});

test("reads lists page after page", async (t) => {
  const query = "status=failed&score_from=0.5&since=2026-11-21T09%3A00%3A00.000Z&include=&limit=2";
  const next = `https://elsewhere.example/x?${query}&cursor=c`;
  const { server, client } = await withServer(t, {
    [`/v1/jobs?${query}`]: { body: { results: [{ job_id: "job_1" }, { job_id: "job_2" }], next } },
    [`/v1/jobs?${query}&cursor=c`]: { body: { results: [{ job_id: "job_3" }], next: null } },
    "/v1/batches/bat_1/items?has_error=true": { body: { results: [], next: null } },
  });
  const since = new Date("2026-11-21T09:00:00Z");
  const rows = client.jobs({ status: "failed", scoreFrom: 0.5, since, include: "", domain: undefined, pageSize: 2 });
  assert.equal(server.seen.length, 0);
  assert.equal((await rows.next()).value.job_id, "job_1");
  assert.equal(server.seen.length, 1);
  const rest = [];
  for await (const job of rows) rest.push(job.job_id);
  assert.deepEqual(rest, ["job_2", "job_3"]);
  for await (const item of client.batchItems("bat_1", { hasError: true })) assert.fail(item);
});

test("sends what was given", async (t) => {
  const said = { body: {} };
  const { server, client } = await withServer(t, {
    "/v1/batches": said, "/v1/jobs/job_1/rerun": said, "/v1/feedback": said, "/v1/webhooks": said,
    "/v1/webhooks/whk_1/test": said, "/v1/webhooks/whk_1": { status: 204 },
  });
  await client.createBatch([{ media_id: "med_1", reference: "a" }], { name: "Wire", callbackUrl: "https://app.example.org/h" });
  await client.rerun({ job_id: "job_1" }, { stability: "full", thresholdProfile: "" });
  await client.feedback({ job_id: "job_1" }, "real", { notes: "Ours." });
  await client.createWebhook("https://app.example.org/h", ["*"], { idempotencyKey: "mine" });
  await client.testWebhook({ webhook_id: "whk_1" });
  await client.deleteWebhook("whk_1");
  assert.deepEqual(server.seen.slice(0, 4).map((call) => JSON.parse(call.body)), [
    { items: [{ media_id: "med_1", reference: "a" }], name: "Wire", callback_url: "https://app.example.org/h" },
    { stability: "full", threshold_profile: "" },
    { job_id: "job_1", label: "real", notes: "Ours." },
    { url: "https://app.example.org/h", events: ["*"], description: "" },
  ]);
  assert.equal(server.seen[3].headers["idempotency-key"], "mine");
  assert.deepEqual(server.seen.slice(4).map((call) => call.method), ["POST", "DELETE"]);
});

const LARGE = Buffer.from(Array.from({ length: 250 }, (_, at) => at));
const at = (offset, item, status = 204) =>
  ({ status, headers: { "upload-offset": String(offset), ...(item ? { "media-id": item } : {}) } });

function uploading(t, pieces, heads = [], more = {}) {
  return withServer(t, {
    "POST /v1/uploads": { status: 201, headers: { location: "https://proxy.example.org/v1/uploads/upl_1", "upload-offset": "0" } },
    "PATCH /v1/uploads/upl_1": pieces,
    "HEAD /v1/uploads/upl_1": heads,
    "/v1/media/med_1": { body: { media_id: "med_1" } },
    ...more,
  }, { retries: 2 });
}
const piecesOf = (server) =>
  server.seen.filter((call) => call.method === "PATCH").map((call) => [call.headers["upload-offset"], call.body.toString("hex")]);
const cut = (from, to) => LARGE.subarray(from, to).toString("hex");

test("sends a large file in pieces", async (t) => {
  const { server, client } = await uploading(t, [at(100), at(200), at(250, "med_1")]);
  const media = await client.uploadLarge(LARGE, { filename: "é.mp4", pieceBytes: 100 });
  assert.equal(media.media_id, "med_1");
  assert.deepEqual(piecesOf(server), [["0", cut(0, 100)], ["100", cut(100, 200)], ["200", cut(200)]]);
  const { headers } = server.seen[0];
  assert.deepEqual([headers["upload-length"], headers["tus-resumable"]], ["250", "1.0.0"]);
  assert.equal(headers["upload-metadata"], `filename ${Buffer.from("é.mp4").toString("base64")}`);
});

for (const [what, broken] of [["a cut", "cut"], ["503", { status: 503 }], ["409", problem(409, "upload_offset")]]) {
  test(`goes on where an upload stood after ${what}`, async (t) => {
    const { server, client } = await uploading(t, [at(100), broken, at(250, "med_1")], [at(130, "", 200)]);
    await client.uploadLarge(LARGE, { pieceBytes: 120 });
    assert.deepEqual(piecesOf(server).at(-1), ["130", cut(130)]);
  });
}

test("gives up an upload that gets no further", async (t) => {
  const { server, client } = await uploading(t, ["cut", "cut"], [at(0, "", 200), at(0, "", 200)]);
  await assert.rejects(client.uploadLarge(LARGE), { code: "network" });
  assert.equal(piecesOf(server).length, 3);
});

test("survives a lost answer to the last piece", async (t) => {
  const first = await uploading(t, ["cut"], [at(250, "med_1", 200)]);
  assert.equal((await first.client.uploadLarge(LARGE)).media_id, "med_1");
  const later = await uploading(t, ["cut", at(250), at(250, "med_1")], [at(250, "", 200)]);
  assert.equal((await later.client.uploadLarge(LARGE)).media_id, "med_1");
  assert.deepEqual(piecesOf(later.server).at(-1), ["250", ""]);
});

test("says why an upload was refused, also when the refusal was lost", async (t) => {
  const told = await uploading(t, [problem(415, "unsupported_type")]);
  await assert.rejects(told.client.uploadLarge(LARGE), { code: "unsupported_type", status: 415 });
  const lost = await uploading(t, ["cut"], { status: 410 }, {
    "GET /v1/uploads/upl_1": { body: { error: { code: "unsupported_type", message: "This is an archive." } } },
  });
  await assert.rejects(lost.client.uploadLarge(LARGE), { code: "unsupported_type", message: "This is an archive." });
  await assert.rejects(lost.client.uploadLarge("https://example.org/a.mp4"), { code: "source_unusable" });
});

test("every call stands in the README", async () => {
  const here = new URL("..", import.meta.url);
  const readme = await readFile(new URL("README.md", here), "utf8");
  const calls = Object.getOwnPropertyNames(Client.prototype).filter((name) => name !== "constructor");
  assert.ok(calls.length > 15);
  for (const name of calls) assert.ok(readme.includes(`${name}(`), name);
});
