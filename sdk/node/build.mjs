// Compiles src/ to dist/. `npm install ./sdk/node` from another folder links this one and runs `prepare` in it without
// its devDependencies, so the compiler is fetched here when it is missing.
import { execFileSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const compiler = `${here}node_modules/typescript/bin/tsc`;
if (!existsSync(compiler)) {
  const npm = process.env.npm_execpath; // how npm says where it lies, on every system
  const [command, first] = npm ? [process.execPath, [npm]] : ["npm", []];
  const env = { ...process.env, npm_config_global: "", npm_config_prefix: "", npm_config_local_prefix: "" };
  const asked = ["install", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"];
  execFileSync(command, [...first, ...asked], { cwd: here, env, stdio: ["ignore", "ignore", "inherit"] });
}
rmSync(`${here}dist`, { recursive: true, force: true });
execFileSync(process.execPath, [compiler, "-p", here], { cwd: here, stdio: "inherit" });
