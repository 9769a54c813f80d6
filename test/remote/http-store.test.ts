/** Checkpoints on an ordinary web server: a folder, one file, credentials, redirects, proxies. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { after, before, beforeEach, describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { openCheckpoint, openWholeCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { Pace, parseRateLimit, parseRetryAfter } from "../../src/checkpoint/remote/pace.ts";
import { openLocation, openStore } from "../../src/checkpoint/stores.ts";
import { planWindows, WINDOW_BYTES } from "../../src/checkpoint/windows.ts";
import { startMain } from "../cli/run-main.ts";
import { type Fault, type LoggedRequest, sendContent } from "../support/hub/faults.ts";
import { sha256 } from "../support/hub/hub-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesOf } from "./use-hub.ts";

describe("a folder of a web server", () => {
  const files = filesOf("models/mini-v3");
  const log: LoggedRequest[] = [];
  let fault: Fault | undefined;
  let intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  let server: Server;
  let url: string;

  before(async () => {
    process.env.CHIMERA_RETRY_MS = "5";
    server = createServer(async (request, response) => {
      const { method = "GET", url: path = "/", headers } = request;
      const logged = { method, path, range: headers.range, authorization: headers.authorization, bytes: 0 };
      log.push(logged);
      if (intercept?.(request, response)) return;
      const content = files.get(decodeURIComponent(path.split("?")[0]!.slice("/models/v3/".length)));
      if (!content) return void response.writeHead(404).end();
      await sendContent(request, response, { content, etag: sha256(content).slice(0, 16), fault, logged });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/models/v3`;
  });
  after(() => {
    delete process.env.CHIMERA_RETRY_MS;
    server.closeAllConnections();
    server.close();
  });
  beforeEach(() => {
    log.length = 0;
    fault = undefined;
    intercept = undefined;
  });

  test("is read by its index", async () => {
    const far = await openWholeCheckpoint(openStore(`${url}/`));
    const near = await openWholeCheckpoint(openStore("models/mini-v3"));
    assert.deepEqual([...far.tensors.keys()], [...near.tensors.keys()]);
    assert.deepEqual(far.config, near.config);
    const sent = log.reduce((sum, { bytes }) => sum + bytes, 0);
    assert.ok(sent < 400_000, `${sent} bytes were sent`);
  });

  test("is evaluated, and not taken for an endpoint", async (t) => {
    const out = temporaryFolder(t);
    const args = ["eval", url, "--tasks", "tasks/mini/sums.yaml", "--n", "2", "-o", out];
    const { status, stdout, stderr } = await startMain(args).result;
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^v3 +2 questions/m);
  });

  test("one shard, or the index by its own URL", async () => {
    const shard = openLocation(`${url}/model-00001-of-000002.safetensors`);
    const one = await openCheckpoint(shard.store, shard.options);
    assert.equal(one.shards.length, 1);
    const { status, stdout, stderr } = await startMain(["inspect", `${url}/model.safetensors.index.json`])
      .result;
    assert.equal(status, 0, stderr);
    assert.match(stdout, /deepseek/i);
    assert.match(stdout, /2 shards, 2[.,]9/);
    assert.match(stdout, /501 tensors/);
    const alone = await openCheckpoint(openStore(`${url}/model-00001-of-000002.safetensors`));
    assert.equal(alone.shards.length, 1);
  });

  test("a query goes along, and is never shown", async () => {
    intercept = (request, response) => {
      if (request.url?.endsWith("?sig=s3cret")) return false;
      response.writeHead(403).end();
      return true;
    };
    await openWholeCheckpoint(openStore(`${url}?sig=s3cret`));
    const { status, stderr } = await startMain(["inspect", `${url}x?sig=other-s3cret`], {
      CHIMERA_RETRY_MS: "5",
    }).result;
    assert.equal(status, 3, stderr);
    assert.doesNotMatch(stderr, /s3cret/);
  });

  test("a refusal for what need not be there is no fault: stores that may not be listed answer so", async () => {
    intercept = ({ url: path = "" }, response) => {
      if (files.has(path.slice("/models/v3/".length)) && !/tokenizer/.test(path)) return false;
      response.writeHead(403).end();
      return true;
    };
    await openWholeCheckpoint(openStore(url));
    intercept = (_, response) => {
      response.writeHead(403).end();
      return true;
    };
    await assert.rejects(openStore(url).list(), { code: "not-authorised" });
  });

  const answers: [string, Record<string, string>, RegExp][] = [
    ["no ETag any more", {}, /tells no ETag/],
    ["another encoding", { etag: '"x"', "content-encoding": "gzip" }, /as "gzip", wanted it as it is/],
  ];
  for (const [what, extra, message] of answers) {
    test(`a range with ${what} is refused`, async () => {
      const name = "model-00001-of-000002.safetensors";
      const source = await openStore(url).open(name);
      intercept = (_, response) => {
        const range = `bytes 0-7/${files.get(name)!.length}`;
        response.writeHead(206, { "content-range": range, "content-length": 8, ...extra });
        response.end(files.get(name)!.subarray(0, 8));
        return true;
      };
      await assert.rejects(source.read(new Uint8Array(8), 0), message);
    });
  }

  test("a server that breaks off after every byte is given up", async () => {
    const source = await openStore(url).open("model-00001-of-000002.safetensors");
    fault = { kind: "cut", after: 1 };
    await assert.rejects(source.read(new Uint8Array(5000), 0), { code: "unreachable" });
    assert.ok(log.length < 20, `${log.length} requests`);
  });

  test("what is no URL is told of, and a bad name without what is secret", async () => {
    for (const text of [`${url}/%zz`, "http://%zz@127.0.0.1/x", "http://"])
      assert.throws(() => openStore(text), { code: "bad-url" });
    const { store, options } = openLocation(`${url}/a%3Fb.safetensors?sig=s3cret`);
    await assert.rejects(openCheckpoint(store, options), (error: Error) => !/s3cret/.test(error.message));
  });

  test("credentials of the URL go along, and to no other origin", async () => {
    const elsewhere: (string | undefined)[] = [];
    const other = createServer((request, response) => {
      elsewhere.push(request.headers.authorization);
      response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    intercept = (_, response) => {
      response.writeHead(302, { location: `http://127.0.0.1:${port}/x` }).end();
      return true;
    };
    await assert.rejects(openStore(url.replace("//", "//me:pass%20word@")).list());
    other.close();
    assert.ok(log.every(({ authorization }) => authorization === `Basic ${btoa("me:pass word")}`));
    assert.ok(elsewhere.length > 0 && elsewhere.every((said) => said === undefined));
  });

  const redirects: [string, string][] = [
    ["in a circle", "/models/v3/config.json"],
    ["to a file", "file:///etc/passwd"],
    ["to what is no URL", "http://[::bad"],
  ];
  for (const [what, location] of redirects) {
    test(`redirects ${what} are an error`, async () => {
      intercept = (_, response) => {
        response.writeHead(302, { location }).end();
        return true;
      };
      await assert.rejects(openStore(url).readSmall("config.json"), { code: "bad-answer" });
      assert.ok(log.length <= 6);
    });
  }

  test("a file that changes between two reads is noticed", async () => {
    const source = await openStore(url).open("model-00001-of-000002.safetensors");
    await source.read(new Uint8Array(8), 0);
    fault = { kind: "etag", etag: '"new"' };
    await assert.rejects(source.read(new Uint8Array(8), 8), { code: "changed" });
    await assert.rejects(source.checkUnchanged(), { code: "changed" });
  });

  test("an endless answer where a small file should be is cut", async () => {
    intercept = (_, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write(Buffer.alloc(1 << 20)), 1);
      response.on("close", () => clearInterval(timer));
      return true;
    };
    await assert.rejects(openStore(url).readSmall("config.json", 10_000_000), { code: "too-large" });
  });

  test("goes through the proxy of the environment", async () => {
    const asked: string[] = [];
    const proxy = createServer((incoming, response) => {
      asked.push(incoming.url!);
      const { method, headers } = incoming;
      request(incoming.url!, { method, headers }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      }).end();
    });
    proxy.on("connect", (incoming: IncomingMessage, socket) => {
      asked.push(incoming.url!);
      const [host, port] = incoming.url!.split(":");
      const onward = connect(Number(port), host, () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        onward.pipe(socket).pipe(onward);
      });
      onward.on("error", () => socket.destroy());
      socket.on("error", () => onward.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const at = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const { status, stderr } = await startMain(["inspect", url], {
      HTTP_PROXY: at,
      http_proxy: at,
      NO_PROXY: "",
      no_proxy: "",
    }).result;
    assert.equal(status, 0, stderr);
    assert.ok(asked.length > 0);
    asked.length = 0;
    const direct = await startMain(["inspect", url], { HTTP_PROXY: at, NO_PROXY: "127.0.0.1" }).result;
    assert.equal(direct.status, 0, direct.stderr);
    assert.equal(asked.length, 0);
    proxy.closeAllConnections();
    proxy.close();
  });
});

describe("limits of servers", () => {
  /** Milliseconds until a request's turn, from `begun` on: a slow machine makes them more, never less. */
  const turn = async (pace: Pace, origin: string, begun = performance.now()) => {
    await pace.turn(origin);
    return performance.now() - begun;
  };
  /** No wait, on a busy machine. */
  const AT_ONCE_MS = 400;

  test("what is left of a limit is spread over its time", async () => {
    const pace = new Pace();
    assert.ok((await turn(pace, "a")) < AT_ONCE_MS);
    const begun = performance.now();
    pace.heed("a", { ratelimit: '"resolvers";r=1;t=1' });
    const ends = [];
    for (let i = 0; i < 3; i++) ends.push(await turn(pace, "a", begun));
    assert.ok(ends[1]! > 490 && ends[2]! > 990, ends.join(", "));
    assert.ok((await turn(pace, "b")) < AT_ONCE_MS);
    pace.heed("a", { ratelimit: '"resolvers";r=2000;t=1' });
    assert.ok((await turn(pace, "a")) < AT_ONCE_MS);
    const held = performance.now();
    pace.heed("c", { ratelimit: '"resolvers";r=0;t=1' });
    assert.ok((await turn(pace, "c", held)) > 990);
  });

  test("are kept by all threads: what one was told holds the others", async () => {
    const pace = new Pace();
    const told = async (code: string) => {
      const module = new URL("../../src/checkpoint/remote/pace.js", import.meta.url).href;
      const worker = new Worker(`import(${JSON.stringify(module)}).then(({ Pace }) => { ${code} })`, {
        eval: true,
      });
      await new Promise((resolve) => worker.on("exit", resolve));
    };
    const begun = performance.now();
    await told(`new Pace().heed("held", { "retry-after": "2" }, 429)`);
    await told(`new Pace().heed("paced", { ratelimit: '"resolvers";r=1;t=3' })`);
    const origins = ["held", "paced", "paced", "paced"];
    const [held, ...paced] = await Promise.all(origins.map((origin) => turn(pace, origin, begun)));
    assert.ok(held! > 1990, `${held} ms`);
    paced.sort((a, b) => a - b);
    assert.ok(paced[1]! > 1490 && paced[2]! > 2990, paced.join(", "));
  });

  test("RateLimit and Retry-After", () => {
    assert.deepEqual(parseRateLimit('"resolvers";r=12;t=120'), { left: 12, seconds: 120 });
    assert.deepEqual(parseRateLimit('"api";r=400;t=30, "resolvers";r=3;t=60'), { left: 3, seconds: 60 });
    for (const text of [undefined, "", "r=x;t=1", "limit=100"]) assert.equal(parseRateLimit(text), undefined);
    assert.equal(parseRetryAfter("2", 0), 2000);
    assert.equal(parseRetryAfter("86400", 0), 86_400_000);
    assert.equal(parseRetryAfter("-5", 0), undefined);
    assert.equal(parseRetryAfter("Thu, 01 Jan 1970 00:00:09 GMT", 1000), 8000);
    assert.equal(parseRetryAfter("soon", 0), undefined);
  });
});

