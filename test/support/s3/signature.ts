/** Signatures of requests to S3, version 4, computed from its description: what Amazon's client must agree with. */
import { createHash, createHmac } from "node:crypto";

export interface SignedRequest {
  method: string;
  /** As it stands in the request, with its query. */
  url: string;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: Uint8Array;
}

export interface Keys {
  id: string;
  secret: string;
}

const ALGORITHM = "AWS4-HMAC-SHA256";
const UNSIGNED = "UNSIGNED-PAYLOAD";
const SKEW_MS = 15 * 60_000;

const hex = (data: string | Uint8Array) => createHash("sha256").update(data).digest("hex");
const hmac = (key: string | Buffer, data: string) => createHmac("sha256", key).update(data).digest();

/** RFC 3986: all but letters, digits and -._~ as %XX. */
function encode(text: string): string {
  return [...new TextEncoder().encode(text)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[A-Za-z0-9\-._~]/.test(character)
        ? character
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    })
    .join("");
}

function headerOf({ headers }: SignedRequest, name: string): string {
  const value = headers[name];
  return (Array.isArray(value) ? value.join(",") : (value ?? "")).trim().replace(/ +/g, " ");
}

/** The signature that a request should have. */
export function signatureOf(
  request: SignedRequest,
  { scope, signedHeaders, secret }: { scope: string; signedHeaders: readonly string[]; secret: string },
): string {
  const [path, query = ""] = request.url.split("?");
  const pairs = query.split("&").filter((pair) => pair !== "");
  const encoded = pairs.map((pair) => {
    const [key, value = ""] = pair.split(/=(.*)/s);
    return [encode(decodeURIComponent(key!)), encode(decodeURIComponent(value))] as const;
  });
  encoded.sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x < y ? -1 : 1));
  const canonical = [
    request.method,
    path!
      .split("/")
      .map((part) => encode(decodeURIComponent(part)))
      .join("/"),
    encoded.map(([key, value]) => `${key}=${value}`).join("&"),
    ...signedHeaders.map((name) => `${name}:${headerOf(request, name)}`),
    "",
    signedHeaders.join(";"),
    headerOf(request, "x-amz-content-sha256"),
  ].join("\n");
  const text = [ALGORITHM, headerOf(request, "x-amz-date"), scope, hex(canonical)].join("\n");
  const [date, region, service, end] = scope.split("/") as [string, string, string, string];
  const key = hmac(hmac(hmac(hmac(`AWS4${secret}`, date), region), service), end);
  return hmac(key, text).toString("hex");
}

/** S3's name for what is wrong with a request's signature; undefined when nothing is. */
export function signatureFault(request: SignedRequest, keys: Keys, now: number): string | undefined {
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      headerOf(request, "authorization"),
    );
  if (!match) return "AccessDenied";
  const [, id, scope, names, signature] = match as unknown as [string, string, string, string, string];
  if (id !== keys.id) return "InvalidAccessKeyId";
  const signedHeaders = names.split(";");
  const must = Object.keys(request.headers).filter((name) => name === "host" || name.startsWith("x-amz-"));
  if (!must.every((name) => signedHeaders.includes(name))) return "AccessDenied";
  const said = headerOf(request, "x-amz-date");
  const at = Date.parse(said.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  if (!(Math.abs(at - now) < SKEW_MS) || !scope.startsWith(said.slice(0, 8))) return "RequestTimeTooSkewed";
  if (signatureOf(request, { scope, signedHeaders, secret: keys.secret }) !== signature)
    return "SignatureDoesNotMatch";
  const payload = headerOf(request, "x-amz-content-sha256");
  if (payload !== UNSIGNED && payload !== hex(request.body)) return "XAmzContentSHA256Mismatch";
  return undefined;
}
