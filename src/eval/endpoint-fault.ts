/**
 * What went wrong with one try of a request: which code it ends as, and whether asking again may mend it.
 * The message says what is, as the middle part of an error: `it answers 503 "overloaded"`.
 */
import { shown } from "../checkpoint/shown.ts";

export type FaultCode = "not-authorised" | "refused" | "question-refused" | "unreachable" | "bad-answer";

export class EndpointFault extends Error {
  override name = "EndpointFault";
  readonly code: FaultCode;
  /** Asking again may help. */
  readonly isPassing: boolean;
  /** The HTTP status, where it is that which is wrong. */
  readonly status: number | undefined;
  /** How long the server wants to be left alone. */
  readonly retryAfterMs: number | undefined;
  /** All that the server said, for whoever looks for a word in it. */
  readonly said: string;

  constructor(
    code: FaultCode,
    message: string,
    options: { isPassing?: boolean; status?: number; retryAfterMs?: number | undefined; said?: string } = {},
  ) {
    super(message);
    this.code = code;
    this.isPassing = options.isPassing ?? (code === "unreachable" || code === "bad-answer");
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
    this.said = options.said ?? "";
  }
}

/** Too early, too many, a time-out of the server's own. */
const PASSING = new Set([408, 425, 429]);

/** The fault of an answer whose status is not 200. `quoted`: what messages show of what it said. */
export function faultOfStatus(
  status: number,
  said: string,
  { retryAfterMs, quoted = said }: { retryAfterMs?: number | undefined; quoted?: string } = {},
): EndpointFault {
  const message = `it answers ${status}${quoted === "" ? "" : ` "${quoted}"`}`;
  if (PASSING.has(status) || status >= 500)
    return new EndpointFault("unreachable", message, { status, said, retryAfterMs });
  if (status === 401 || status === 403) return new EndpointFault("not-authorised", message, { status, said });
  if (status === 400 || status === 413 || status === 422)
    return new EndpointFault("question-refused", message, { status, said });
  if (status >= 300 && status < 400)
    return new EndpointFault("refused", `it answers ${status}, a redirect, which is not followed`, {
      status,
    });
  return new EndpointFault("refused", message, { status, said });
}

/** What a server said, fit for a terminal: one line without secrets, its control characters escaped, and cut. */
export function shownText(text: string, secrets: readonly string[] = []): string {
  let clean = text;
  for (const secret of secrets) clean = clean.replaceAll(secret, "…");
  return shown(clean.replace(/\s+/g, " ").trim());
}
