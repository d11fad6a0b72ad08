/** What the API answers with. Fields that a later release adds are there too. */

export type Label = "real" | "fake" | "inconclusive";
export type Status = "queued" | "running" | "completed" | "failed" | "cancelled";
export type Mode = "auto" | "image" | "video" | "audio";
export type ReportFormat = "json" | "pdf" | "html" | "bundle";
export type Kind = "image" | "video" | "audio";
export type Sort = "newest" | "oldest" | "score_high" | "score_low" | "finished" | "uncertain";
export type BatchStatus = "open" | "running" | "completed" | "cancelled";
export type BatchItemStatus =
  | "waiting" | "queued" | "running" | "completed" | "failed" | "cancelled" | "refused" | "deleted";

export interface Media {
  media_id: string;
  uri: string;
  kind: string | null;
  filename: string;
  mime_type: string | null;
  size_bytes: number | null;
  sha256: string | null;
  duration_s: number | null;
  seen_before?: string[];
}

export interface Branch {
  branch: string;
  channel: string;
  state: "scored" | "skipped" | "failed";
  score: number | null;
  sentence: string;
  reason: string | null;
}

export interface Result {
  label: Label;
  score: number | null;
  confidence_interval: [number, number] | null;
  interval_crosses_threshold: boolean;
  abstain_reason: string | null;
  rationale: string;
  per_branch: Branch[];
  model_version: string;
  explanations: Record<string, string | null>;
  artifacts: Record<string, unknown>[];
  details?: Record<string, unknown>;
}

export interface Job {
  job_id: string;
  media_id: string;
  status: Status;
  stage?: string;
  percent?: number;
  media?: Media;
  result?: Result;
  error?: { code: string; message: string };
}

export interface DeepfakeEvent {
  event: string;
  timestamp: string;
  job_id?: string;
  media_id?: string;
  status?: Status;
  result?: Result;
  error?: { code: string; message: string };
  [field: string]: unknown;
}

/** One of `media_id` and `url`; `reference` is your own name for it. */
export interface NewBatchItem {
  media_id?: string;
  url?: string;
  reference?: string;
}

export interface Batch {
  batch_id: string;
  name: string;
  status: BatchStatus;
  total: number;
  ended: number;
  percent: number;
  counts: Record<BatchItemStatus, number>;
  labels: Record<Label, number>;
  created_at: string;
  finished_at: string | null;
}

export interface BatchItem {
  position: number;
  reference: string;
  media_id: string | null;
  url: string | null;
  status: BatchItemStatus;
  job_id: string | null;
  label: Label | null;
  score: number | null;
  error: { code: string; message: string } | null;
}

export interface Feedback {
  feedback_id: string;
  job_id: string;
  label: Label;
}

export interface Webhook {
  webhook_id: string;
  url: string;
  description: string;
  events: string[];
  enabled: boolean;
  /** In the answer to `createWebhook` alone. */
  secret?: string;
  failures: number;
  last_success_at: string | null;
  last_failure_at: string | null;
  created_at: string;
}

export interface Delivery {
  delivery_id: string;
  webhook_id: string;
  event: string;
  state: "waiting" | "retrying" | "delivered" | "failed";
  attempts: number;
  last_status: number | null;
  last_error: string | null;
  body: Record<string, unknown>;
  log: Record<string, unknown>[];
}