describe("windows", () => {
  test("join neighbours, leave wide gaps out, cut long runs", () => {
    const extents = [
      { offset: 5_000_000, byteLength: 40_000_000 },
      { offset: 0, byteLength: 1_000_000 },
      { offset: 1_010_000, byteLength: 990_000 },
    ];
    const windows = planWindows(extents);
    assert.deepEqual(windows[0], { from: 0, to: 2_000_000 });
    assert.deepEqual([windows[1]!.from, windows.at(-1)!.to], [5_000_000, 45_000_000]);
    assert.ok(windows.every(({ from, to }) => to - from <= WINDOW_BYTES));
    assert.deepEqual(planWindows([]), []);
  });

  test("read little that nobody wants, and each byte once", () => {
    let seed = 7;
    const random = () => {
      seed = (seed * 48271) % 0x7fffffff;
      return seed / 0x7fffffff;
    };
    for (let round = 0; round < 30; round++) {
      const extents = Array.from({ length: 1 + Math.floor(random() * 60) }, () => ({
        offset: Math.floor(random() * 5e6),
        byteLength: Math.floor(random() * 2e5),
      }));
      const windows = planWindows(extents, 1 << 18);
      const wanted = new Uint8Array(6e6);
      for (const { offset, byteLength } of extents) wanted.fill(1, offset, offset + byteLength);
      const read = new Uint8Array(6e6);
      for (const { from, to } of windows) for (let i = from; i < to; i++) read[i]!++;
      let [count, needed] = [0, 0];
      for (let i = 0; i < wanted.length; i++) {
        assert.ok(read[i]! <= 1 && read[i]! >= wanted[i]!);
        count += read[i]!;
        needed += wanted[i]!;
      }
      assert.ok(count <= needed * (1 + 1 / 16));
    }
  });
});
