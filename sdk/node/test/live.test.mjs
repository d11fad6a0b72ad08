// The contract with a real server: DEEPFAKE_URL, DEEPFAKE_API_KEY and the folder MEDIA_DIR name it and what to send;
// connections to CUTTING_URL lead to the same server and break off now and then.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import test from "node:test";

import { Client, verifyWebhook } from "../dist/index.js";

const { DEEPFAKE_URL, DEEPFAKE_API_KEY, MEDIA_DIR, CUTTING_URL } = process.env;
const skip = DEEPFAKE_URL && DEEPFAKE_API_KEY && MEDIA_DIR ? false : "no server is named";
const picture = () => join(MEDIA_DIR, "astronaut.jpg");

async function all(rows) {
  const found = [];
  for await (const row of rows) found.push(row);
  return found;
}

async function receiving(t) {
  const calls = [];
  const receiver = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    calls.push({ headers: request.headers, body: Buffer.concat(chunks) });
    response.writeHead(204).end();
    receiver.emit("called");
  }).listen(0, "127.0.0.1");
  t.after(() => receiver.close());
  await once(receiver, "listening");
  return { calls, receiver, address: `http://127.0.0.1:${receiver.address().port}/hook` };
}

test("from a file to a verdict, a report and a signed webhook", { skip, timeout: 500_000 }, async (t) => {
  const { calls, receiver, address } = await receiving(t);
  const client = new Client();
  const { webhook_id, secret } = await client.createWebhook(address, ["job.completed"]);
  t.after(() => client.deleteWebhook(webhook_id));
  const media = await client.upload(picture());
  assert.match(media.media_id, /^med_[0-9a-f]{32}$/);
  const started = await client.detect(media, { mode: "image" });
  const seen = [];
  for await (const job of client.stream(started)) seen.push(job.status);
  assert.equal(seen.at(-1), "completed");
  const { result } = await client.wait(started);
  assert.ok(["real", "fake", "inconclusive"].includes(result.label));
  assert.ok(result.per_branch.length > 0);
  const report = JSON.parse(Buffer.from(await client.report(started)).toString());
  assert.equal(report.analysis.job_id ?? report.analysis.id, started.job_id);

  while (!calls.length) await once(receiver, "called");
  const event = verifyWebhook(secret, calls[0].headers, calls[0].body);
  assert.deepEqual([event.event, event.job_id, event.result.label], ["job.completed", started.job_id, result.label]);
  assert.throws(() => verifyWebhook(secret, calls[0].headers, calls[0].body + " "), { code: "webhook_forged" });
});

test("errors are the server's own", { skip, timeout: 300_000 }, async () => {
  const client = new Client();
  await assert.rejects(client.job("job_00000000000000000000000000000000"), { code: "not_found", status: 404 });
  await assert.rejects(new Client({ apiKey: "dfk_0_x" }).job("job_1"), { code: "authentication_failed", status: 401 });
  await assert.rejects(client.detect(Buffer.from("no picture"), { filename: "a.jpg" }), { code: "unsupported_type" });
  const twice = { idempotencyKey: `node-${Date.now()}` };
  const [first, second] = [await client.detect(picture(), twice), await client.detect(picture(), twice)];
  assert.equal(first.job_id, second.job_id);
  await assert.rejects(client.upload(picture(), twice), { code: "idempotency_key_reused", status: 422 });
});

test("a large file over a connection that breaks", { skip: skip || !CUTTING_URL, timeout: 300_000 }, async () => {
  const size = 1_280_000;
  const head = Buffer.alloc(44);
  head.write("RIFF", 0); head.writeUInt32LE(size + 36, 4); head.write("WAVEfmt ", 8); head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20); head.writeUInt16LE(1, 22); head.writeUInt32LE(16_000, 24); head.writeUInt32LE(32_000, 28);
  head.writeUInt16LE(2, 32); head.writeUInt16LE(16, 34); head.write("data", 36); head.writeUInt32LE(size, 40);
  const recording = Buffer.concat([head, randomBytes(size)]);
  const client = new Client({ baseUrl: CUTTING_URL });
  const media = await client.uploadLarge(recording, { filename: "long.wav", pieceBytes: 500_000 });
  assert.equal(media.sha256, createHash("sha256").update(recording).digest("hex"));
  assert.equal(media.filename, "long.wav");
  await assert.rejects(new Client().uploadLarge(Buffer.alloc(10_000, "no picture")), { code: "unsupported_type" });
});

test("a batch from its items to their verdicts", { skip, timeout: 300_000 }, async () => {
  const client = new Client();
  const { media_id } = await client.upload(picture());
  const made = await client.createBatch(
    [{ media_id, reference: "a" }, { media_id, reference: "b" }, { media_id: `med_${"0".repeat(32)}` }],
    { name: "Wire", mode: "image" },
  );
  assert.deepEqual([made.status, made.total, made.name], ["running", 3, "Wire"]);
  const ended = await client.waitBatch(made, { timeoutS: 250 });
  assert.deepEqual([ended.status, ended.ended], ["completed", 3]);
  assert.deepEqual((await client.batch(made.batch_id)).counts, ended.counts);
  const items = await all(client.batchItems(made, { pageSize: 2 }));
  assert.deepEqual(items.map((item) => [item.reference, item.status]), [["a", "completed"], ["b", "completed"], ["", "refused"]]);
  assert.deepEqual((await all(client.batchItems(made, { hasError: true }))).map((item) => item.error.code), ["not_found"]);
});

test("jobs are listed, rerun, labelled and cancelled", { skip, timeout: 300_000 }, async () => {
  const client = new Client();
  const first = await client.wait(await client.detect(picture(), { mode: "image" }));
  const second = await client.rerun(first, { stability: "full" });
  assert.equal((await client.wait(second)).media_id, first.media_id);
  const third = await client.rerun(first);
  assert.equal((await client.cancel(third)).job_id, third.job_id);
  const listed = await all(client.jobs({ mediaId: first.media_id, sort: "oldest", include: "", pageSize: 1 }));
  assert.deepEqual(listed.map((job) => job.job_id).slice(-2), [second.job_id, third.job_id]);
  assert.equal(listed[0].result, undefined);
  const fitting = client.jobs({ status: "completed", label: first.result.label, since: new Date("2020-01-01"), scoreFrom: 0 });
  assert.ok((await all(fitting)).some((job) => job.job_id === first.job_id) || first.result.score === null);
  const said = await client.feedback(first, "real", { notes: "Ours." });
  assert.deepEqual([said.job_id, said.label], [first.job_id, "real"]);
});

test("webhooks are made, tested and deleted", { skip, timeout: 60_000 }, async (t) => {
  const { calls, address } = await receiving(t);
  const client = new Client();
  const made = await client.createWebhook(address, ["job.completed"], { description: "Newsroom" });
  assert.ok((await all(client.webhooks({ pageSize: 1 }))).some((one) => one.webhook_id === made.webhook_id && !one.secret));
  assert.equal((await client.testWebhook(made)).state, "delivered");
  assert.equal(verifyWebhook(made.secret, calls[0].headers, calls[0].body).event, "webhook.test");
  await client.deleteWebhook(made);
  await assert.rejects(client.testWebhook(made), { code: "not_found", status: 404 });
});
