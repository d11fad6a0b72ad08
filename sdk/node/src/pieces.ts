/** A large file in pieces (tus 1.0): after a broken connection it goes on where it stood. */
import { DeepfakeError } from "./errors.js";
import type { Opened } from "./sources.js";
import { helps, pause, type Wire } from "./wire.js";

export const PIECE_BYTES = 8 * 1024 * 1024;
const FINISH_S = 330; // a server that died while it made the item of the pieces is followed after five minutes
const TUS = { "tus-resumable": "1.0.0" };

/** How many bytes are there, and the item that was made of them, "" while there is none. */
interface Stand {
  offset: number;
  item: string;
}

/** Return the id of the item that was made of the file. Throws DeepfakeError. */
export async function sendPieces(wire: Wire, { blob, filename }: Opened, pieceBytes: number, key?: string): Promise<string> {
  const name = Buffer.from(filename).toString("base64");
  const begun = await wire.open("POST", "/v1/uploads", {
    headers: { ...TUS, "upload-length": String(blob.size), "upload-metadata": `filename ${name}` },
    key,
  });
  // Of this server, whatever name it goes by behind a proxy.
  const path = `/v1/uploads/${(begun.headers.get("location") ?? "").split("/").at(-1)}`;
  let { offset, item } = standOf(begun);
  let failures = 0;
  let end = 0;
  while (!item) {
    let now: Stand;
    let error: DeepfakeError | undefined;
    try {
      const headers = { ...TUS, "content-type": "application/offset+octet-stream", "upload-offset": String(offset) };
      const piece = blob.slice(offset, offset + pieceBytes);
      now = standOf(await wire.open("PATCH", path, { content: piece, headers, retries: 0 }));
    } catch (broken) {
      if (!(broken instanceof DeepfakeError && (helps(broken) || broken.code === "upload_offset"))) throw broken;
      error = broken;
      now = await askStand(wire, path);
    }
    if (now.offset !== offset || now.item) {
      ({ offset, item } = now);
      failures = end = 0;
      continue;
    }
    // All is there, and another process makes the item of it; or nothing came through.
    end ||= Date.now() + FINISH_S * 1000;
    if ((error && failures >= wire.retries) || Date.now() > end) {
      throw error ?? new DeepfakeError("The server does not finish the upload.", { code: "timeout" });
    }
    await pause(error, failures++);
  }
  return item;
}

function standOf(answer: Response): Stand {
  return { offset: Number(answer.headers.get("upload-offset")), item: answer.headers.get("media-id") ?? "" };
}

async function askStand(wire: Wire, path: string): Promise<Stand> {
  try {
    return standOf(await wire.open("HEAD", path, { headers: TUS }));
  } catch (gone) {
    if (!(gone instanceof DeepfakeError && gone.status === 410)) throw gone;
    // The answer to HEAD has no body: the reason is told to those who read the upload.
    const { error } = await wire.json<{ error: { code: string; message: string } | null }>("GET", path);
    throw error ? new DeepfakeError(error.message, { code: error.code, cause: gone }) : gone;
  }
}
