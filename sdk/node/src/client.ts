/** The client: send media, start analyses, wait for verdicts, fetch reports; batches and webhooks. */
import { setTimeout as sleep } from "node:timers/promises";

import { DeepfakeError } from "./errors.js";
import { PIECE_BYTES, sendPieces } from "./pieces.js";
import type {
  Batch, BatchItem, BatchItemStatus, Delivery, Feedback, Job, Kind, Label, Media, Mode, NewBatchItem, ReportFormat, Sort,
  Status, Webhook,
} from "./shapes.js";
import { named, opened, type Source } from "./sources.js";
import { Wire, type ClientOptions } from "./wire.js";

const FINAL = new Set(["completed", "failed", "cancelled"]);
const LONG_POLL_S = 25;
const POLL_S = 0.5;

export interface SendOptions {
  filename?: string;
  idempotencyKey?: string;
}

export interface DetectOptions extends SendOptions {
  mode?: Mode;
  callbackUrl?: string;
  thresholdProfile?: string;
  priority?: number;
  stability?: "cheap" | "full";
}

export interface WaitOptions {
  timeoutS?: number;
}

export interface LargeOptions extends SendOptions {
  pieceBytes?: number;
}

export interface RerunOptions {
  /** "" for the usual one. */
  thresholdProfile?: string;
  stability?: "cheap" | "full";
  callbackUrl?: string;
  idempotencyKey?: string;
}

export interface BatchOptions {
  name?: string;
  mode?: Mode;
  thresholdProfile?: string;
  stability?: "cheap" | "full";
  priority?: number;
  callbackUrl?: string;
  idempotencyKey?: string;
}

export interface PageOptions {
  /** Rows that are fetched at a time, 1 to 200. */
  pageSize?: number;
}

export interface JobFilters extends PageOptions {
  status?: Status;
  label?: Label;
  kind?: Kind;
  scoreFrom?: number;
  scoreTo?: number;
  /** A day ("2026-11-21") or a moment. */
  since?: string | Date;
  until?: string | Date;
  domain?: string;
  mediaId?: string;
  q?: string;
  sort?: Sort;
  /** Which parts, with commas between; "" for the state alone. */
  include?: string;
}

/** Whatever fails throws DeepfakeError. */
export class Client {
  readonly #wire: Wire;

  constructor(options: ClientOptions = {}) {
    this.#wire = new Wire(options);
  }

  /** Submit a file (path, bytes or stream) or an address; the analysis is started by `detect`. */
  async upload(source: Source, options: SendOptions = {}): Promise<Media> {
    return this.#send<Media>("/v1/media", source, {}, options);
  }

