/** Real servers over the small models, on loopback and a port of their own, with the official client beside them. */
import { readdirSync, symlinkSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import OpenAI from "openai";
import { discover } from "../../src/server/discover.ts";
import { listen, type Timeouts } from "../../src/server/listen.ts";
import { openServing, type ServeOptions } from "../../src/server/open-serving.ts";
import type { Serving } from "../../src/server/serving.ts";
import { type Ends, temporaryFolder } from "./temporary-folder.ts";

export interface RunningServer {
  /** Without /v1. */
  url: string;
  port: number;
  /** Of the official package; it tries nothing twice. */
  client: OpenAI;
  serving: Serving;
  server: Server;
  /** What was logged, as lines of JSON. */
  log: string[];
  close(): Promise<void>;
}

export interface RunOptions extends ServeOptions {
  /** Checkpoints, recipes, folders. */
  places: string[];
  apiKey?: string;
  timeouts?: Timeouts;
}

export async function startServed({
  places,
  apiKey = "none",
  timeouts = {},
  models,
  ...options
}: RunOptions): Promise<RunningServer> {
  const log: string[] = [];
  const {
    app,
    serving,
    close: end,
  } = await openServing(discover(places), {
    log: {
      info: (event, data) => log.push(JSON.stringify({ level: "info", event, ...data })),
      error: (event, data) => log.push(JSON.stringify({ level: "error", event, ...data })),
    },
    models: { idleMs: 0, ...models, model: { threads: 1, ...models?.model } },
    ...options,
  });
  const server = await listen(app, { port: 0, host: "127.0.0.1", ...timeouts });
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, timeout: 60_000 });
  const close = async () => {
    const closed = new Promise((done) => server.close(done));
    server.closeAllConnections();
    await closed;
    await end();
  };
  return { url, port, client, serving, server, log, close };
}

/** A checkpoint that is another one but for its chat template. */
export function withTemplate(ends: Ends, checkpoint: string, template: string): string {
  const folder = temporaryFolder(ends);
  for (const name of readdirSync(checkpoint)) symlinkSync(resolve(checkpoint, name), join(folder, name));
  writeFileSync(join(folder, "chat_template.jinja"), template);
  return folder;
}

export async function gathered<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of stream) all.push(item);
  return all;
}

/** A number that /metrics tells. */
export async function metric(url: string, line: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const found = text.split("\n").find((other) => other.startsWith(`${line} `));
  return found === undefined ? Number.NaN : Number(found.slice(line.length + 1));
}

/** Waits for what comes soon. Rejects after 10 s. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited a minute in vain until ${what}`);
    await new Promise((resume) => setTimeout(resume, 20));
  }
}
