/**
 * Object stores that speak S3, through Amazon's own client, which is loaded when it is needed: who may ask and how that
 * is signed is its business. Where the store is and who asks come from the variables and profiles that AWS tools read.
 *
 * Trying again is ours, as everywhere: the client's own tries do not see bodies that are cut off.
 */
import type { S3Client } from "@aws-sdk/client-s3";
import { CheckpointError, Interrupted } from "../../base/errors.ts";
import { printable, publicText } from "../shown.ts";
import { RemoteFault, retrying, silenceMs } from "./client.ts";
import { isStopped, linkedSignal, stopped } from "./stoppable.ts";

export type S3Sdk = typeof import("@aws-sdk/client-s3");

export interface S3Place {
  bucket: string;
  /** Without slashes at its ends; "" is the whole bucket. */
  prefix: string;
}

const BUCKET = /^[A-Za-z0-9][\w.-]{1,254}$/;
const CONNECTIONS = 16;
const CONNECT_MS = 10_000;

/** "s3://bucket/prefix". Throws CheckpointError "bad-url". */
export function parseS3Place(location: string): S3Place {
  const [, bucket = "", rest = ""] = /^s3:\/\/([^/]*)(?:\/(.*))?$/i.exec(location) ?? [];
  const prefix = rest.replace(/^\/+|\/+$/g, "");
  const isPlain = !/[?#\0]|(^|\/)\.{1,2}(\/|$)|\/\//.test(prefix);
  if (BUCKET.test(bucket) && isPlain) return { bucket, prefix };
  const what = `Cannot open "${printable(location)}": it is no place in an object store, wanted s3://BUCKET/PREFIX`;
  throw new CheckpointError("bad-url", what);
}

export function s3Location({ bucket, prefix }: S3Place): string {
  return prefix === "" ? `s3://${bucket}` : `s3://${bucket}/${prefix}`;
}

/** The key of a file, and the start of those of all files. */
export function keyOf({ prefix }: S3Place, name: string): string {
  return prefix === "" ? name : `${prefix}/${name}`;
}

interface Loaded {
  sdk: S3Sdk;
  client: S3Client;
}

let loaded: Promise<Loaded> | undefined;

/** The client of this thread. */
export function s3Client(): Promise<Loaded> {
  loaded ??= load().catch((error) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

async function load(): Promise<Loaded> {
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true"; // we say ourselves which Node we run on
  let sdk: S3Sdk;
  try {
    sdk = await import("@aws-sdk/client-s3");
  } catch (error) {
    const what = "Cannot reach an object store: the package @aws-sdk/client-s3 is not installed, wanted it";
    throw new CheckpointError("not-installed", what, {
      note: "npm install @aws-sdk/client-s3",
      cause: error,
    });
  }
  const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION } = process.env;
  const endpoint = AWS_ENDPOINT_URL_S3 || AWS_ENDPOINT_URL;
  const region = AWS_REGION || AWS_DEFAULT_REGION || (endpoint ? "us-east-1" : undefined);
  const client = new sdk.S3Client({
    ...(endpoint ? { endpoint, forcePathStyle: true } : {}),
    ...(region ? { region } : {}),
    // Stores other than Amazon's do not know the newer checksums.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    maxAttempts: 1,
    followRegionRedirects: true,
    requestHandler: {
      ...{ connectionTimeout: CONNECT_MS, socketTimeout: silenceMs() },
      ...{ httpAgent: { maxSockets: CONNECTIONS }, httpsAgent: { maxSockets: CONNECTIONS } },
    },
  });
  return { sdk, client };
}

export interface S3Work {
  /** "read", "write", "list": for messages. */
  verb: string;
  /** What it is done to: an object, or a place. */
  location: string;
  signal?: AbortSignal | undefined;
  /** Of the try before: it brought something. */
  hasProgress?: () => boolean;
}

/** Does something, again where that may help. `again`: tries before this one. Throws CheckpointError, Interrupted. */
export async function s3Retrying<T>(
  attempt: (loaded: { sdk: S3Sdk; client: Pick<S3Client, "send"> }, again: number) => Promise<T>,
  { verb, location, signal, hasProgress }: S3Work,
): Promise<T> {
  const { sdk, client } = await s3Client();
  let tries = 0;
  return retrying(
    async () => {
      const link = linkedSignal(signal);
      try {
        return await attempt({ sdk, client: endingWith(client, link.signal) }, tries++);
      } catch (error) {
        throw s3Fault(error, { verb, location, signal: link.signal });
      } finally {
        link.release();
      }
    },
    { signal, ...(hasProgress ? { hasProgress } : {}) },
  );
}

/** The client, whose requests end when the signal fires. */
function endingWith(client: S3Client, signal: AbortSignal | undefined): Pick<S3Client, "send"> {
  if (!signal) return client;
  const send = (command: never, options: object = {}) =>
    client.send(command, { abortSignal: signal, ...options });
  return { send: send as S3Client["send"] };
}

const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);
const PASSING_NAMES = new Set([
  "SlowDown",
  "RequestTimeout",
  "InternalError",
  "ServiceUnavailable",
  "RequestTimeTooSkewed",
]);
const WRONG_KEYS: Readonly<Record<string, string>> = {
  InvalidAccessKeyId: "the access key is not known there",
  SignatureDoesNotMatch: "the secret key does not fit the access key",
  ExpiredToken: "the session's token has expired",
  InvalidToken: "the session's token is not taken",
};

interface SdkError {
  name?: string;
  code?: string;
  message?: string;
  $metadata?: { httpStatusCode?: number };
  $response?: { statusCode?: number };
}

/** Status of an answer that was an error; undefined when none came. */
export function statusOf(error: unknown): number | undefined {
  const { $metadata, $response } = (error ?? {}) as SdkError;
  return $metadata?.httpStatusCode ?? $response?.statusCode;
}

function s3Fault(error: unknown, { verb, location, signal }: S3Work): Error {
  if (isStopped(signal)) return stopped();
  if (error instanceof CheckpointError || error instanceof Interrupted) return error;
  const { name = "", code, message = "" } = (error ?? {}) as SdkError;
  const status = statusOf(error);
  const fail = (
    kind: string,
    what: string,
    { note, isPassing = false, ...rest }: { note?: string; isPassing?: boolean; retries?: number },
  ) =>
    new RemoteFault(kind, `Cannot ${verb} "${printable(location)}": ${what}`, {
      ...{ isPassing, cause: error, ...rest },
      ...(status === undefined ? {} : { status }),
      ...(note === undefined ? {} : { note }),
    });
  const later = "Run the same command again later: what is complete is kept";
  if (name === "CredentialsProviderError" || /credential/i.test(name))
    return fail("not-authorised", "there are no keys, wanted some", {
      note: "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    });
  if (/^Region is missing/.test(message))
    return fail("bad-url", "its region is not known", { note: "Set AWS_REGION" });
  if (WRONG_KEYS[name]) {
    const note = "See AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_PROFILE";
    return fail("not-authorised", WRONG_KEYS[name], { note });
  }
  if (name === "NoSuchBucket")
    return fail("missing", "there is no such bucket", { note: "AWS_ENDPOINT_URL says where the store is" });
  if ((status !== undefined && PASSING.has(status)) || PASSING_NAMES.has(name))
    return fail("unreachable", `the store says ${status ?? ""} ${name}`.trim(), {
      note: later,
      isPassing: true,
    });
  // HEAD has no body that names the error.
  if (status === 401 || status === 403)
    return fail("not-authorised", `the store says ${status}: these keys may not ${verb} it`, {
      note: "Ask whoever owns the bucket for that right, or take other keys (AWS_PROFILE)",
    });
  if (status === 404) return fail("missing", "there is no such object", {});
  if (status === 412) return fail("changed", "it has changed since it was opened, wanted no change", {});
  if (status === 301 || status === 307)
    return fail("bad-url", "the bucket lies in another region", {
      note: "Set AWS_REGION to that of the bucket",
    });
  if (status === 501) return fail("bad-answer", "the store does not know this request", {});
  if (status !== undefined || /^Deserialization/i.test(message) || error instanceof SyntaxError)
    return fail(
      "bad-answer",
      `it answers with ${status === undefined ? "" : `${status} and `}what is no S3`,
      {
        note: "AWS_ENDPOINT_URL says where the store is; a proxy or a login page may stand between",
      },
    );
  // The client calls broken connections so, too.
  if (name === "TimeoutError" && /inactivity|no activity/.test(message))
    return fail("unreachable", `it has said nothing for ${silenceMs() / 1000} s`, {
      ...{ isPassing: true, note: later, retries: 1 },
    });
  return fail("unreachable", printable(publicText(message || code || name)), {
    isPassing: true,
    note: later,
  });
}

/** For answers that come well and say nothing that S3 says. */
export function notS3({ verb, location }: S3Work, what: string): RemoteFault {
  return new RemoteFault("bad-answer", `Cannot ${verb} "${printable(location)}": ${what}`, {
    note: "AWS_ENDPOINT_URL says where the store is; a proxy or a login page may stand between",
  });
}
