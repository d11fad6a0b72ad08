/** One request to the API, repeated while that may help, and lists read page after page. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { DeepfakeError } from "./errors.js";

const RETRIED = new Set([429, 500, 502, 503, 504]);
const FIRST_PAUSE_S = 0.5;
const LONGEST_PAUSE_S = 30;
const LONGEST_RETRY_AFTER_S = 120; // a server that asks for more is obeyed by giving up

export interface ClientOptions {
  /** Without it, the environment's DEEPFAKE_API_KEY. */
  apiKey?: string;
  /** Without it, the environment's DEEPFAKE_URL. */
  baseUrl?: string;
  /** Of one request. */
  timeoutS?: number;
  /** Of one request, on 429, on faults of the server and of the network. */
  retries?: number;
}

export interface Asked {
  json?: Record<string, unknown>;
  form?: () => FormData;
  content?: Blob;
  headers?: Record<string, string>;
  key?: string | undefined;
  extraS?: number;
  retries?: number;
}

export class Wire {
  readonly retries: number;
  readonly #apiKey: string;
  readonly #baseUrl: string;
  readonly #timeoutS: number;

  constructor({ apiKey, baseUrl, timeoutS = 60, retries = 4 }: ClientOptions) {
    this.#apiKey = apiKey || process.env["DEEPFAKE_API_KEY"] || "";
    this.#baseUrl = (baseUrl || process.env["DEEPFAKE_URL"] || "http://127.0.0.1:8000").replace(/\/+$/, "");
    this.#timeoutS = timeoutS;
    this.retries = retries;
    if (!this.#apiKey) throw unusable("Give an API key, or set DEEPFAKE_API_KEY.");
    if (!/^https?:\/\//.test(this.#baseUrl)) throw unusable("baseUrl begins with http:// or https://.");
  }

  async json<T>(method: string, path: string, asked: Asked = {}): Promise<T> {
    const content = new TextDecoder().decode(await this.bytes(method, path, asked));
    try {
      return JSON.parse(content) as T;
    } catch (cause) {
      throw new DeepfakeError(`${this.#baseUrl} answers something else than JSON.`, { code: "answer_unreadable", cause });
    }
  }

  async bytes(method: string, path: string, asked: Asked = {}): Promise<Uint8Array> {
    const answer = await this.open(method, path, asked);
    try {
      return new Uint8Array(await answer.arrayBuffer());
    } catch (cause) {
      throw this.#broken(cause);
    }
  }

  /** The rows of a list, fetched page after page as they are asked for. */
  async *each<T>(path: string, filters: object): AsyncGenerator<T, void, undefined> {
    let query = queryOf(filters);
    for (;;) {
      const page = await this.json<{ results: T[]; next: string | null }>("GET", `${path}?${query}`);
      yield* page.results;
      if (!page.next) return;
      query = new URL(page.next).search.slice(1); // of the same list: the key follows no other address
    }
  }

  /** A repeat carries the same Idempotency-Key: nothing is done twice. */
  async open(method: string, path: string, asked: Asked = {}): Promise<Response> {
    const { json, form, content, key, extraS = 0, retries = this.retries } = asked;
    const headers: Record<string, string> = {
      authorization: `Bearer ${this.#apiKey}`,
      accept: "application/json, */*;q=0.5",
      ...asked.headers,
    };
    if (method === "POST") headers["idempotency-key"] = key || randomUUID();
    if (json) headers["content-type"] = "application/json";
    for (let tried = 0; ; tried++) {
      let error: DeepfakeError;
      try {
        const answer = await fetch(this.#baseUrl + path, {
          method,
          headers,
          redirect: "manual", // the key goes to this server and to no other
          body: form ? form() : json ? JSON.stringify(json) : content ?? null,
          signal: AbortSignal.timeout((this.#timeoutS + extraS) * 1000),
        });
        if (answer.ok) return answer;
        error = await problem(answer);
      } catch (cause) {
        error = this.#broken(cause);
      }
      if (!helps(error) || tried >= retries) throw error;
      await pause(error, tried);
    }
  }

  #broken(cause: unknown): DeepfakeError {
    return new DeepfakeError(`${this.#baseUrl} does not answer: ${reason(cause)}`, { code: "network", cause });
  }
}

/** Whether the same request, sent again, may fare better. */
export function helps(error: DeepfakeError): boolean {
  const maySucceed = RETRIED.has(error.status ?? 0) || ["network", "idempotency_in_progress"].includes(error.code);
  return maySucceed && (error.retryAfterS ?? 0) <= LONGEST_RETRY_AFTER_S;
}

/** Wait longer each time, and not less than the server asks for. */
export async function pause(error: DeepfakeError | undefined, tried: number): Promise<void> {
  const pauseS = Math.min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** tried) * (0.5 + Math.random() / 2);
  await sleep(Math.max(error?.retryAfterS ?? 0, pauseS) * 1000);
}

/** `scoreFrom` and the like as the API names them; what is undefined is left out. */
function queryOf(filters: object): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filters)) {
    if (value === undefined) continue;
    const field = name === "pageSize" ? "limit" : name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    query.set(field, value instanceof Date ? value.toISOString() : String(value));
  }
  return query.toString();
}

function unusable(message: string): DeepfakeError {
  return new DeepfakeError(message, { code: "settings_invalid" });
}

async function problem(answer: Response): Promise<DeepfakeError> {
  let told: Record<string, unknown> = {};
  try {
    const body: unknown = await answer.json();
    if (body && typeof body === "object") told = body as Record<string, unknown>;
  } catch {
    // a proxy's page, not ours
  }
  return new DeepfakeError(String(told["detail"] ?? `The server answered ${answer.status}.`), {
    code: String(told["code"] ?? `http_${answer.status}`),
    status: answer.status,
    requestId: String(told["request_id"] ?? answer.headers.get("x-request-id") ?? ""),
    fields: (told["fields"] ?? {}) as Record<string, string[]>,
    retryAfterS: retryAfter(answer.headers.get("retry-after") ?? ""),
  });
}

function retryAfter(text: string): number | undefined {
  if (/^\d+$/.test(text.trim())) return Number(text);
  const moment = Date.parse(text);
  return Number.isNaN(moment) ? undefined : Math.max(0, (moment - Date.now()) / 1000);
}

function reason(cause: unknown): string {
  const inner = cause instanceof Error ? (cause.cause instanceof Error ? cause.cause : cause) : undefined;
  return inner ? inner.message || String((inner as { code?: unknown }).code ?? inner.name) : String(cause);
}
