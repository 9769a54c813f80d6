/** A server of static files, as small as can be, with the headers that a page may be served with. */
import { readFileSync, statSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import type { Ends } from "../support/temporary-folder.ts";

/** Nothing inline, nothing evaluated but WebAssembly, nothing from elsewhere. */
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data: blob:";
const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".json": "application/json",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};

export interface ServedFolder {
  /** With "/" at its end. */
  url: string;
  /** Paths that were asked for, in order. */
  asked: string[];
  /** What is served instead of a file, by path. */
  instead: Map<string, (request: IncomingMessage, response: ServerResponse) => void>;
}

/** `isolated`: pages may share memory between threads. */
export async function serveFolder(
  ends: Ends,
  folder: string,
  { isolated = false }: { isolated?: boolean } = {},
): Promise<ServedFolder> {
  const asked: string[] = [];
  const instead: ServedFolder["instead"] = new Map();
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url!, "http://host").pathname);
    asked.push(path);
    const answer = instead.get(path);
    if (answer) return answer(request, response);
    const file = join(folder, path.endsWith("/") ? `${path}index.html` : path);
    const headers = {
      "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
      "Content-Security-Policy": POLICY,
      ...(isolated ? ISOLATED : {}),
    };
    const isThere = statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
    response.writeHead(isThere ? 200 : 404, headers);
    response.end(isThere ? readFileSync(file) : "");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.after(() => server.close().closeAllConnections());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, asked, instead };
}
