/** What tests with a Hub of their own have in common. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach } from "node:test";
import type { FaultRule, LoggedRequest } from "../support/hub/faults.ts";
import type { TestHub } from "../support/hub/hub-server.ts";

/** A blend of the small family in nine shards and more. Paths are absolute: it is written elsewhere. */
export const MANY_SHARDS: string = `version: 1
parents:
  v3: ${process.cwd()}/models/mini-v3
  r1: ${process.cwd()}/models/mini-r1
base: v3
rules:
  - tensors: routed-experts
    weights: { r1: 1 }
  - { tensors: attention, weights: { r1: 0.5 } }
output: { max_shard_size: 300KB }
`;

/** In this process and its threads the Hub is that one; no token, an empty cache, short pauses. */
export function useHub(hub: TestHub): void {
  const names = ["HF_ENDPOINT", "HF_HOME", "HF_TOKEN", "CHIMERA_RETRY_MS", "HF_HUB_OFFLINE"];
  const old = names.map((name) => process.env[name]);
  let home: string;
  before(() => {
    home = mkdtempSync(join(tmpdir(), "chimera-hub-"));
    process.env.HF_ENDPOINT = hub.url;
    process.env.HF_HOME = home;
    process.env.CHIMERA_RETRY_MS = "5";
    delete process.env.HF_TOKEN;
    delete process.env.HF_HUB_OFFLINE;
  });
  after(() => {
    rmSync(home, { recursive: true, force: true });
    for (const [i, name] of names.entries()) {
      if (old[i] === undefined) delete process.env[name];
      else process.env[name] = old[i];
    }
  });
}

/** As useHub(), with the token that may write, and an empty store before each test. */
export function useWritableHub(hub: TestHub): void {
  useHub(hub);
  before(() => {
    process.env.HF_TOKEN = hub.options.token;
  });
  beforeEach(() => {
    hub.rules = [];
    hub.forget();
    hub.blobs.clear();
    hub.uploads.clear();
  });
}

export function filesOf(folder: string): Map<string, Uint8Array> {
  return new Map(readdirSync(folder).map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]));
}

/** Whether a request is one for bytes of what lies in LFS. */
export function isLargeFile({ path, method }: LoggedRequest): boolean {
  return method === "GET" && path.startsWith("/blobs/");
}

/** No answer for half a minute to requests that match; `then` is called while they wait. */
export function silentAt(matches: (request: LoggedRequest) => boolean, then: () => void): FaultRule {
  return (request) => {
    if (!matches(request)) return undefined;
    setTimeout(then, 10);
    return { kind: "slow", ms: 30_000 };
  };
}
