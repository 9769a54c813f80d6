/** Runs the compiled command line in a process of its own, as bin/chimera.mjs does. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";

export interface CliResult {
  status: number | null;
  stdout: string;
  stderr: string;
}

// Compiled beside the tests, wherever that is; dist/ may be older.
const MAIN = new URL("../../src/cli/main.js", import.meta.url).href;
// The program's name comes first, as in any argv; "inspect" in its place would start Node's debugger.
const CODE = `import(${JSON.stringify(MAIN)}).then(async ({ main }) => {
  process.exitCode = await main(process.argv.slice(2));
});`;

/** Node's arguments before the command's own. */
export const MAIN_ARGS: readonly string[] = ["-e", CODE, "--", "chimera"];

export function runMain(...args: string[]): CliResult {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...MAIN_ARGS, ...args], {
    encoding: "utf8",
    timeout: 60_000,
    env: { ...process.env, NO_COLOR: "1" },
    maxBuffer: 100_000_000,
  });
  return { status, stdout, stderr };
}

export interface StartedMain {
  child: ChildProcess;
  /** What it has said so far on stderr. */
  stderr(): string;
  result: Promise<CliResult>;
}

/** As runMain(), for commands that talk to a server of the test's own process, or are to be ended by it. */
export function startMain(args: readonly string[], env: Record<string, string> = {}): StartedMain {
  const child = spawn(process.execPath, [...MAIN_ARGS, ...args], {
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
  });
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
  const [stdout, stderr] = [() => Buffer.concat(out).toString(), () => Buffer.concat(err).toString()];
  const result = new Promise<CliResult>((resolve) =>
    child.on("close", (status) => resolve({ status, stdout: stdout(), stderr: stderr() })),
  );
  return { child, stderr, result };
}
