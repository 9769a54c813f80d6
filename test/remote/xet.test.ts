/**
 * Files that the Hub keeps in Xet: a repository whose bytes come as chunks of xorbs, through the Hub's own library.
 * The tests' store keeps each file as one xorb of plain chunks.
 */
import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, describe, test } from "node:test";
import { openWholeCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { gitHash, json, sha256 } from "../support/hub/hub-server.ts";
import { filesOf, useHub } from "./use-hub.ts";

const CHUNK = 60_000;
const LARGE = 1 << 19;

describe("a repository in Xet", () => {
  const files = filesOf("models/mini-r1");
  const commit = "c".repeat(40);
  const log: string[] = [];
  let server: Server;
  const hub = { url: "" };
  let refusals = 0;

  const xorbOf = (content: Uint8Array): { chunks: Buffer[]; ends: number[] } => {
    const chunks: Buffer[] = [];
    const ends: number[] = [];
    let at = 0;
    for (let from = 0; from < content.length; from += CHUNK) {
      const data = content.subarray(from, from + CHUNK);
      const head = Buffer.alloc(8);
      head.writeUIntLE(data.length, 1, 3);
      head.writeUIntLE(data.length, 5, 3);
      chunks.push(Buffer.concat([head, data]));
      at += data.length + 8;
      ends.push(at);
    }
    return { chunks, ends };
  };

  before(async () => {
    server = createServer((request, response) => {
      const url = new URL(request.url!, hub.url);
      log.push(`${request.method} ${url.pathname} ${request.headers.range ?? ""}`);
      const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "");
      const [from, to] = [Number(range?.[1] ?? 0), Number(range?.[2] ?? 0)];
      const named = [...files].find(
        ([name]) => url.pathname.endsWith(`/${name}`) || url.pathname.endsWith(sha256(files.get(name)!)),
      );
      if (url.pathname.includes("/tree/")) {
        return json(
          response,
          [...files].map(([path, bytes]) => ({
            ...{ type: "file", path, size: bytes.length, oid: gitHash(bytes) },
            ...(bytes.length >= LARGE
              ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 }, xetHash: sha256(bytes) }
              : {}),
          })),
        );
      }
      if (url.pathname.includes("/revision/")) return json(response, { sha: commit });
      if (url.pathname === "/token")
        return json(response, {
          casUrl: hub.url,
          accessToken: "xet-token",
          exp: Math.floor(Date.now() / 1000) + 3600,
        });
      if (!named) return void response.writeHead(404).end();
      const [, content] = named;
      if (url.pathname.startsWith("/v2/reconstructions/")) {
        assert.equal(request.headers.authorization, "Bearer xet-token");
        const { ends } = xorbOf(content);
        const first = Math.floor(from / CHUNK);
        const last = Math.min(Math.floor(to / CHUNK), ends.length - 1) + 1;
        const bytes = { start: first === 0 ? 0 : ends[first - 1]!, end: ends[last - 1]! - 1 };
        const hash = sha256(content);
        const chunks = { start: first, end: last };
        return json(response, {
          offset_into_first_range: from - first * CHUNK,
          terms: [
            { hash, unpacked_length: Math.min(last * CHUNK, content.length) - first * CHUNK, range: chunks },
          ],
          xorbs: { [hash]: [{ url: `${hub.url}/xorbs/${hash}`, ranges: [{ chunks, bytes }] }] },
        });
      }
      if (url.pathname.startsWith("/xorbs/")) {
        if (refusals > 0) {
          refusals--;
          return void response.writeHead(503).end();
        }
        const whole = Buffer.concat(xorbOf(content).chunks);
        response.writeHead(206, { "content-range": `bytes ${from}-${to}/${whole.length}` });
        return void response.end(whole.subarray(from, to + 1));
      }
      if (content.length < LARGE) {
        response.writeHead(200, { etag: `"${gitHash(content)}"`, "content-length": content.length });
        return void response.end(content);
      }
      if (!/xet-fileinfo/.test(request.headers.accept ?? "")) {
        response.writeHead(206, {
          etag: '"plain"',
          "content-range": `bytes ${from}-${to}/${content.length}`,
        });
        return void response.end(content.subarray(from, to + 1));
      }
      response.writeHead(200, {
        "content-type": "application/vnd.xet-fileinfo+json",
        "x-linked-size": content.length,
        "x-linked-etag": `"${sha256(content)}"`,
        "x-xet-hash": sha256(content),
        etag: `"${sha256(content)}"`,
        link: `<${hub.url}/token>; rel="xet-auth", <${hub.url}/v1/reconstructions/${sha256(content)}>; rel="xet-reconstruction-info"`,
      });
      response.end("{}");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    hub.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  useHub(hub as never);
  beforeEach(() => {
    log.length = 0;
    delete process.env.HF_HUB_DISABLE_XET;
  });

  const check = async () => {
    const checkpoint = await openWholeCheckpoint(openStore("hf:xet/mini"));
    const [name, wanted] = [...files].find(([, bytes]) => bytes.length >= LARGE)!;
    const source = await checkpoint.store.open(name);
    const into = new Uint8Array(250_000);
    await source.read(into, 100_001);
    assert.ok(Buffer.from(into).equals(wanted.subarray(100_001, 350_001)));
    await source.close();
  };

  test("is read by chunks, and no more of them than are needed", async () => {
    await check();
    const asked = log.filter((line) => line.includes("/xorbs/"));
    assert.ok(asked.length > 0);
    assert.equal(
      log.some((line) => /reconstructions/.test(line)),
      true,
    );
    const bytes = asked
      .map((line) => /bytes=(\d+)-(\d+)/.exec(line)!)
      .reduce((sum, [, from, to]) => sum + Number(to) - Number(from) + 1, 0);
    assert.ok(bytes < 1_000_000, `${bytes} bytes were read`);
  });

  test("is tried again where the store refuses for a while", async () => {
    refusals = 2;
    await check();
    assert.equal(refusals, 0);
  });

  test("HF_HUB_DISABLE_XET=1 reads it by plain ranges", async () => {
    process.env.HF_HUB_DISABLE_XET = "1";
    await check();
    assert.equal(
      log.some((line) => /xorbs|reconstructions/.test(line)),
      false,
    );
  });
});
