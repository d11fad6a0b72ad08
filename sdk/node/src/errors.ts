export interface ErrorFacts {
  code: string;
  status?: number | undefined;
  requestId?: string | undefined;
  fields?: Record<string, string[]> | undefined;
  retryAfterS?: number | undefined;
  cause?: unknown;
}

/**
 * A refusal by the API, a failed analysis, a network that does not answer, or a webhook that is not genuine.
 *
 * `code` is stable, for programs (docs/api.md lists the server's; the client's own are `network`, `timeout`,
 * `answer_unreadable`, `settings_invalid`, `file_not_found`, `source_unusable` and those that begin with `webhook_`).
 * `status` is that of the HTTP answer, undefined when there was none or the answer was no refusal. `retryAfterS`:
 * seconds that the server asked to wait, if it did.
 */
export class DeepfakeError extends Error {
  readonly code: string;
  readonly status: number | undefined;
  readonly requestId: string;
  readonly fields: Record<string, string[]>;
  readonly retryAfterS: number | undefined;

  constructor(message: string, { code, status, requestId = "", fields = {}, retryAfterS, cause }: ErrorFacts) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "DeepfakeError";
    this.code = code;
    this.status = status;
    this.requestId = requestId;
    this.fields = fields;
    this.retryAfterS = retryAfterS;
  }
}
