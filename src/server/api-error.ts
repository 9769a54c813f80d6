/**
 * Errors as OpenAI's protocol tells them: a status and { error: { message, type, param, code } }. Whatever the engine
 * throws becomes one of these; what nobody expected is logged and told without its words.
 */
import {
  BuildError,
  CheckpointError,
  EvaluationError,
  Interrupted,
  PlanError,
  type Problem,
  RecipeError,
  StudyError,
  TaskError,
} from "../base/errors.ts";

export interface ErrorBody {
  error: {
    message: string;
    type: string;
    param: string | null;
    code: string | null;
    /** What the reader can do about it. */
    note?: string;
    /** Each fault of a recipe or a plan, with its place. */
    problems?: readonly Problem[];
  };
}

export interface ErrorDetails {
  type?: string;
  param?: string | undefined;
  code?: string | undefined;
  note?: string | undefined;
  problems?: readonly Problem[];
  /** Seconds after which to try again. */
  retryAfter?: number;
  cause?: unknown;
}

export class ApiError extends Error {
  override name = "ApiError";
  readonly status: number;
  readonly details: ErrorDetails;

  constructor(status: number, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = status;
    this.details = details;
  }

  get body(): ErrorBody {
    const { type = typeOf(this.status), param, code, note, problems } = this.details;
    return {
      error: {
        ...{ message: this.message, type, param: param ?? null, code: code ?? null },
        ...(note ? { note } : {}),
        ...(problems ? { problems } : {}),
      },
    };
  }

  response(): Response {
    const headers: Record<string, string> = { "content-type": "application/json; charset=utf-8" };
    if (this.details.retryAfter !== undefined) headers["retry-after"] = String(this.details.retryAfter);
    if (this.status === 401) headers["www-authenticate"] = "Bearer";
    return new Response(JSON.stringify(this.body), { status: this.status, headers });
  }
}

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

/** A fault of the request, at a key of its body. */
export function invalid(param: string | undefined, message: string, code?: string): ApiError {
  return new ApiError(400, message, { param, code });
}

/** Faults of a chat template that other messages, or none, would not meet. */
const OF_MESSAGES = new Set([
  "template",
  "template-missing",
  "template-refused",
  "template-runtime",
  "template-too-long",
]);

/** What a request failed by; undefined: nobody expected it. */
export function apiErrorOf(error: unknown): ApiError | undefined {
  if (error instanceof ApiError) return error;
  if (
    error instanceof RecipeError ||
    error instanceof PlanError ||
    error instanceof TaskError ||
    error instanceof StudyError
  )
    return new ApiError(400, error.message, { code: error.problems[0]?.code, problems: error.problems });
  if (error instanceof CheckpointError) {
    const { code, note } = error;
    if (code === "context")
      return new ApiError(400, error.message, { code: "context_length_exceeded", note, param: "messages" });
    if (code === "not-enough-memory") return new ApiError(503, error.message, { code, note, retryAfter: 30 });
    if (OF_MESSAGES.has(code)) return new ApiError(400, error.message, { code, note, param: "messages" });
    return new ApiError(500, error.message, { code, note });
  }
  if (error instanceof BuildError || error instanceof EvaluationError) {
    const { code, note } = error;
    return new ApiError(code === "locked" ? 409 : 400, error.message, { code, note });
  }
  if (error instanceof Interrupted) return new ApiError(499, "The client has gone away", { code: "aborted" });
  return undefined;
}

/** What is told of an error that nobody expected: not its words, which may hold what is not the client's. */
export function unexpected(): ApiError {
  return new ApiError(500, "The server failed; its log says why", { code: "internal" });
}
