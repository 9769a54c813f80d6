/**
 * The studio's page: files that were built beside this code, with headers under which nothing else runs or is loaded. The
 * page itself holds nothing of anybody's, so it needs no key; what it asks for below /api and /v1 does.
 */
import { createHash } from "node:crypto";
import { Hono } from "hono";
import { fileNames, folderExists, packageFile, readRegularFile } from "../checkpoint/node.ts";
import { ApiError } from "./api-error.ts";
import type { RouteEnvironment } from "./app.ts";

const TYPES: Record<string, string> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  json: "application/json",
  wasm: "application/wasm",
  png: "image/png",
};

const HEADERS: Record<string, string> = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "connect-src 'self'",
    "worker-src 'self'",
    "font-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
};

/** The studio's own addresses (src/studio/app.tsx). Clients look whether a path is there: all others must not be. */
const PAGE = /^\/((checkpoints|builds|behaviour)(\/.*)?|compare|assemble|talk)?$/;
const MOST_BYTES = 20_000_000;

interface ServedFile {
  bytes: Uint8Array<ArrayBuffer>;
  type: string;
  etag: string;
  /** Its name holds a hash of what is in it. */
  isForGood: boolean;
}

/** GET of the page, at each of its addresses, and of what belongs to it. `folder`: where scripts/build.mjs has put it. */
export function studioFiles(folder: string = packageFile("dist/studio")): Hono<RouteEnvironment> {
  const app = new Hono<RouteEnvironment>();
  let reading: Promise<Map<string, ServedFile>> | undefined;

  app.get("/*", async (context, next) => {
    const { path } = context.req;
    reading ??= readFiles(folder);
    const files = await reading;
    if (files.size === 0) reading = undefined; // not built yet: the next request looks again
    const file = files.get(path) ?? (PAGE.test(path) ? files.get("/index.html") : undefined);
    if (!file) {
      if (!PAGE.test(path) || files.size > 0) return next();
      throw new ApiError(404, "The studio is not built", {
        code: "no_studio",
        note: "npm run build makes it",
      });
    }
    for (const [name, value] of Object.entries(HEADERS)) context.header(name, value);
    context.header("etag", file.etag);
    context.header("cache-control", file.isForGood ? "public, max-age=31536000, immutable" : "no-cache");
    if (context.req.header("if-none-match") === file.etag) return context.body(null, 304);
    return context.body(file.bytes, 200, { "content-type": file.type });
  });
  return app;
}

/** All of them, by path: there are few, and no request decides what is read. */
async function readFiles(folder: string): Promise<Map<string, ServedFile>> {
  const files = new Map<string, ServedFile>();
  for (const below of ["", "assets"]) {
    const place = below === "" ? folder : `${folder}/${below}`;
    for (const name of folderExists(place) ? fileNames(place) : []) {
      const type = TYPES[name.split(".").at(-1)!];
      if (type === undefined) continue;
      const bytes = new Uint8Array(await readRegularFile(`${place}/${name}`, MOST_BYTES));
      const etag = `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 22)}"`;
      files.set(below === "" ? `/${name}` : `/${below}/${name}`, {
        ...{ bytes, type, etag },
        isForGood: below === "assets",
      });
    }
  }
  return files;
}