  /**
   * Submit a file in pieces; a connection that breaks costs one piece at most. With an `idempotencyKey` of yours, a
   * program that was started anew goes on with the upload of the same file.
   */
  async uploadLarge(source: Source, options: LargeOptions = {}): Promise<Media> {
    const { filename = "", idempotencyKey, pieceBytes = PIECE_BYTES } = options;
    if (named(source)) throw new DeepfakeError("Only a file is sent in pieces.", { code: "source_unusable" });
    const file = await opened(source, filename);
    try {
      const item = await sendPieces(this.#wire, file, pieceBytes, idempotencyKey);
      return await this.#wire.json<Media>("GET", `/v1/media/${item}`);
    } finally {
      await file.close();
    }
  }

  /** Start an analysis of a file, an address, or an item (its id, or what `upload` returned). */
  async detect(source: Source, options: DetectOptions = {}): Promise<Job> {
    const { mode = "auto", callbackUrl, thresholdProfile, priority, stability, ...rest } = options;
    const wanted = { mode, callback_url: callbackUrl, threshold_profile: thresholdProfile, priority, stability };
    const fields = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value)) as Record<string, string>;
    return this.#send<Job>("/v1/detect", source, fields, rest);
  }

  /** The job as it stands; with `waitS`, a server that can holds the answer until the job has ended. */
  async job(job: Job | string, { waitS = 0 }: { waitS?: number } = {}): Promise<Job> {
    const query = waitS ? `?wait=${waitS}` : "";
    return this.#wire.json<Job>("GET", `/v1/jobs/${idOf(job, "job_id")}${query}`, { extraS: waitS });
  }

  /** The completed job. Throws DeepfakeError: with the job's code when it failed, `timeout` when it is late. */
  async wait(job: Job | string, { timeoutS = 600 }: WaitOptions = {}): Promise<Job> {
    return completed(await this.#ended<Job>(`/v1/jobs/${idOf(job, "job_id")}`, "analysis", timeoutS));
  }

  /** The job or batch, once it has ended. */
  async #ended<T extends { status: string }>(path: string, what: string, timeoutS: number): Promise<T> {
    const end = Date.now() + timeoutS * 1000;
    let pauseS = POLL_S;
    for (;;) {
      const asked = Date.now();
      const waitS = Math.max(1, Math.min(LONG_POLL_S, Math.floor((end - asked) / 1000)));
      const found = await this.#wire.json<T>("GET", `${path}?wait=${waitS}`, { extraS: waitS });
      if (FINAL.has(found.status)) return found;
      if (Date.now() >= end) throw late(what, timeoutS, found);
      if (Date.now() - asked < 900) { // the server did not hold the answer
        await sleep(Math.min(pauseS * 1000, Math.max(0, end - Date.now())));
        pauseS = Math.min(pauseS * 1.3, 5);
      }
    }
  }

  /** Yield the job each time that it has moved on (`status`, `stage`, `percent`); the last one has ended. */
  async *stream(
    job: Job | string,
    { timeoutS = 600, intervalS = POLL_S }: WaitOptions & { intervalS?: number } = {},
  ): AsyncGenerator<Job, void, undefined> {
    const end = Date.now() + timeoutS * 1000;
    let last = "";
    for (;;) {
      const found = await this.job(job);
      const now = JSON.stringify([found.status, found.stage, found.percent]);
      if (now !== last) {
        last = now;
        yield found;
      }
      if (FINAL.has(found.status)) return;
      if (Date.now() >= end) throw late("analysis", timeoutS, found);
      await sleep(intervalS * 1000);
    }
  }

  /** All jobs that fit, newest first unless `sort` says otherwise; pages are fetched as you go. */
  jobs(filters: JobFilters = {}): AsyncGenerator<Job, void, undefined> {
    return this.#wire.each<Job>("/v1/jobs", filters);
  }

  /** The job, which ends at once when it waits, at its next step when it runs. */
  async cancel(job: Job | string): Promise<Job> {
    return this.#wire.json<Job>("POST", `/v1/jobs/${idOf(job, "job_id")}/cancel`);
  }

  /** A new job on the same item, with the options of the first but for those given. */
  async rerun(job: Job | string, options: RerunOptions = {}): Promise<Job> {
    const { thresholdProfile, stability, callbackUrl, idempotencyKey } = options;
    const json = { threshold_profile: thresholdProfile, stability, callback_url: callbackUrl };
    return this.#wire.json<Job>("POST", `/v1/jobs/${idOf(job, "job_id")}/rerun`, { json, key: idempotencyKey });
  }

  /** Say what an item that was analysed really is. */
  async feedback(
    job: Job | string,
    label: Label,
    { notes = "", idempotencyKey }: { notes?: string; idempotencyKey?: string } = {},
  ): Promise<Feedback> {
    const json = { job_id: typeof job === "string" ? job : job.job_id, label, notes };
    return this.#wire.json<Feedback>("POST", "/v1/feedback", { json, key: idempotencyKey });
  }

  /** Analyse up to 1,000 items, each with `media_id` or `url`, and your own `reference` if you like. */
  async createBatch(items: NewBatchItem[], options: BatchOptions = {}): Promise<Batch> {
    const { name, mode, thresholdProfile, stability, priority, callbackUrl, idempotencyKey } = options;
    const json = {
      items, name, mode, threshold_profile: thresholdProfile, stability, priority, callback_url: callbackUrl,
    };
    return this.#wire.json<Batch>("POST", "/v1/batches", { json, key: idempotencyKey });
  }

  /** The batch as it stands. */
  async batch(batch: Batch | string): Promise<Batch> {
    return this.#wire.json<Batch>("GET", `/v1/batches/${idOf(batch, "batch_id")}`);
  }

  /** The batch when all its items have ended, or it was cancelled. Throws DeepfakeError: `timeout`. */
  async waitBatch(batch: Batch | string, { timeoutS = 3600 }: WaitOptions = {}): Promise<Batch> {
    return this.#ended<Batch>(`/v1/batches/${idOf(batch, "batch_id")}`, "batch", timeoutS);
  }

  /** Its items in their order, with their verdicts or errors; pages are fetched as you go. */
  batchItems(
    batch: Batch | string,
    filters: PageOptions & { status?: BatchItemStatus; hasError?: boolean } = {},
  ): AsyncGenerator<BatchItem, void, undefined> {
    return this.#wire.each<BatchItem>(`/v1/batches/${idOf(batch, "batch_id")}/items`, filters);
  }

  /** Have `url` told of `events` (`["*"]` of all). Keep the answer's `secret`: no later answer has it. */
  async createWebhook(
    url: string,
    events: string[],
    { description = "", idempotencyKey }: { description?: string; idempotencyKey?: string } = {},
  ): Promise<Webhook & { secret: string }> {
    return this.#wire.json("POST", "/v1/webhooks", { json: { url, events, description }, key: idempotencyKey });
  }

  /** All webhooks of the organisation with their health, newest first. */
  webhooks(options: PageOptions = {}): AsyncGenerator<Webhook, void, undefined> {
    return this.#wire.each<Webhook>("/v1/webhooks", options);
  }

  /** Delete it, and its log. */
  async deleteWebhook(webhook: Webhook | string): Promise<void> {
    await this.#wire.open("DELETE", `/v1/webhooks/${idOf(webhook, "webhook_id")}`);
  }

  /** Call it now with `webhook.test`, once; `state` and `log` say how it went. */
  async testWebhook(webhook: Webhook | string): Promise<Delivery> {
    return this.#wire.json<Delivery>("POST", `/v1/webhooks/${idOf(webhook, "webhook_id")}/test`);
  }

  /** The signed report. Keep the bytes as they are: a report that was parsed and written anew does not verify. */
  async report(job: Job | string, { format = "json" }: { format?: ReportFormat } = {}): Promise<Uint8Array> {
    return this.#wire.bytes("GET", `/v1/reports/${idOf(job, "job_id")}?format=${format}`);
  }

  /** The same as a stream, for evidence bundles that are large. */
  async reportStream(
    job: Job | string,
    { format = "bundle" }: { format?: ReportFormat } = {},
  ): Promise<ReadableStream<Uint8Array>> {
    const answer = await this.#wire.open("GET", `/v1/reports/${idOf(job, "job_id")}?format=${format}`);
    return answer.body as ReadableStream<Uint8Array>;
  }

  async #send<T>(path: string, source: Source, fields: Record<string, string>, options: SendOptions): Promise<T> {
    const key = options.idempotencyKey;
    const pointed = named(source);
    if (pointed) return this.#wire.json<T>("POST", path, { json: { ...fields, ...pointed }, key });
    const file = await opened(source, options.filename ?? "");
    try {
      const form = () => {
        const data = new FormData();
        for (const [name, value] of Object.entries(fields)) data.set(name, String(value));
        data.set("file", file.blob, file.filename);
        return data;
      };
      return await this.#wire.json<T>("POST", path, { form, key });
    } finally {
      await file.close();
    }
  }
}

function idOf<F extends string>(named: { [field in F]: string } | string, field: F): string {
  return encodeURIComponent(typeof named === "string" ? named : named[field]);
}

function completed(job: Job): Job {
  if (job.status === "completed") return job;
  if (job.status === "cancelled") throw new DeepfakeError("The analysis was cancelled.", { code: "cancelled" });
  throw new DeepfakeError(job.error?.message ?? "The analysis failed.", {
    code: job.error?.code ?? "internal_error",
  });
}

function late(what: string, timeoutS: number, { status }: { status: string }): DeepfakeError {
  return new DeepfakeError(`The ${what} has not ended after ${timeoutS} s: ${status}.`, { code: "timeout" });
}
