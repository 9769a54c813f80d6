/** The one place of this layer that starts processes: parts of a job, and the commands of schedulers. */
import { type ChildProcess, spawn } from "node:child_process";
import { BuildError } from "../base/errors.ts";
import { openAppended } from "../checkpoint/node-append.ts";
import type { TaskEnd } from "./exit-rules.ts";

export interface RunOptions {
  cwd: string;
  env?: Readonly<Record<string, string>>;
  /** stdout and stderr go there, after what it holds. */
  log: string;
  /** Passed on to the process, once, as SIGTERM: it saves its state. */
  signal?: AbortSignal;
}

/** Runs a program to its end. Throws BuildError when it cannot be started. */
export function runLogged(
  [program, ...args]: readonly string[],
  { cwd, env, log, signal }: RunOptions,
): Promise<TaskEnd> {
  const file = openAppended(log);
  return new Promise<TaskEnd>((resolve, reject) => {
    // A session of its own: Ctrl-C would otherwise come twice, from the terminal and from here, and twice means "at once".
    const child = spawn(program!, args, {
      ...{ cwd, detached: true, env: { ...process.env, ...env } },
      stdio: ["ignore", file.fd, file.fd],
    });
    const stop = () => void child.kill("SIGTERM");
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
    const done = () => {
      signal?.removeEventListener("abort", stop);
      file.close();
    };
    child.on("error", (error) => {
      done();
      reject(notStarted(program!, error));
    });
    child.on("exit", (status, by) => {
      done();
      resolve({ status, signal: by });
    });
  });
}

export interface Captured {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program for what it says. Undefined when there is no such program on the PATH. */
export function capture(
  [program, ...args]: readonly string[],
  { cwd, input, env }: { cwd?: string; input?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<Captured | undefined> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(program!, args, {
      ...(cwd === undefined ? {} : { cwd }),
      env: { ...process.env, ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const texts = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name]!.setEncoding("utf8").on("data", (text: string) => {
        texts[name] += text;
      });
    child.stdin!.on("error", () => {}); // it ended without reading
    child.stdin!.end(input ?? "");
    child.on("error", (error) => {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") resolve(undefined);
      else reject(notStarted(program!, error));
    });
    child.on("close", (status) => resolve({ status, ...texts }));
  });
}

function notStarted(program: string, error: Error): BuildError {
  return new BuildError("not-started", `Cannot start "${program}": ${error.message}`, { cause: error });
}
