/**
 * The other end of runMain(): a thread that keeps the command line loaded and runs one command after another.
 * What a command writes is gathered here, for nobody else writes in this thread.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { main } from "../../src/cli/main.ts";

export interface Call {
  /** From one on; what `answered` says when its answer lies there. */
  number: number;
  args: readonly string[];
  env: Record<string, string | undefined>;
}

export interface Answer {
  status: number;
  stdout: string;
  stderr: string;
}

const { port, answered } = workerData as { port: MessagePort; answered: Int32Array };
/** Of the call that is not answered yet. */
let current: number | undefined;
let texts = { stdout: "", stderr: "" };

for (const name of ["stdout", "stderr"] as const) {
  process[name].write = ((chunk: string | Uint8Array, ...rest: unknown[]) => {
    texts[name] += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString();
    const callback = rest.find((each) => typeof each === "function") as (() => void) | undefined;
    if (callback) setImmediate(callback);
    return true;
  }) as typeof process.stdout.write;
}

function answer(status: number): void {
  if (current === undefined) return; // a command that failed may come to an end still
  const said: Answer = { status, ...texts };
  port.postMessage(said);
  Atomics.store(answered, 0, current);
  Atomics.notify(answered, 0);
  current = undefined;
}

// As Node itself has it.
process.on("uncaughtException", (error) => {
  process.stderr.write(`${error.stack}\n`);
  answer(1);
});

parentPort!.on("message", async ({ number, args, env }: Call) => {
  current = number;
  texts = { stdout: "", stderr: "" };
  for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name];
  Object.assign(process.env, env);
  answer(await main(args));
});
