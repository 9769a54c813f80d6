/**
 * Runs the compiled command line: in a thread that stays loaded, where only what a command says and does is looked
 * at, or in a process of its own, as bin/chimera.mjs does.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { Answer, Call } from "./main-thread.ts";

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

const TIMEOUT_MS = 60_000;

interface MainThread {
  worker: Worker;
  port: MessagePort;
  /** The number of the last call whose answer lies there. */
  answered: Int32Array<SharedArrayBuffer>;
  calls: number;
}

let thread: MainThread | undefined;

function startThread(): MainThread {
  const { port1: port, port2 } = new MessageChannel();
  const answered = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL("./main-thread.js", import.meta.url), {
    workerData: { port: port2, answered },
    transferList: [port2],
  });
  worker.unref();
  port.unref();
  return { worker, port, answered, calls: 0 };
}

/** Runs a command to its end, one after another in one thread. Nothing comes by stdin. */
export function runMain(...args: string[]): CliResult {
  thread ??= startThread();
  const { worker, port, answered } = thread;
  const call: Call = { number: ++thread.calls, args, env: { ...process.env, NO_COLOR: "1" } };
  worker.postMessage(call);
  const deadline = performance.now() + TIMEOUT_MS;
  for (let last = Atomics.load(answered, 0); last !== call.number; last = Atomics.load(answered, 0)) {
    const left = deadline - performance.now();
    if (left <= 0) return giveUp(args);
    Atomics.wait(answered, 0, last, left);
  }
  return (receiveMessageOnPort(port)?.message as Answer | undefined) ?? giveUp(args);
}

/** It came to no end: another thread for the next command. */
function giveUp(args: readonly string[]): CliResult {
  void thread?.worker.terminate();
  thread = undefined;
  return { status: null, stdout: "", stderr: `chimera ${args.join(" ")} took more than ${TIMEOUT_MS} ms` };
}

let queue: Promise<unknown> = Promise.resolve();

/** As runMain(), for commands that talk to a server of the test's own process, which must not sleep meanwhile. */
export function callMain(args: readonly string[], env: Record<string, string> = {}): Promise<CliResult> {
  const result = queue.then(() => call(args, env));
  queue = result;
  return result;
}

function call(args: readonly string[], env: Record<string, string>): Promise<CliResult> {
  thread ??= startThread();
  const { worker, port } = thread;
  const asked: Call = { number: ++thread.calls, args, env: { ...process.env, NO_COLOR: "1", ...env } };
  worker.postMessage(asked);
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(giveUp(args)), TIMEOUT_MS);
    port.once("message", (answer: Answer) => {
      clearTimeout(timer);
      port.unref();
      resolve(answer);
    });
    port.ref();
  });
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
    timeout: TIMEOUT_MS,
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
