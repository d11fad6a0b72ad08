// A webhook is believed only when it is genuine.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import test from "node:test";

import { DeepfakeError, verifyWebhook } from "../dist/index.js";

const key = Buffer.alloc(32, "s");
const SECRET = `whsec_${key.toString("base64")}`;
const BODY = '{"event":"job.completed","job_id":"job_1"}';

const arabic = (seconds) => seconds.replace(/\d/g, (digit) => String.fromCharCode(0x660 + Number(digit)));

function signed({ body = BODY, age = 0, secrets = [key], id = "msg_1", written = (seconds) => seconds } = {}) {
  const moment = written(String(Math.floor(Date.now() / 1000) - age));
  const digests = secrets.map((one) => createHmac("sha256", one).update(`${id}.${moment}.${body}`).digest("base64"));
  return {
    "webhook-id": id,
    "webhook-timestamp": moment,
    "webhook-signature": digests.map((digest) => `v1,${digest}`).join(" "),
  };
}

test("reads a genuine one", () => {
  assert.equal(verifyWebhook(SECRET, signed(), BODY).job_id, "job_1");
  assert.ok(verifyWebhook(SECRET, new Headers(signed()), Buffer.from(BODY)));
  assert.ok(verifyWebhook(SECRET, signed({ secrets: [Buffer.alloc(32, "n"), key] }), BODY));
  assert.ok(verifyWebhook([`whsec_${Buffer.alloc(32).toString("base64")}`, SECRET], signed(), BODY));
});

test("checks a callback with the key", () => {
  for (const prefix of ["dfk", "test"]) {
    const text = `${prefix}_0a1b2c3d_${"k".repeat(43)}`;
    const derived = createHmac("sha256", text).update("callback-signing").digest("hex");
    assert.ok(verifyWebhook(text, signed({ secrets: [derived] }), BODY));
    assert.throws(() => verifyWebhook(`${text}y`, signed({ secrets: [derived] }), BODY), { code: "webhook_forged" });
  }
});

for (const [what, code, secret, headers, body] of [
  ["an altered body", "webhook_forged", SECRET, () => signed(), BODY + " "],
  ["another secret", "webhook_forged", `whsec_${Buffer.alloc(32).toString("base64")}`, () => signed(), BODY],
  ["an old one", "webhook_late", SECRET, () => signed({ age: 400 }), BODY],
  ["one from the future", "webhook_late", SECRET, () => signed({ age: -400 }), BODY],
  ["another id", "webhook_forged", SECRET, () => ({ ...signed(), "webhook-id": "msg_2" }), BODY],
  ["nonsense", "webhook_forged", SECRET, () => ({ ...signed(), "webhook-signature": "v1,%% v2,x" }), BODY],
  ["no time", "webhook_malformed", SECRET, () => ({ ...signed(), "webhook-timestamp": "now" }), BODY],
  ...["+", " ", "0000", "-"].map((sign) =>
    [`a time that begins with ${sign}`, "webhook_malformed", SECRET, () => signed({ written: (s) => sign + s }), BODY]),
  ["digits of another script", "webhook_malformed", SECRET, () => signed({ written: arabic }), BODY],
  ["no headers", "webhook_malformed", SECRET, () => ({}), BODY],
  ["no JSON", "webhook_malformed", SECRET, () => signed({ body: "[" }), "["],
]) {
  test(`refuses ${what}`, () => {
    assert.throws(() => verifyWebhook(secret, headers(), body), (error) => {
      assert.ok(error instanceof DeepfakeError);
      assert.equal(error.code, code);
      return true;
    });
  });
}

const UNUSABLE = [
  "", undefined, null, [], "whsec_", "whsec_***", "whsec_=", "whsec_é", `whsec_${"A".repeat(20)}`, `whsec_${"A".repeat(22)}`,
  `${SECRET}\n`, SECRET.slice(6), `whsec_${Buffer.from("short").toString("base64")}`, 7, {}, [SECRET, ""],
  [SECRET, undefined], ["whsec_***"], [[SECRET]], "dfk_", "dfk_…", "dfk_0a1b2c3d_", "dfk_1_x", " ", "secret",
];
test("refuses every secret that proves nothing", () => {
  for (const secret of UNUSABLE) {
    assert.throws(() => verifyWebhook(secret, signed({ secrets: [""] }), BODY), (error) => {
      assert.ok(error instanceof DeepfakeError, String(secret));
      assert.equal(error.code, "webhook_secret_unusable", String(secret));
      return true;
    });
  }
});
