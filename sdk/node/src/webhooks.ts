/** Checking that a webhook is genuine before it is believed. */
import { createHmac, timingSafeEqual } from "node:crypto";

import { DeepfakeError } from "./errors.js";
import type { DeepfakeEvent } from "./shapes.js";

const SECRET_BYTES = 16; // at least; a shorter one could be guessed
const WEBHOOK_SECRET = /^whsec_(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const API_KEY = /^(?:dfk|test)_[0-9a-f]{8}_[A-Za-z0-9_-]{32,}$/;

export type WebhookHeaders = Headers | Record<string, string | string[] | undefined>;

/**
 * Return the event of a genuine call. Throws DeepfakeError: `webhook_malformed`, `webhook_late`, `webhook_forged`;
 * `webhook_secret_unusable` when one of the secrets is missing, cut or otherwise none that a call can be checked with.
 *
 * @param secret the webhook's `whsec_…`, or, for a callback_url, the text of the API key that asked for it; several
 *   while you exchange them
 * @param body the bytes as they came, before anything has parsed them
 */
export function verifyWebhook(
  secret: string | string[] | undefined,
  headers: WebhookHeaders,
  body: Uint8Array | string,
  { toleranceS = 300 }: { toleranceS?: number } = {},
): DeepfakeEvent {
  const keys = keysOf(secret);
  const content = typeof body === "string" ? Buffer.from(body) : Buffer.from(body);
  const id = read(headers, "webhook-id");
  const moment = read(headers, "webhook-timestamp");
  const signatures = read(headers, "webhook-signature");
  if (!id || !signatures || !/^\d{1,12}$/.test(moment)) {
    throw refused("The webhook's headers are missing or malformed.", "webhook_malformed");
  }
  if (Math.abs(Date.now() / 1000 - Number(moment)) > toleranceS) {
    throw refused("The webhook is too old, or this machine's clock is wrong.", "webhook_late");
  }
  const expected = keys.map((key) =>
    createHmac("sha256", key).update(`${id}.${moment}.`).update(content).digest());
  let isGenuine = false;
  for (const part of signatures.split(" ")) {
    if (!part.startsWith("v1,")) continue;
    const found = Buffer.from(part.slice(3), "base64");
    for (const one of expected) { // every pair is compared, each in constant time
      if (found.length === one.length && timingSafeEqual(found, one)) isGenuine = true;
    }
  }
  if (!isGenuine) throw refused("The webhook is not signed with this secret.", "webhook_forged");
  try {
    return JSON.parse(content.toString("utf8")) as DeepfakeEvent;
  } catch {
    throw refused("The webhook's body is not JSON.", "webhook_malformed");
  }
}

function read(headers: WebhookHeaders, name: string): string {
  if (headers instanceof Headers) return headers.get(name) ?? "";
  for (const [key, value] of Object.entries(headers)) {
    if (key.toLowerCase() === name) return (Array.isArray(value) ? value[0] : value) ?? "";
  }
  return "";
}

/** What to sign with. A key of no bytes would make every forger's signature genuine, so none is ever returned. */
function keysOf(secret: unknown): (Buffer | string)[] {
  const secrets: unknown[] = Array.isArray(secret) ? secret : secret ? [secret] : [];
  if (!secrets.length) throw refused("No secret was given to check the webhook with.", "webhook_secret_unusable");
  return secrets.map(keyOf);
}

function keyOf(secret: unknown): Buffer | string {
  if (typeof secret === "string" && WEBHOOK_SECRET.test(secret)) {
    const key = Buffer.from(secret.slice(6), "base64");
    if (key.length >= SECRET_BYTES) return key;
  } else if (typeof secret === "string" && API_KEY.test(secret)) {
    return createHmac("sha256", secret).update("callback-signing").digest("hex");
  }
  throw refused(
    "The secret is neither that of a webhook (whsec_ and Base64) nor an API key (dfk_… or test_…).",
    "webhook_secret_unusable",
  );
}

function refused(message: string, code: string): DeepfakeError {
  return new DeepfakeError(message, { code });
}
