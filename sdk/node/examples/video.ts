// Judge a clip, tell its progress, keep the signed report: node video.js statement.mp4
import { writeFile } from "node:fs/promises";

import { Client, DeepfakeError } from "deepfake-client";

const client = new Client();
const media = await client.upload(process.argv[2] ?? "statement.mp4");
const job = await client.detect(media);
for await (const { status, percent, stage } of client.stream(job)) {
  console.log(status.padEnd(10), `${percent ?? 0} %`, stage ?? "");
}
try {
  const { result } = await client.wait(job);
  console.log(result?.label, result?.score);
  for (const branch of result?.per_branch ?? []) console.log(" ", branch.branch, branch.state, branch.sentence);
  await writeFile("report.pdf", await client.report(job, { format: "pdf" }));
} catch (error) {
  if (!(error instanceof DeepfakeError)) throw error;
  console.error(`no verdict: ${error.message} (${error.code})`);
  process.exitCode = 1;
}
