// Judge a voice recording, or only the sound of a clip: node audio.js call.wav
import { createReadStream } from "node:fs";

import { Client } from "deepfake-client";

const client = new Client();
const job = await client.detect(createReadStream(process.argv[2] ?? "call.wav"), { mode: "audio" });
const { result } = await client.wait(job);
console.log(result?.label, result?.score, result?.rationale);
