/**
 * Who may ask: by the key, by the name that the server was asked under, by the page that asks.
 *
 * A page of somebody else's, open in the user's browser, reaches a server on loopback. It is kept out twice. Its
 * Origin is not ours (cross-site requests). And where it has its own name point to this machine (DNS rebinding), so
 * that its Origin is that of the request, that name is not ours: names other than "localhost" have to be allowed.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { ApiError } from "./api-error.ts";

export interface AccessOptions {
  /** Any of them will do; none: everybody may ask. */
  apiKeys?: readonly string[];
  /** Names that the server is reached under, beside localhost and addresses. */
  hosts?: readonly string[];
  /** Pages of other origins that may ask. */
  origins?: readonly string[];
}

export class Access {
  readonly #keys: readonly Buffer[];
  readonly #hosts: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;

  constructor({ apiKeys = [], hosts = [], origins = [] }: AccessOptions) {
    this.#keys = apiKeys.map(digestOf);
    this.#hosts = new Set(hosts.map((host) => host.toLowerCase()));
    this.#origins = new Set(origins);
  }

  get needsKey(): boolean {
    return this.#keys.length > 0;
  }

  /** The origin of a page of another one that may ask, and read the answer. */
  foreignPage(headers: Headers): string | undefined {
    const origin = headers.get("origin");
    return origin !== null && this.#origins.has(origin) ? origin : undefined;
  }

  /** Throws ApiError 403. */
  checkPlace(headers: Headers): void {
    const host = headers.get("host") ?? "";
    if (!this.#isOwnHost(host)) {
      const message = `Cannot answer under the name "${host.slice(0, 100)}": it is not one of this server's, wanted localhost, an address or an allowed name`;
      throw new ApiError(403, message, { code: "host_not_allowed", note: "--allow-host adds a name" });
    }
    const origin = headers.get("origin");
    if (origin === null) {
      // Browsers that leave the origin out still say that the page is another site's.
      if (headers.get("sec-fetch-site") === "cross-site" && headers.get("sec-fetch-mode") !== "navigate")
        throw foreign("another site");
      return;
    }
    const isOwn = origin === `http://${host}` || origin === `https://${host}`;
    if (!isOwn && !this.#origins.has(origin)) throw foreign(origin);
  }

  #isOwnHost(host: string): boolean {
    const name = /^(\[[0-9a-f:.]+\]|[^:]+)(:\d{1,5})?$/i.exec(host)?.[1]?.toLowerCase();
    if (name === undefined) return false;
    const isAddress = name.startsWith("[") || /^\d{1,3}(\.\d{1,3}){3}$/.test(name);
    return isAddress || name === "localhost" || name.endsWith(".localhost") || this.#hosts.has(name);
  }

  /** Throws ApiError 401. */
  checkKey(headers: Headers): void {
    if (this.hasKey(headers)) return;
    const message =
      sentKey(headers) === undefined
        ? "There is no API key in the request, wanted Authorization: Bearer KEY"
        : "The API key is not right";
    throw new ApiError(401, message, { code: "invalid_api_key" });
  }

  /** Whether there is a right key, or none is wanted. All are compared, each in the same time whatever was sent. */
  hasKey(headers: Headers): boolean {
    if (this.#keys.length === 0) return true;
    const sent = sentKey(headers);
    const digest = digestOf(sent ?? "");
    let isRight = false;
    for (const key of this.#keys) isRight = timingSafeEqual(key, digest) || isRight;
    return sent !== undefined && isRight;
  }
}

function sentKey(headers: Headers): string | undefined {
  return /^Bearer +(\S+)\s*$/i.exec(headers.get("authorization") ?? "")?.[1];
}

/** Of one length, so that comparing tells nothing of a key's. */
function digestOf(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

function foreign(origin: string): ApiError {
  const message = `Cannot answer a page of ${origin.slice(0, 200)}: it is another origin, wanted this server's own page`;
  return new ApiError(403, message, { code: "origin_not_allowed", note: "--allow-origin adds one" });
}
