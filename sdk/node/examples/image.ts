// Judge a picture: node image.js portrait.jpg
import { Client } from "deepfake-client";

const client = new Client(); // DEEPFAKE_API_KEY, DEEPFAKE_URL
const job = await client.wait(await client.detect(process.argv[2] ?? "portrait.jpg", { mode: "image" }));
console.log(job.result?.label, job.result?.score, job.result?.rationale);
console.log("what the face check looked at:", job.result?.explanations["saliency_map"]);
