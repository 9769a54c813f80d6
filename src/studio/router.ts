/**
 * Which page is shown: an address is a path of pages and a query, whatever it is written as. A server that answers every
 * path with the page gets history addresses (/talk?models=a); a page that lies in a folder of files gets hash addresses
 * (#/talk?models=a).
 */
import { type ReadonlySignal, signal } from "@preact/signals";

export type AddressMode = "history" | "hash";

export interface Address {
  /** Decoded segments: ["checkpoints", "mini-r1"]. */
  path: string[];
  query: URLSearchParams;
}

type Query = Record<string, string | number | undefined>;

const current = signal<Address>({ path: [], query: new URLSearchParams() });
let mode: AddressMode = "history";

export const address: ReadonlySignal<Address> = current;

/** Begins to follow the address, and links that are clicked. */
export function startRouter(wanted: AddressMode): void {
  mode = wanted;
  current.value = read();
  addEventListener(mode === "hash" ? "hashchange" : "popstate", () => {
    current.value = read();
  });
  if (mode === "history") document.addEventListener("click", follow);
}

/** What a link to a page says. */
export function href(path: readonly string[], query: Query = {}): string {
  const said = Object.entries(query).flatMap(([key, value]) =>
    value === undefined || value === "" ? [] : [[key, String(value)]],
  );
  const search = said.length === 0 ? "" : `?${new URLSearchParams(said)}`;
  return `${mode === "hash" ? "#" : ""}/${path.map(encodeURIComponent).join("/")}${search}`;
}

export function go(path: readonly string[], query: Query = {}, { replace = false } = {}): void {
  const target = href(path, query);
  if (replace) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  current.value = read();
}

/** Changes keys of the query and stays on the page; the way back does not go through each change. */
export function setQuery(changes: Query): void {
  const { path, query } = current.value;
  go(path, { ...Object.fromEntries(query), ...changes }, { replace: true });
}

function read(): Address {
  const url =
    mode === "hash" ? new URL(location.hash.slice(1) || "/", "http://page") : new URL(location.href);
  const path = url.pathname
    .split("/")
    .filter((part) => part !== "" && part !== "index.html")
    .map(decoded);
  return { path, query: url.searchParams };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Plain clicks on links to pages of ours do not load the page again. */
function follow(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  // Links of plots are SVG's, whose href is no text.
  const link = (event.target as Element | null)?.closest?.("a");
  const said = link?.getAttribute("href");
  if (!link || !said || said.startsWith("#")) return;
  if (link.getAttribute("target") || link.hasAttribute("download")) return;
  const url = new URL(said, location.href);
  if (url.origin !== location.origin || /^\/(api|v1)\//.test(url.pathname)) return;
  event.preventDefault();
  if (url.href !== location.href) history.pushState(null, "", url);
  current.value = read();
}
