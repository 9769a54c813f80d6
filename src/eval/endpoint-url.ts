/**
 * Where an endpoint is, and what of that may be shown: user, password and query can hold secrets and stand in no
 * message. A URL without a version in its path gets "/v1", as every client of this protocol wants it.
 */
import { EvaluationError } from "../base/errors.ts";

export interface EndpointUrl {
  /** For messages and config.json. */
  readonly shown: string;
  readonly isSecure: boolean;
  readonly hostname: string;
  readonly port: string;
  /** Without a trailing slash. */
  readonly path: string;
  /** With its question mark, or "". */
  readonly query: string;
  /** "user:password", or undefined. */
  readonly credentials: string | undefined;
}

const WANTED = 'wanted one like "http://127.0.0.1:8000/v1"';

/** Throws EvaluationError "bad-url". */
export function parseEndpointUrl(text: string, name: string): EndpointUrl {
  const url = urlOf(text);
  // Not shown: what cannot be read may hold a password anywhere.
  if (!url) throw new EvaluationError("bad-url", `Cannot use the URL of "${name}": it is no URL, ${WANTED}`);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    const message = `Cannot use the URL of "${name}": its scheme is "${url.protocol.slice(0, -1)}", ${WANTED}`;
    throw new EvaluationError("bad-url", message);
  }
  const bare = url.pathname.replace(/\/+$/, "").replace(/\/(chat\/)?completions$/, "");
  const path = /\/v\d\w*(\/|$)/.test(bare) ? bare : `${bare}/v1`;
  return {
    shown: `${url.protocol}//${url.host}${path}`,
    isSecure: url.protocol === "https:",
    hostname: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port,
    path,
    query: url.search,
    credentials: url.username || url.password ? `${plain(url.username)}:${plain(url.password)}` : undefined,
  };
}

/**
 * The key for a server, from the environment. A provider's own key goes to that provider alone: a recipe or a
 * script that names another server must not be able to collect it.
 */
export function apiKeyFor(url: string, env: Record<string, string | undefined>): string | undefined {
  if (env.CHIMERA_API_KEY) return env.CHIMERA_API_KEY;
  const at = urlOf(url);
  if (at?.protocol !== "https:") return undefined;
  switch (at.hostname) {
    case "api.openai.com":
      return env.OPENAI_API_KEY || undefined;
    case "api.deepseek.com":
      return env.DEEPSEEK_API_KEY || undefined;
    case "openrouter.ai":
      return env.OPENROUTER_API_KEY || undefined;
    default:
      return undefined;
  }
}

function urlOf(text: string): URL | undefined {
  try {
    return new URL(text.trim());
  } catch {
    return undefined;
  }
}

function plain(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
