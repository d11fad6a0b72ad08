/** What can be sent: a path, an address, bytes, a stream, or an item that was submitted before. */
import { randomUUID } from "node:crypto";
import { createWriteStream, existsSync, openAsBlob } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { DeepfakeError } from "./errors.js";

export type Source = string | URL | Uint8Array | Blob | Readable | ReadableStream<Uint8Array> | { media_id: string };

/** The fields that name a source which is not a file of ours; undefined for a file. */
export function named(source: Source): Record<string, string> | undefined {
  if (source instanceof URL) return source.protocol === "file:" ? undefined : { url: source.href };
  if (typeof source === "string") {
    if (/^https?:\/\//i.test(source)) return { url: source };
    return source.startsWith("med_") && !existsSync(source) ? { media_id: source } : undefined;
  }
  if (!source || typeof source !== "object") {
    throw new DeepfakeError("Give a path, an address, bytes, a stream, or an item.", { code: "source_unusable" });
  }
  return "media_id" in source ? { media_id: source.media_id } : undefined;
}

export interface Opened {
  blob: Blob;
  filename: string;
  close(): Promise<void>;
}

/** A file that can be sent more than once. A stream is copied to disk first, so that a repeat can be made. */
export async function opened(source: Source, filename: string): Promise<Opened> {
  if (source instanceof Blob) {
    return { blob: source, filename: filename || (source as { name?: string }).name || "file", close: nothing };
  }
  if (source instanceof Uint8Array) return { blob: new Blob([source as Uint8Array<ArrayBuffer>]), filename: filename || "file", close: nothing };
  if (typeof source === "string" || source instanceof URL) {
    try {
      return { blob: await openAsBlob(source), filename: filename || basename(String(source)), close: nothing };
    } catch (error) {
      throw new DeepfakeError(`${String(source)} cannot be read.`, { code: "file_not_found", cause: error });
    }
  }
  const copy = join(tmpdir(), `deepfake-${randomUUID()}`);
  const close = () => rm(copy, { force: true });
  try {
    const readable = source instanceof Readable ? source : Readable.fromWeb(source as never);
    await pipeline(readable, createWriteStream(copy, { mode: 0o600 }));
    const given = (source as { path?: unknown }).path; // of a file that was opened as a stream
    const name = filename || (typeof given === "string" ? basename(given) : "file");
    return { blob: await openAsBlob(copy), filename: name, close };
  } catch (error) {
    await close();
    throw new DeepfakeError("The stream cannot be read.", { code: "source_unusable", cause: error });
  }
}

async function nothing(): Promise<void> {}
