/** Running the command line, and waiting for what it does. Ends only what it started. */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface Run {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface StartOptions {
  /** A module of this folder that is loaded first, also into worker threads. */
  preload?: "slow" | "dying";
  env?: Record<string, string>;
  /** Default: that of the test. */
  cwd?: string;
  /** Options of node itself. */
  flags?: readonly string[];
}

const beside = (name: string) => fileURLToPath(new URL(`./${name}.js`, import.meta.url));

/** Starts `chimera …args`. `done` resolves when it has ended, whatever its status. */
export function start(
  args: readonly string[],
  { preload, env, cwd, flags = [] }: StartOptions = {},
): { child: ChildProcess; done: Promise<Run> } {
  const first = preload ? ["--import", beside(preload)] : [];
  const child = spawn(process.execPath, [...flags, ...first, beside("command"), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, NO_COLOR: "1", ...env },
  });
  const texts = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]!.setEncoding("utf8").on("data", (text: string) => {
      texts[name] += text;
    });
  }
  const done = new Promise<Run>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, signal) => resolve({ status, signal, ...texts }));
  });
  return { child, done };
}

export function run(args: readonly string[], options: StartOptions = {}): Promise<Run> {
  return start(args, options).done;
}

/** Waits until a condition holds; throws after ten seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited a minute in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
