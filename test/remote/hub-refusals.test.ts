/** What may be wrong with a Hub, and what is said of it: one clear error, an exit status, bounded time and memory. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { openWholeCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { parseHubPlace } from "../../src/checkpoint/remote/hub-store.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { callMain, startMain } from "../cli/run-main.ts";
import { gitHash, sha256, TestHub } from "../support/hub/hub-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesOf, isLargeFile, useHub } from "./use-hub.ts";

describe("the Hub refuses, or is none", () => {
  const hub = new TestHub({ lfsBytes: 1 << 19, pageSize: 3 });
  const files = filesOf("models/mini-r1");

  before(async () => {
    await hub.start();
    hub.add("chimera/open", files);
    hub.add("chimera/private", files, { isPrivate: true });
    hub.add("chimera/gated", files, { isGated: true });
  });
  after(() => hub.stop());
  useHub(hub);
  beforeEach(() => {
    hub.rules = [];
    hub.forget();
    delete process.env.HF_TOKEN;
    delete process.env.HF_HUB_OFFLINE;
    process.env.HF_ENDPOINT = hub.url;
  });

  const inspect = async (source: string, env: Record<string, string> = {}) =>
    callMain(["inspect", source], { HF_ENDPOINT: hub.url, ...env });

  test("a listing of several pages is read to its end", async () => {
    const entries = await openStore("hf:chimera/open").list();
    assert.deepEqual(entries.map(({ name }) => name).sort(), [...files.keys()].sort());
  });

  test("inspect, compare, generate take a repository by hf: and by its name", async () => {
    const { status, stdout, stderr } = await inspect("chimera/open");
    assert.equal(status, 0, stderr);
    assert.match(stdout, /deepseek/i);
    hub.forget();
    const compared = await callMain(["compare", "models/mini-v3", "hf:chimera/open", "--json"]);
    assert.equal(compared.status, 0, compared.stderr);
    const near = await callMain(["compare", "models/mini-v3", "models/mini-r1", "--json"]);
    assert.deepEqual(JSON.parse(compared.stdout).totals, JSON.parse(near.stdout).totals);
    const asked = hub.log.filter(isLargeFile).length;
    assert.ok(asked < 80, `${asked} requests for 501 tensors`);
    const args = [
      "generate",
      "hf:chimera/open",
      "--prompt",
      "What is 1 + 1?",
      "--max-tokens",
      "4",
      "--temperature",
      "0",
    ];
    const [far, here] = [
      await callMain(args),
      await callMain(["generate", "models/mini-r1", ...args.slice(2)]),
    ];
    assert.equal(far.status, 0, far.stderr);
    assert.equal(far.stdout, here.stdout);
  });

  test("a repository is served", async () => {
    const { child, result } = startMain(["serve", "hf:chimera/open", "--port", "0", "--json"]);
    const [line] = await once(child.stdout!, "data");
    const { url } = JSON.parse(String(line).split("\n")[0]!);
    const answer = await fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "open", prompt: "1 + 1 =", max_tokens: 2 }),
    });
    assert.equal(answer.status, 200, await answer.clone().text());
    const { usage } = (await answer.json()) as { usage: { completion_tokens: number } };
    assert.equal(usage.completion_tokens, 2);
    child.kill("SIGTERM");
    assert.equal((await result).status, 0);
    const none = await callMain(["serve", "hf:chimera/none", "--port", "0"]);
    assert.deepEqual([none.status, /no such repository/.test(none.stderr)], [3, true]);
  });

  test("commands of other engines name the repository, or bring it here first", async () => {
    const commandsFor = async (engine: string, place: string) => {
      const { status, stdout, stderr } = await callMain(["serve", "--print", engine, place]);
      assert.equal(status, 0, stderr);
      return stdout;
    };
    assert.match(
      await commandsFor("vllm", "hf:chimera/open@main"),
      /^vllm serve chimera\/open .*--revision main /m,
    );
    assert.match(
      await commandsFor("sglang", "chimera/open"),
      /--model-path chimera\/open --served-model-name open --tp 1/,
    );
    const converted = await commandsFor("llama.cpp", "mine=hf:chimera/open");
    assert.match(converted, /^chimera pull hf:chimera\/open -o mine$/m);
    assert.match(converted, /^python3 convert_hf_to_gguf\.py mine /m);
  });

  const refusals: [string, string, Record<string, string>, number, RegExp, RegExp][] = [
    [
      "a repository that is not there",
      "hf:chimera/none",
      {},
      3,
      /no such repository, or it is private/,
      /HF_TOKEN/,
    ],
    ["one that is private", "hf:chimera/private", {}, 3, /no such repository, or it is private/, /HF_TOKEN/],
    ["a wrong token", "hf:chimera/private", { HF_TOKEN: "hf_wrong" }, 3, /the token is not taken/, /expired/],
    ["a gated one", "hf:chimera/gated", {}, 3, /it is gated/, /Accept its terms at .*chimera\/gated/],
    ["no such revision", "hf:chimera/open@v9", {}, 3, /no revision "v9"/, /branches/],
    ["no such commit", `hf:chimera/open@${"0".repeat(40)}`, {}, 3, /no revision/, /branches/],
    ["what is no name of a repository", "hf:open", {}, 3, /wanted hf:ORG\/NAME/, /./],
    [
      "offline without a cache",
      "hf:chimera/open",
      { HF_HUB_OFFLINE: "1" },
      3,
      /not in the Hub's cache/,
      /HF_HUB_OFFLINE/,
    ],
    [
      "nobody at the endpoint",
      "hf:chimera/open",
      { HF_ENDPOINT: "http://127.0.0.1:1" },
      75,
      /Cannot reach/,
      /again/,
    ],
  ];
  for (const [what, source, env, wanted, message, note] of refusals) {
    test(`${what}: status ${wanted}`, async () => {
      const { status, stdout, stderr } = await inspect(source, env);
      assert.equal(status, wanted, stderr);
      assert.match(stderr, message);
      assert.match(stderr, note);
      assert.equal(stdout, "");
      assert.doesNotMatch(stderr, /hf_wrong|internal|at .*\.js/);
    });
  }

  test("the token opens what is private, and goes to the Hub alone", async () => {
    process.env.HF_TOKEN = hub.options.token;
    await openWholeCheckpoint(openStore("hf:chimera/private"));
    await openWholeCheckpoint(openStore("hf:chimera/gated"));
    const elsewhere = hub.log.filter(isLargeFile);
    assert.ok(elsewhere.length > 0);
    for (const { authorization } of elsewhere) assert.equal(authorization, undefined);
  });

  test("a Hub that answers HTML is told of", async () => {
    hub.rules = [
      () => ({
        kind: "status",
        status: 200,
        headers: { "content-type": "text/html" },
        body: "<html>Sign in</html>",
      }),
    ];
    await assert.rejects(openStore("hf:chimera/open").list(), /what is no JSON, wanted the Hub's API/);
  });

  const pages: [string, string, boolean][] = [
    ["the commit", "/revision/", false],
    ["the listing", "/tree/", false],
    ["a small file", "/config.json", false],
    ["a shard", "/blobs/", false],
    ["a Git blob, of the right length", "/config.json", true],
  ];
  for (const [what, path, isLong] of pages) {
    test(`a page with status 200 instead of ${what}: status 3`, async () => {
      const page = "<html>Sign in</html>";
      const body = isLong ? page.padEnd(files.get("config.json")!.length) : page;
      const headers = { "content-type": "text/html" };
      hub.rules = [
        (request) =>
          request.path.includes(path) ? { kind: "status", status: 200, headers, body } : undefined,
      ];
      const { status, stderr } = await inspect("hf:chimera/open", { CHIMERA_RETRY_MS: "2" });
      assert.equal(status, 3, stderr);
      assert.match(stderr, /wanted the Hub's API|a login page|the whole file, wanted the range/);
      assert.doesNotMatch(stderr, /internal|<html>/);
    });
  }

  test("a listing without an end is an error, and is not cut short", async () => {
    const next = (cursor: string, origin = hub.url) => ({
      link: `<${origin}/api/models/chimera/open/tree/x?cursor=${cursor}>; rel="next"`,
    });
    const answer = (headers: Record<string, string>) => {
      hub.rules = [
        ({ path }) =>
          path.includes("/tree/") ? { kind: "status", status: 200, headers, body: "[]" } : undefined,
      ];
      return openStore("hf:chimera/open").list();
    };
    await assert.rejects(answer(next("same")), /leads back to a page that was read/);
    await assert.rejects(answer(next("2", "http://127.0.0.1:9")), /goes on at "http:\/\/127.0.0.1:9"/);
    let page = 0;
    hub.rules = [
      ({ path }) =>
        path.includes("/tree/")
          ? { kind: "status", status: 200, headers: next(`${page++}`), body: "[]" }
          : undefined,
    ];
    await assert.rejects(openStore("hf:chimera/open").list(), /goes on behind 0 files on 1000 pages/);
  });

  test("a server that never recovers is given up", async () => {
    hub.rules = [() => ({ kind: "status", status: 503 })];
    await assert.rejects(openStore("hf:chimera/open").list(), /the server says 503/);
    assert.equal(hub.log.length, 7);
  });

  test("where no server answers, a name that may be a mistyped folder's is tried twice, others more often", async (t) => {
    let calls = 0;
    const dead = createServer((socket) => {
      calls++;
      socket.destroy();
    });
    await once(dead.listen(0, "127.0.0.1"), "listening");
    t.after(() => dead.close());
    process.env.HF_ENDPOINT = `http://127.0.0.1:${(dead.address() as AddressInfo).port}`;
    const guess = /there is no such file or folder; and as a repository: Cannot reach/;
    await assert.rejects(openStore("chimera/open").list(), guess);
    assert.equal(calls, 2);
    await assert.rejects(openStore("hf:chimera/open").list(), /^CheckpointError: Cannot reach/);
    assert.equal(calls, 2 + 7);
    process.env.HF_ENDPOINT = hub.url; // one that is busy is waited for in both cases
    hub.rules = [() => ({ kind: "status", status: 503 })];
    await assert.rejects(openStore("chimera/open").list(), /the server says 503/);
    assert.equal(hub.log.length, 7);
  });

  test("an index may name files of its own repository alone", async () => {
    for (const name of [
      "http://127.0.0.1:9/x.safetensors",
      "file:///etc/passwd",
      "../other/x.safetensors",
      "a/../../b.safetensors",
      "/etc/passwd",
      "x.safetensors?y",
      "%2e%2e%2fx",
      "..\\x.safetensors",
      "//127.0.0.1/x.safetensors",
      "x\0.safetensors",
      `${"x".repeat(300)}.safetensors`,
    ]) {
      const index = JSON.stringify({ weight_map: { "model.norm.weight": name } });
      hub.add("chimera/trick", new Map([...files, ["model.safetensors.index.json", Buffer.from(index)]]));
      hub.forget();
      await assert.rejects(
        openWholeCheckpoint(openStore("hf:chimera/trick")),
        (error: Error & { code: string }) =>
          ["index-path"].includes(error.code) || assert.fail(`${error.code}: ${error.message}`),
      );
      for (const { path } of hub.log)
        assert.match(path, /^\/(api\/models\/chimera\/trick|chimera\/trick\/resolve|blobs)\//);
    }
  });

  test("headers that lie about their length take no memory", async () => {
    const huge = Buffer.alloc(4096 + 8);
    huge.writeBigUInt64LE(2n ** 60n);
    hub.add(
      "chimera/lies",
      new Map([
        ["model.safetensors", huge],
        ["config.json", files.get("config.json")!],
      ]),
    );
    await assert.rejects(openWholeCheckpoint(openStore("hf:chimera/lies")), /header/);
    assert.ok(hub.sentBytes < 10_000);
  });

  test("what the Hub's cache holds is read from there, with the same identity", async (t) => {
    const repo = hub.repos.get("chimera/open")!;
    const home = temporaryFolder(t);
    const root = join(home, "hub", "models--chimera--open");
    for (const part of ["blobs", "refs", join("snapshots", repo.commit)])
      mkdirSync(join(root, part), { recursive: true });
    writeFileSync(join(root, "refs", "main"), repo.commit);
    for (const [name, bytes] of files) {
      const etag = bytes.length >= hub.options.lfsBytes ? sha256(bytes) : gitHash(bytes);
      writeFileSync(join(root, "blobs", etag), bytes);
      symlinkSync(`../../blobs/${etag}`, join(root, "snapshots", repo.commit, name));
    }
    const far = await openWholeCheckpoint(openStore("hf:chimera/open"));
    const old = process.env.HF_HOME;
    process.env.HF_HOME = home;
    try {
      hub.forget();
      const near = await openWholeCheckpoint(openStore("hf:chimera/open"));
      assert.equal(
        hub.log.some(({ path }) => /resolve|blobs/.test(path)),
        false,
      );
      assert.deepEqual(
        near.shards.map(({ identity }) => identity),
        far.shards.map(({ identity }) => identity),
      );
      hub.rules = [() => ({ kind: "status", status: 503 })];
      await assert.rejects(openStore("hf:chimera/open").list(), {
        code: "unreachable",
        note: `The Hub's cache holds files of its commit ${repo.commit.slice(0, 12)}: HF_HUB_OFFLINE=1 reads these`,
      });
      await assert.rejects(openStore("hf:chimera/closed").list(), { note: /^Run the same command again/ });
      process.env.HF_HUB_OFFLINE = "1";
      hub.forget();
      const offline = await openWholeCheckpoint(openStore("hf:chimera/open"));
      assert.equal(hub.log.length, 0);
      assert.equal(offline.store.location, `hf:chimera/open@${repo.commit}`);
      assert.deepEqual(
        offline.shards.map(({ identity }) => identity),
        far.shards.map(({ identity }) => identity),
      );
    } finally {
      process.env.HF_HOME = old;
      delete process.env.HF_HUB_OFFLINE;
      hub.rules = [];
    }
  });

  test("names of repositories", () => {
    for (const text of ["a/b", "deepseek-ai/DeepSeek-R1", "a/b@refs/pr/1", "a/b@v1.0"])
      assert.ok(parseHubPlace(text), text);
    for (const text of ["a", "a/b/c", "../b", "a/..", "/a/b", "a/b@", "a/b@../x", "a b/c", "./a"])
      assert.equal(parseHubPlace(text), undefined, text);
  });
});
