/** The studio's files as the server gives them out. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { discover } from "../../src/server/discover.ts";
import { openServing } from "../../src/server/open-serving.ts";
import { studioFiles } from "../../src/server/studio-files.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

test("studioFiles() answers paths of pages with the page, under a policy that lets nothing else run", async () => {
  const app = studioFiles();
  for (const path of ["/", "/checkpoints/mini-r1", "/behaviour/runs/1234"]) {
    const { status, headers, ...answer } = await app.request(path);
    assert.equal(status, 200);
    assert.equal(headers.get("content-type"), "text/html; charset=utf-8");
    const policy = headers.get("content-security-policy")!;
    assert.match(policy, /default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self';/);
    assert.doesNotMatch(policy, /'unsafe-inline'|'unsafe-eval'|\*/);
    assert.equal(headers.get("cross-origin-opener-policy"), "same-origin");
    assert.equal(headers.get("cross-origin-embedder-policy"), "require-corp");
    assert.equal(headers.get("referrer-policy"), "no-referrer");
    assert.equal(headers.get("cache-control"), "no-cache");
    void answer;
  }
});

test("studioFiles() gives the page's own files for good, and none that are not there", async () => {
  const app = studioFiles();
  const html = await (await app.request("/")).text();
  assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=/); // the policy forbids each
  const assets = [...html.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, path]) => path!);
  assert.ok(assets.some((path) => path.endsWith(".js")) && assets.some((path) => path.endsWith(".css")));
  for (const path of assets) {
    const { status, headers } = await app.request(path);
    assert.equal(status, 200, path);
    assert.match(headers.get("cache-control")!, /immutable/);
    const again = await app.request(path, { headers: { "if-none-match": headers.get("etag")! } });
    assert.equal(again.status, 304);
    assert.equal(await again.text(), "");
  }
  for (const path of ["/assets/nothing.js", "/assets/..%2Findex.html", "/api/nothing", "/v1/nothing"])
    assert.equal((await app.request(path)).status, 404, path);
});

test("studioFiles() of a folder that is filled later finds what is there by then", async (t) => {
  const folder = join(temporaryFolder(t), "studio");
  const app = studioFiles(folder);
  assert.equal((await app.request("/")).status, 500); // ApiError, which the server's app tells as 404
  mkdirSync(folder);
  writeFileSync(join(folder, "index.html"), "<p>here</p>");
  assert.equal(await (await app.request("/talk")).text(), "<p>here</p>");
});

test("createApp() gives the page to whoever asks, and wants a key for what the page asks for", async () => {
  const { app, close } = await openServing(discover(["models"]), { access: { apiKeys: ["key"] } });
  const ask = (path: string, headers = {}) =>
    app.request(path, { headers: { host: "localhost", ...headers } });
  assert.equal((await ask("/talk")).status, 200);
  assert.equal((await ask("/api/studio")).status, 401);
  assert.equal((await ask("/api/studio", { authorization: "Bearer key" })).status, 200);
  const unknown = await ask("/api/nothing", { authorization: "Bearer key" });
  assert.equal(unknown.status, 404);
  assert.match(unknown.headers.get("content-type")!, /json/);
  await close();
});
