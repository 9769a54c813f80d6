/** Web servers that answer ranges with something else: one clear error each, and no byte of it is taken for the file's. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { startMain } from "../cli/run-main.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesOf } from "./use-hub.ts";

type Answer = (request: IncomingMessage, response: ServerResponse, content: Uint8Array) => void;
const SHARD = "model-00001-of-000002.safetensors";

/** As it should be, but for some headers. */
function right(extra: Record<string, string | number | undefined> = {}): Answer {
  return ({ method, headers }, response, content) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "") ?? [];
    const range = from === undefined ? undefined : [Number(from), Number(to)];
    const body = range ? content.subarray(range[0]!, range[1]! + 1) : content;
    const all = {
      "content-length": body.length,
      etag: '"one"',
      ...(range ? { "content-range": `bytes ${from}-${to}/${content.length}` } : {}),
      ...extra,
    };
    const kept = Object.entries(all).filter(([, value]) => value !== undefined) as [string, string][];
    response.writeHead(range ? 206 : 200, Object.fromEntries(kept));
    response.end(method === "HEAD" ? undefined : body);
  };
}

describe("a web server that answers wrongly", () => {
  const files = filesOf("models/mini-r1");
  const folder = temporaryFolder({ after });
  let answer: Answer = right();
  let asked = 0;
  let connections = 0;
  let server: Server;
  let url = "";

  before(async () => {
    process.env.CHIMERA_RETRY_MS = "2";
    process.env.CHIMERA_TIMEOUT_MS = "300";
    server = createServer((request, response) => {
      asked++;
      const content = files.get(request.url!.split("?")[0]!.slice(1));
      if (content) answer(request, response, content);
      else response.writeHead(404).end("not here");
    });
    server.on("connection", () => connections++);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => {
    delete process.env.CHIMERA_RETRY_MS;
    delete process.env.CHIMERA_TIMEOUT_MS;
    server.closeAllConnections();
    server.close();
  });
  beforeEach(() => {
    answer = right();
    asked = 0;
  });

  // First: behind a HEAD the client closes its connection by itself.
  test("answers that nobody reads cost no connection", async () => {
    const store = openStore(url);
    for (let i = 0; i < 10; i++) await store.readSmall(`none-${i}.json`);
    answer = ({ url: path = "" }, response, content) =>
      path.includes("?")
        ? right()({ headers: {} } as IncomingMessage, response, content)
        : void response.writeHead(302, { location: `${path}?x` }).end("moved");
    for (let i = 0; i < 10; i++) await openStore(url).readSmall("config.json");
    assert.ok(connections <= 2, `${connections} connections`);
  });

  const size = files.get(SHARD)!.length;
  const answers: [string, Answer, string, RegExp][] = [
    [
      "another file's size",
      right({ "content-range": `bytes 8-15/${size + 1}` }),
      "changed",
      /bytes now, and had/,
    ],
    ["gzip", right({ "content-encoding": "gzip" }), "bad-answer", /as "gzip"/],
    [
      "several ranges at once",
      right({ "content-range": undefined, "content-type": "multipart/byteranges; boundary=x" }),
      "bad-answer",
      /multipart\/byteranges.*wanted bytes 8-15/,
    ],
    ["another ETag", right({ etag: '"two"' }), "changed", /ETag/],
    ["another weak ETag", right({ etag: 'W/"two"' }), "changed", /ETag/],
    [
      "more than was asked for, in chunks",
      (_, response) => {
        response.writeHead(206, { etag: '"one"', "content-range": `bytes 8-15/${size}` });
        response.end(new Uint8Array(99));
      },
      "bad-answer",
      /more than the 8 bytes/,
    ],
    [
      "too little, in chunks",
      ({ headers }, response) => {
        const range = headers.range!.replace("=", " ");
        response.writeHead(206, { etag: '"one"', "content-range": `${range}/${size}` });
        response.end(new Uint8Array(0));
      },
      "unreachable",
      /bytes came, wanted/,
    ],
    [
      "a byte now and then",
      ({ headers }, response) => {
        const range = headers.range!.replace("=", " ");
        response.writeHead(206, { etag: '"one"', "content-range": `${range}/${size}` });
        const timer = setInterval(() => response.write(new Uint8Array(1)), 250);
        response.on("close", () => clearInterval(timer));
      },
      "unreachable",
      /only \d bytes came in 0.3 s/,
    ],
    [
      "come back in a day",
      (_, response) => void response.writeHead(429, { "retry-after": "86400" }).end(),
      "unreachable",
      /429 and to come back in 24:00:00/,
    ],
    [
      "come back in a negative time",
      (_, response) => void response.writeHead(503, { "retry-after": "-7" }).end(),
      "unreachable",
      /says 503/,
    ],
  ];
  for (const [what, wrong, code, message] of answers) {
    test(`${what}: ${code}`, async () => {
      const source = await openStore(url).open(SHARD);
      asked = 0;
      answer = wrong;
      await assert.rejects(source.read(new Uint8Array(8), 8), (error: Error & { code: string }) => {
        assert.equal(error.code, code, error.message);
        assert.match(error.message, message);
        return true;
      });
      assert.ok(asked <= 7, `${asked} requests`);
      await source.close();
    });
  }

  test("the mark of weakness is no change of an ETag", async () => {
    const source = await openStore(url).open(SHARD);
    answer = right({ etag: 'W/"one"' });
    const some = new Uint8Array(8);
    await source.read(some, 8);
    assert.deepEqual(some, files.get(SHARD)!.slice(8, 16));
  });

  test("a small file must be whole, and as it is", async () => {
    answer = right({ "content-encoding": "gzip" });
    await assert.rejects(openStore(url).readSmall("config.json"), /as "gzip", wanted it as it is/);
    answer = (_, response) => void response.writeHead(206).end("{}");
    await assert.rejects(openStore(url).readSmall("config.json"), /says 206, wanted the file/);
  });

  test("without ETag and time only the length is checked: that is said, and checked", async () => {
    answer = right({ etag: undefined });
    const { problems } = await openCheckpoint(openStore(url));
    assert.ok(problems.some(({ code }) => code === "no-version"));
    const recipe = `version: 1\nparents:\n  v3: ${process.cwd()}/models/mini-v3\n  r1: ${url}\nbase: v3\nrules:\n  - tensors: routed-experts\n    weights: { r1: 1 }\n`;
    const { warnings } = await planRecipe(parseRecipe(recipe));
    assert.ok(warnings.some((warning) => /neither ETag nor Last-Modified/.test(warning)));
    const source = await openStore(url).open(SHARD);
    answer = right({ etag: undefined, "content-range": `bytes 8-15/${size - 1}` });
    await assert.rejects(source.read(new Uint8Array(8), 8), { code: "changed" });
    const dated = (time: string) => right({ etag: undefined, "last-modified": time });
    answer = dated("Thu, 01 Jan 2026 00:00:00 GMT");
    const other = await openStore(url).open(SHARD);
    answer = dated("Thu, 01 Jan 2026 00:00:01 GMT");
    await assert.rejects(other.read(new Uint8Array(8), 8), { code: "changed" });
  });

  test("credentials that a redirect took elsewhere do not come back with the next", async () => {
    const seen: string[] = [];
    const other = createServer(({ headers }, response) => {
      seen.push(`other ${headers.authorization}`);
      response.writeHead(302, { location: `${url}/config.json?back` }).end();
    });
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const away = `http://127.0.0.1:${(other.address() as AddressInfo).port}/`;
    answer = (request, response, content) => {
      seen.push(`${request.url} ${request.headers.authorization}`);
      if (request.url!.endsWith("?back")) right()(request, response, content);
      else response.writeHead(302, { location: away }).end();
    };
    await openStore(url.replace("//", "//me:secret@")).readSmall("config.json");
    other.closeAllConnections();
    other.close();
    const basic = `Basic ${btoa("me:secret")}`;
    assert.deepEqual(seen, [`/config.json ${basic}`, "other undefined", "/config.json?back undefined"]);
  });

  test("nothing that is shown holds a secret of a URL", async () => {
    for (const secret of [`me:p@ss@`, "t0ken@", `me:p/w@rd@`]) {
      const place = url.replace("//", `//${secret}`).replace("http", "HTTP");
      for (const args of [
        ["inspect", `${place}?sig=s3cret`, "--json"],
        ["inspect", `${place}/none?sig=s3cret`],
      ]) {
        const { stdout, stderr } = await startMain(args).result;
        assert.doesNotMatch(stdout + stderr, /p@ss|w@rd|t0ken|s3cret|ss@/);
      }
    }
    const place = `${url.replace("//", "//me:p@ss@")}?sig=s3cret`;
    const compared = await startMain(["compare", "models/mini-r1", place, "--json", "--sample", "2"]).result;
    assert.equal(compared.status, 0, compared.stderr);
    const planned = await startMain(["plan", "recipes/mini/r1t.yaml", "--parent", `r1=${place}`, "--json"])
      .result;
    assert.equal(planned.status, 0, planned.stderr);
    for (const { stdout, stderr } of [compared, planned])
      assert.doesNotMatch(stdout + stderr, /p@ss|s3cret|ss@/);
  });

  test("two sources of one name do not go into one folder", async () => {
    const to = join(folder, "both");
    const { status, stderr } = await startMain(["pull", url, `${url}/?other`, "-o", to]).result;
    assert.equal(status, 2, stderr);
    assert.match(stderr, /wanted a folder for each/);
    assert.equal(existsSync(to), false);
  });
});
