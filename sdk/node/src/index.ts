/** Client of the deepfake detection API. It needs nothing but Node.js 20. */
export {
  Client, type BatchOptions, type DetectOptions, type JobFilters, type LargeOptions, type RerunOptions, type WaitOptions,
} from "./client.js";
export { DeepfakeError } from "./errors.js";
export type {
  Batch, BatchItem, BatchItemStatus, BatchStatus, Branch, DeepfakeEvent, Delivery, Feedback, Job, Kind, Label, Media, Mode,
  NewBatchItem, ReportFormat, Result, Sort, Status, Webhook,
} from "./shapes.js";
export type { Source } from "./sources.js";
export { verifyWebhook, type WebhookHeaders } from "./webhooks.js";
export type { ClientOptions } from "./wire.js";
