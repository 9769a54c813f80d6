/** Who may ask: keys, names, pages of others, with real requests whose headers a browser would not let us set. */
import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { after, before, describe, test } from "node:test";
import { metric, type RunningServer, startServed } from "../support/served.ts";

const KEY = "sk-first-key";
const PAGE = "https://page.example";

let open: RunningServer;
let guarded: RunningServer;
before(async () => {
  open = await startServed({
    places: ["models/mini-r1"],
    access: { hosts: ["models.lan"], origins: [PAGE] },
  });
  const access = { apiKeys: [KEY, "sk-second-key"], origins: [PAGE] };
  guarded = await startServed({ places: ["models/mini-r1"], access });
});
after(async () => {
  await open?.close();
  await guarded?.close();
});

interface Told {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

/** fetch() sets Host and Origin itself. */
function ask(
  { port }: RunningServer,
  path: string,
  {
    method = "GET",
    headers = {},
    body,
  }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Told> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ host: "127.0.0.1", port, path, method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      );
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

const codeOf = ({ body }: Told): string => JSON.parse(body).error.code;
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

describe("keys", () => {
  test("each of them opens what is guarded; /health is open to all", async () => {
    for (const key of [KEY, "sk-second-key"])
      for (const path of ["/v1/models", "/metrics", "/openapi.json"])
        assert.equal((await ask(guarded, path, { headers: bearer(key) })).status, 200);
    assert.equal((await ask(guarded, "/health")).status, 200);
  });

  test("no other word does, and paths in disguise are no way round", async () => {
    const wrong = [
      "",
      "sk-first-ke",
      "sk-first-key2",
      "SK-FIRST-KEY",
      `${KEY} ${KEY}`,
      "sk-first-key,sk-second-key",
    ];
    for (const key of wrong) {
      const told = await ask(guarded, "/v1/models", { headers: bearer(key) });
      assert.equal(told.status, 401, key);
      assert.equal(codeOf(told), "invalid_api_key");
      assert.equal(told.headers["www-authenticate"], "Bearer");
    }
    for (const headers of [
      { authorization: KEY },
      { authorization: `Basic ${KEY}` },
      { "x-api-key": KEY },
    ] as Record<string, string>[])
      assert.equal((await ask(guarded, "/v1/models", { headers })).status, 401);
    for (const path of [
      "/v1/models?x=/health",
      "/%761/models",
      "/v1/../v1/models",
      "/health/../v1/models",
      "/v1/models#/health",
    ])
      assert.equal((await ask(guarded, path)).status, 401, path);
    for (const path of ["//v1/models", "/V1/models", "/v1%2fmodels", "/metrics/", "/x/../metrics/."]) {
      const { status, body } = await ask(guarded, path);
      assert.ok(status === 401 || status === 404, `${path}: ${status}`);
      assert.ok(!body.includes("mini-r1"), path);
    }
  });

  test("a path that is not guarded tells nothing either", async () => {
    const { status, body } = await ask(guarded, "/nothing");
    assert.equal(status, 404);
    assert.equal(JSON.parse(body).error.code, "not_found");
  });

  test("whoever is refused is counted and logged", async () => {
    const before = guarded.log.length;
    await ask(guarded, "/v1/models", { headers: bearer("sk-not-the-key") });
    const line = JSON.parse(guarded.log.at(-1)!);
    assert.ok(guarded.log.length > before);
    assert.deepEqual([line.path, line.status], ["/v1/models", 401]);
    const { body } = await ask(guarded, "/metrics", { headers: bearer(KEY) });
    assert.match(body, /chimera_requests_total\{route="\/v1\/models",status="401"\} \d+/);
  });
});

describe("names", () => {
  test("localhost, addresses and allowed names are the server's own", async () => {
    for (const host of [
      "localhost",
      "localhost:1234",
      "x.localhost",
      "127.0.0.1",
      "192.168.1.5:80",
      "[::1]:8080",
      "models.lan",
      "MODELS.LAN:1",
    ])
      assert.equal((await ask(open, "/v1/models", { headers: { host } })).status, 200, host);
  });

  test("a name that points here but is another's is refused, so that no page rebinds it", async () => {
    for (const host of [
      "evil.example",
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "models.lan.evil.example",
      "xlocalhost",
    ]) {
      const told = await ask(open, "/v1/models", { headers: { host, origin: `http://${host}` } });
      assert.equal(told.status, 403, host);
      assert.equal(codeOf(told), "host_not_allowed");
    }
  });

  test("a host that is none gets no answer but an error in the protocol's shape", async () => {
    for (const host of ["a b", "[::1", "a@b", "evil.example/.localhost", "localhost:99999999"]) {
      const told = await ask(open, "/v1/models", { headers: { host } });
      assert.ok(told.status === 400 || told.status === 403, `${host}: ${told.status}`);
      assert.equal(typeof JSON.parse(told.body).error.message, "string", host);
    }
  });
});

describe("pages", () => {
  const chat = {
    method: "POST",
    body: JSON.stringify({ model: "mini-r1", messages: [{ role: "user", content: "Hi" }], max_tokens: 1 }),
  };
  const json = { "content-type": "application/json" };

  test("of another origin are refused, whatever they send", async () => {
    for (const origin of [
      "https://evil.example",
      "null",
      "http://localhost:3000",
      `${PAGE}.evil.example`,
      "http://page.example",
    ]) {
      const told = await ask(open, "/v1/chat/completions", { ...chat, headers: { ...json, origin } });
      assert.equal(told.status, 403, origin);
      assert.equal(codeOf(told), "origin_not_allowed");
      assert.equal(told.headers["access-control-allow-origin"], undefined);
      const preflight = { method: "OPTIONS", headers: { origin, "access-control-request-method": "POST" } };
      assert.equal((await ask(open, "/v1/chat/completions", preflight)).status, 403);
    }
  });

  test("of the server itself may ask", async () => {
    for (const scheme of ["http", "https"]) {
      const headers = { ...json, host: "localhost:8080", origin: `${scheme}://localhost:8080` };
      assert.equal((await ask(open, "/v1/chat/completions", { ...chat, headers })).status, 200);
    }
  });

  test("that hide their origin are known by Sec-Fetch-Site, but a link may be followed", async () => {
    const cross = { "sec-fetch-site": "cross-site" };
    const told = await ask(open, "/v1/models", { headers: { ...cross, "sec-fetch-mode": "no-cors" } });
    assert.equal(codeOf(told), "origin_not_allowed");
    assert.equal(
      (await ask(open, "/health", { headers: { ...cross, "sec-fetch-mode": "navigate" } })).status,
      200,
    );
    assert.equal(
      (await ask(open, "/v1/models", { headers: { "sec-fetch-site": "same-origin" } })).status,
      200,
    );
    assert.equal((await ask(open, "/v1/models", { headers: { "sec-fetch-site": "none" } })).status, 200);
  });

  test("cannot send what needs no asking: forms and plain text are not read", async () => {
    for (const type of [
      "text/plain",
      "application/x-www-form-urlencoded",
      "multipart/form-data",
      "text/plain;application/json",
      "",
    ]) {
      const headers: Record<string, string> = type === "" ? {} : { "content-type": type };
      assert.equal((await ask(open, "/v1/chat/completions", { ...chat, headers })).status, 415, type);
    }
  });

  test("that are allowed may ask after a preflight, and read every answer", async () => {
    const asks = "authorization,content-type,x-stainless-lang";
    const headers = {
      origin: PAGE,
      "access-control-request-method": "POST",
      "access-control-request-headers": asks,
    };
    const preflight = await ask(guarded, "/v1/chat/completions", { method: "OPTIONS", headers });
    assert.equal(preflight.status, 204, "a preflight has no key");
    assert.equal(preflight.headers["access-control-allow-origin"], PAGE);
    assert.match(String(preflight.headers["access-control-allow-methods"]), /POST/);
    assert.equal(preflight.headers["access-control-allow-headers"], asks);
    const stream = { ...chat, body: chat.body.replace("{", '{"stream":true,') };
    const page = { ...json, ...bearer(KEY), origin: PAGE };
    for (const sent of [chat, stream]) {
      const told = await ask(guarded, "/v1/chat/completions", { ...sent, headers: page });
      assert.equal(told.status, 200);
      assert.equal(told.headers["access-control-allow-origin"], PAGE);
      assert.match(String(told.headers.vary), /origin/i);
    }
    for (const [path, more] of [
      ["/v1/models", { origin: PAGE }],
      ["/v1/nothing", page],
      ["/v1/chat/completions", { ...page, "content-type": "text/plain" }],
    ] as const) {
      const told = await ask(guarded, path, { ...chat, headers: more });
      assert.ok(told.status >= 400);
      assert.equal(told.headers["access-control-allow-origin"], PAGE, path);
    }
  });
});

test("answers say what they are and are not to be guessed at", async () => {
  const { headers } = await ask(open, "/v1/models");
  assert.equal(headers["x-content-type-options"], "nosniff");
  assert.match(String(headers["x-request-id"]), /^req_\w+$/);
  assert.ok((await metric(open.url, 'chimera_requests_total{route="/v1/models",status="403"}')) > 0);
});

describe("/health", () => {
  test("tells what is served to those who have a key, and that the server is going down to all", async () => {
    const closing = new AbortController();
    const server = await startServed({
      places: ["models/mini-v3"],
      access: { apiKeys: [KEY] },
      closing: closing.signal,
    });
    try {
      const health = async (headers: Record<string, string>) => {
        const response = await fetch(`${server.url}/health`, { headers });
        return { status: response.status, body: (await response.json()) as { models?: object[] } };
      };
      assert.equal((await health({})).body.models, undefined);
      assert.equal((await health(bearer("wrong"))).body.models, undefined);
      assert.equal((await health(bearer(KEY))).body.models?.length, 1);
      closing.abort();
      assert.equal((await health({})).status, 503);
    } finally {
      await server.close();
    }
  });
});
