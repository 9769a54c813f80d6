/**
 * What the engine takes of node:path, for places as a page has them: "/" parts them, and there is no folder to
 * be in but the root.
 */

/** Without ".", "..", doubled and closing slashes. */
function normal(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (!isAbsolute(path)) parts.push("..");
  }
  const joined = parts.join("/");
  return isAbsolute(path) ? `/${joined}` : joined || ".";
}

export function isAbsolute(path: string): boolean {
  return path.startsWith("/");
}

export function join(...paths: string[]): string {
  return normal(paths.filter((path) => path !== "").join("/"));
}

export function resolve(...paths: string[]): string {
  const last = paths.findLastIndex(isAbsolute);
  return normal(["", ...paths.slice(Math.max(last, 0))].join("/"));
}

export function relative(from: string, to: string): string {
  const [left, right] = [resolve(from), resolve(to)].map((path) => path.split("/").filter((part) => part));
  let shared = 0;
  while (shared < left!.length && left![shared] === right![shared]) shared++;
  return [...left!.slice(shared).map(() => ".."), ...right!.slice(shared)].join("/");
}

export function dirname(path: string): string {
  const trimmed = path.replace(/(?<=.)\/+$/, "");
  const at = trimmed.lastIndexOf("/");
  if (at < 0) return ".";
  return at === 0 ? "/" : trimmed.slice(0, at);
}

export function basename(path: string): string {
  return path.replace(/\/+$/, "").split("/").at(-1)!;
}

export function extname(path: string): string {
  const name = basename(path);
  const at = name.lastIndexOf(".");
  return at > 0 && name !== ".." ? name.slice(at) : "";
}
