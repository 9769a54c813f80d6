/** What the Hub means when it refuses to take something, and what to do about it. */
import { CheckpointError, Interrupted } from "../../base/errors.ts";
import { printable } from "../shown.ts";
import { asFault, RemoteFault } from "./client.ts";
import { hubEndpoint } from "./hub-settings.ts";

const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);
/** Somebody else has committed meanwhile. */
const CONFLICT = new Set([409, 412]);
const LONGEST_SAID = 200;

export function noToken(repo: string): CheckpointError {
  const what = `Cannot push to "${printable(repo)}": there is no token, wanted one that may write there`;
  return new CheckpointError("not-authorised", what, {
    note: "Set HF_TOKEN, or log in with `hf auth login`",
  });
}

/** An error of the Hub's library as one of ours. */
export function pushFault(error: unknown, repo: string, signal?: AbortSignal): Error {
  if (signal?.aborted) return new Interrupted("The upload was stopped; what is on the Hub stays there");
  if (error instanceof CheckpointError || error instanceof Interrupted) return error;
  const { statusCode: status, message } = error as { statusCode?: unknown; message?: unknown };
  const name = printable(repo);
  const fail = (
    code: string,
    what: string,
    { note, isPassing = false }: { note?: string; isPassing?: boolean },
  ) =>
    new RemoteFault(code, `Cannot push to "${name}": ${what}`, {
      isPassing,
      cause: error,
      ...(typeof status === "number" ? { status } : {}),
      ...(note === undefined ? {} : { note }),
    });
  if (typeof status !== "number") {
    if (error instanceof SyntaxError || /^Invalid server response|^Cannot get ETag/.test(String(message)))
      return fail("bad-answer", "it answers with what is no JSON, wanted the Hub's API", {
        note: "HF_ENDPOINT says where the Hub is; a proxy or a login page may stand between",
      });
    return asFault(error, `${hubEndpoint()}/${repo}`, signal);
  }
  const said = sayingOf(message);
  if (PASSING.has(status)) {
    const note = "Run the same command again later: what is on the Hub is not sent again";
    return fail("unreachable", `the Hub says ${status}${said}`, { note, isPassing: true });
  }
  if (CONFLICT.has(status)) {
    const note = "Run the same command again: it goes on from what is there";
    return fail("conflict", `others keep committing to it${said}`, { note, isPassing: true });
  }
  if (status === 401) {
    const note = "Is HF_TOKEN whole, and has it expired?";
    return fail("not-authorised", `the token is not taken${said}`, { note });
  }
  if (status === 403) {
    const note = "Make a token with the right to write to it, or propose the files with --create-pr";
    return fail("not-authorised", `the token may not write there${said}`, { note });
  }
  if (status === 404)
    return fail("missing", `there is no such repository or branch, or it is private${said}`, {});
  return fail("refused", `the Hub says ${status}${said}`, {});
}

/** What it said beside the status, without the page that some proxies send. */
function sayingOf(message: unknown): string {
  const text = String(message ?? "")
    .replace(/\.? ?URL: \S+.*$/s, "")
    .trim();
  if (text === "" || /^Api error with status \d+/.test(text) || text.includes("<")) return "";
  return ` (${printable(text.slice(0, LONGEST_SAID))})`;
}
