/**
 * An object store of the tests' own that speaks S3 on a port of this machine. It checks every signature by its own
 * computation, counts what it is asked, and misbehaves on demand.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Fault, type FaultRule, type LoggedRequest, loggedRequest, sendContent } from "../hub/faults.ts";
import { type Keys, signatureFault } from "./signature.ts";

export interface StoredObject {
  bytes: Uint8Array;
  etag: string;
}

interface Upload {
  bucket: string;
  key: string;
  parts: Map<number, StoredObject>;
}

const md5 = (bytes: Uint8Array | string) => createHash("md5").update(bytes).digest();

export class TestS3 {
  readonly buckets: Map<string, Map<string, StoredObject>> = new Map();
  readonly uploads: Map<string, Upload> = new Map();
  readonly log: LoggedRequest[] = [];
  readonly keys: Keys = { id: "AKTESTTESTTEST", secret: "s3cret/with+signs=" };
  rules: FaultRule[] = [];
  /** What these keys may not do. */
  denied: Set<"read" | "write" | "list"> = new Set();
  /** As some stores do. */
  ignoresConditions = false;
  pageSize = 1000;
  #server: Server | undefined;
  #counter = 0;
  url = "";

  async start(): Promise<this> {
    const server = createServer((request, response) => {
      this.#handle(request, response).catch((error) => response.destroy(error));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return this;
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  /** What the client reads of it. */
  get env(): Record<string, string> {
    return {
      ...{ AWS_ENDPOINT_URL: this.url, AWS_REGION: "test-1" },
      ...{ AWS_ACCESS_KEY_ID: this.keys.id, AWS_SECRET_ACCESS_KEY: this.keys.secret },
    };
  }

  put(bucket: string, key: string, bytes: Uint8Array): void {
    this.bucket(bucket).set(key, { bytes, etag: md5(bytes).toString("hex") });
  }

  /** Made where it is missing. */
  bucket(name: string): Map<string, StoredObject> {
    const bucket = this.buckets.get(name) ?? new Map<string, StoredObject>();
    this.buckets.set(name, bucket);
    return bucket;
  }

  /** Names below a prefix. */
  namesUnder(bucket: string, prefix: string): string[] {
    return [...this.bucket(bucket).keys()]
      .filter((key) => key.startsWith(`${prefix}/`))
      .map((key) => key.slice(prefix.length + 1))
      .sort();
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts);
    const { method = "GET", url = "/", headers } = request;
    const logged = loggedRequest(request);
    this.log.push(logged);
    const fault = this.#faultOf(logged);
    if (fault?.kind === "silent") return;
    if (fault?.kind === "slow") await new Promise((resume) => setTimeout(resume, fault.ms));
    if (fault?.kind === "status") {
      response.writeHead(fault.status, fault.headers ?? {}).end(fault.body ?? "");
      return;
    }
    if (fault?.kind === "cut" && method !== "GET") {
      response.destroy();
      return;
    }
    const wrong = signatureFault({ method, url, headers, body }, this.keys, Date.now());
    if (wrong) return refuse(response, wrong === "XAmzContentSHA256Mismatch" ? 400 : 403, wrong);
    const { pathname, searchParams } = new URL(url, this.url);
    const [, name = "", key = ""] = /^\/([^/]*)\/?(.*)$/s.exec(decodeURIComponent(pathname)) ?? [];
    const bucket = this.buckets.get(name);
    if (!bucket) return refuse(response, 404, "NoSuchBucket");
    const need = key === "" ? "list" : method === "GET" || method === "HEAD" ? "read" : "write";
    if (this.denied.has(need)) return refuse(response, 403, "AccessDenied");
    if (key === "") return this.#list(name, searchParams, response);
    const context = { bucket: name, key, body, request, response, fault, logged };
    if (method === "PUT" || method === "POST") return this.#write(context, searchParams);
    if (method === "DELETE") {
      const id = searchParams.get("uploadId");
      if (id !== null && !this.uploads.delete(id)) return refuse(response, 404, "NoSuchUpload");
      if (id === null) bucket.delete(key);
      response.writeHead(204).end();
      return;
    }
    const object = bucket.get(key);
    if (!object) return refuse(response, 404, "NoSuchKey");
    const wanted = headers["if-match"];
    if (wanted !== undefined && wanted !== `"${object.etag}"`)
      return refuse(response, 412, "PreconditionFailed");
    await sendContent(request, response, { content: object.bytes, etag: object.etag, fault, logged });
  }

  #faultOf(logged: LoggedRequest): Fault | undefined {
    for (const rule of this.rules) {
      const fault = rule(logged, this.log.length - 1);
      if (fault) return fault;
    }
    return undefined;
  }

  #list(name: string, query: URLSearchParams, response: ServerResponse): void {
    const prefix = query.get("prefix") ?? "";
    if (query.has("uploads")) {
      const uploads = [...this.uploads].filter(
        ([, one]) => one.bucket === name && one.key.startsWith(prefix),
      );
      const items = uploads.map(
        ([id, { key }]) => `<Upload>${tag("Key", key)}${tag("UploadId", id)}</Upload>`,
      );
      xml(response, "ListMultipartUploadsResult", `${tag("Bucket", name)}${items.join("")}`);
      return;
    }
    const delimiter = query.get("delimiter") ?? "";
    const folders = new Set<string>();
    const keys = [...this.bucket(name).keys()].sort().filter((key) => {
      if (!key.startsWith(prefix)) return false;
      const end = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
      if (end >= 0) folders.add(key.slice(0, end + 1));
      return end < 0;
    });
    const from = Number(query.get("continuation-token") ?? 0);
    const page = keys.slice(from, from + this.pageSize);
    const isCut = from + page.length < keys.length;
    const contents = page.map((key) => {
      const { bytes, etag } = this.bucket(name).get(key)!;
      return `<Contents>${tag("Key", key)}${tag("Size", bytes.length)}${tag("ETag", `"${etag}"`)}</Contents>`;
    });
    const prefixes =
      from === 0 ? [...folders].map((one) => `<CommonPrefixes>${tag("Prefix", one)}</CommonPrefixes>`) : [];
    xml(
      response,
      "ListBucketResult",
      tag("Name", name) +
        tag("KeyCount", page.length) +
        tag("IsTruncated", isCut) +
        (isCut ? tag("NextContinuationToken", from + page.length) : "") +
        contents.join("") +
        prefixes.join(""),
    );
  }

  #write(
    {
      bucket,
      key,
      body,
      request,
      response,
    }: { bucket: string; key: string; body: Buffer; request: IncomingMessage; response: ServerResponse },
    query: URLSearchParams,
  ): void {
    const objects = this.bucket(bucket);
    if (query.has("uploads")) {
      const id = `upload.${++this.#counter}/${key.length}`;
      this.uploads.set(id, { bucket, key, parts: new Map() });
      xml(
        response,
        "InitiateMultipartUploadResult",
        tag("Bucket", bucket) + tag("Key", key) + tag("UploadId", id),
      );
      return;
    }
    const id = query.get("uploadId");
    if (id === null) {
      const isNew = request.headers["if-none-match"] === "*" && !this.ignoresConditions;
      if (isNew && objects.has(key)) {
        refuse(response, 412, "PreconditionFailed");
        return;
      }
      const etag = md5(body).toString("hex");
      objects.set(key, { bytes: body, etag });
      response.writeHead(200, { etag: `"${etag}"` }).end();
      return;
    }
    const upload = this.uploads.get(id);
    if (upload?.key !== key) {
      refuse(response, 404, "NoSuchUpload");
      return;
    }
    if (request.method === "PUT") {
      const etag = md5(body).toString("hex");
      upload.parts.set(Number(query.get("partNumber")), { bytes: body, etag });
      response.writeHead(200, { etag: `"${etag}"` }).end();
      return;
    }
    const named = [...body.toString().matchAll(/<Part>.*?<\/Part>/gs)].map(([text]) => ({
      number: Number(/<PartNumber>(\d+)</.exec(text)?.[1]),
      etag: /<ETag>(?:"|&quot;)?([0-9a-f]{32})/.exec(text)?.[1],
    }));
    const isOrdered = named.every(({ number }, i) => i === 0 || named[i - 1]!.number < number);
    if (!isOrdered) {
      refuse(response, 400, "InvalidPartOrder");
      return;
    }
    const parts = named.map(({ number, etag }) => {
      const part = upload.parts.get(number);
      return part?.etag === etag ? part : undefined;
    });
    if (parts.length === 0 || parts.includes(undefined)) {
      refuse(response, 400, "InvalidPart");
      return;
    }
    const whole = Buffer.concat(parts.map((part) => part!.bytes));
    const etag = `${md5(Buffer.concat(parts.map((part) => Buffer.from(part!.etag, "hex")))).toString("hex")}-${parts.length}`;
    objects.set(key, { bytes: whole, etag });
    this.uploads.delete(id);
    xml(
      response,
      "CompleteMultipartUploadResult",
      tag("Bucket", bucket) + tag("Key", key) + tag("ETag", `"${etag}"`),
    );
  }
}

function tag(name: string, value: unknown): string {
  const text = String(value).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
  return `<${name}>${text}</${name}>`;
}

function xml(response: ServerResponse, root: string, inner: string, status = 200): void {
  response.writeHead(status, { "content-type": "application/xml" });
  response.end(`<?xml version="1.0" encoding="UTF-8"?>\n<${root}>${inner}</${root}>`);
}

function refuse(response: ServerResponse, status: number, code: string): void {
  xml(response, "Error", tag("Code", code) + tag("Message", `no: ${code}`), status);
}
