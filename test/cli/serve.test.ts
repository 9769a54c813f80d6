/** chimera serve as a process: where it listens, what it says, and how it ends. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import OpenAI from "openai";
import { gathered, until } from "../support/served.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { runMain, type StartedMain, startMain } from "./run-main.ts";

const KEY = "sk-not-to-be-seen-anywhere";
const SECRET = "the heron sleeps at noon";
/** Never ends by itself. */
const ENDLESS = { model: "mini-r1", prompt: "a", max_tokens: 1000, temperature: 0, logit_bias: { 1: -100 } };

interface RunningCommand extends StartedMain {
  url: string;
  client: OpenAI;
}

async function serve(
  t: TestContext,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<RunningCommand> {
  const place = args.some((arg) => arg.startsWith("models")) ? [] : ["models/mini-r1"];
  const started = startMain(["serve", ...place, "--port", "0", "--json", "--threads", "1", ...args], env);
  t.after(() => started.child.kill("SIGKILL"));
  let out = "";
  started.child.stdout!.on("data", (chunk) => {
    out += chunk;
  });
  await until("it listens", () => {
    if (started.child.exitCode !== null) throw new Error(started.stderr());
    return out.includes("\n");
  });
  const { url } = JSON.parse(out.split("\n")[0]!);
  return { ...started, url, client: new OpenAI({ baseURL: `${url}/v1`, apiKey: KEY, maxRetries: 0 }) };
}

describe("where it listens", () => {
  test("--host beyond this machine is refused without a key, with the status 2", () => {
    for (const host of ["0.0.0.0", "::", "192.168.7.7", "myself.example", ""]) {
      const { status, stdout, stderr } = runMain("serve", "models/mini-r1", "--port", "0", "--host", host);
      assert.equal(status, 2, stderr);
      assert.match(stderr, /without an API key/);
      assert.equal(stdout, "");
    }
  });

  test("--host beyond this machine is taken with a key, and with --insecure", async (t) => {
    const guarded = await serve(t, ["--host", "0.0.0.0", "--log", "none"], { CHIMERA_API_KEY: KEY });
    const port = new URL(guarded.url).port;
    assert.equal((await fetch(`http://127.0.0.1:${port}/v1/models`)).status, 401);
    const headers = { authorization: `Bearer ${KEY}` };
    assert.equal((await fetch(`http://127.0.0.1:${port}/v1/models`, { headers })).status, 200);
    const open = await serve(t, ["--host", "0.0.0.0", "--insecure", "--log", "none"]);
    await until("it warns", () => /whoever reaches this machine/.test(open.stderr()));
  });

  test("without --host nobody else reaches it", async (t) => {
    const { url } = await serve(t, ["--log", "none"]);
    assert.equal(new URL(url).hostname, "127.0.0.1");
    const addresses = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
    const outer = addresses.find(({ family, internal }) => family === "IPv4" && !internal);
    if (!outer) return t.skip("this machine has no other address");
    await assert.rejects(fetch(`http://${outer.address}:${new URL(url).port}/health`));
  });

  test("a port that is taken, keys that are none, and places where nothing is are told", async (t) => {
    const other = createServer().listen(0, "127.0.0.1");
    t.after(() => other.close());
    await new Promise((resolve) => other.once("listening", resolve));
    const { port } = other.address() as AddressInfo;
    const folder = temporaryFolder(t);
    const empty = join(folder, "keys");
    writeFileSync(empty, "# none\n\n");
    const cases: [args: string[], status: number, said: RegExp][] = [
      [["models/mini-r1", "--port", String(port)], 2, /in use/],
      [["models/mini-r1", "--port", "70000"], 2, /0 to 65535/],
      [["models/mini-r1", "--api-key-file", empty], 2, /holds none/],
      [["models/mini-r1", "--api-key", "a b"], 2, /spaces/],
      [["models/nothing"], 3, /there is nothing/],
      [[folder], 3, /no checkpoint and no recipe/],
      [["models/mini-r1", "models"], 3, /two models as "mini-r1"/],
    ];
    for (const [args, status, said] of cases) {
      const result = runMain("serve", ...args);
      assert.equal(result.status, status, result.stderr);
      assert.match(result.stderr, said);
    }
  });

  test("--preload of what does not fit ends the command with the status 5", () => {
    const args = ["serve", "models/mini-r1", "--port", "0", "--preload", "--memory", "1MB", "--log", "none"];
    const { status, stderr } = runMain(...args);
    assert.equal(status, 5, stderr);
    assert.match(stderr, /of 1/);
  });
});

describe("what it says", () => {
  for (const form of ["json", "text"])
    test(`--log ${form}: neither keys nor prompts nor answers`, async (t) => {
      const file = join(temporaryFolder(t), "keys");
      writeFileSync(file, `# for the tests\n${KEY}\nsk-another\n`);
      const { client, url, stderr } = await serve(t, ["--log", form, "--api-key-file", file]);
      const chat = {
        model: "mini-r1",
        messages: [{ role: "user" as const, content: SECRET }],
        max_tokens: 8,
      };
      await client.chat.completions.create(chat);
      await gathered(await client.chat.completions.create({ ...chat, stream: true }));
      await client.completions.create({ model: "mini-r1", prompt: SECRET, max_tokens: 2, echo: true });
      await client.completions.create({ model: SECRET, prompt: SECRET }).catch(() => {});
      await client.completions
        .create({ model: "mini-r1", prompt: SECRET, top_p: SECRET } as never)
        .catch(() => {});
      await fetch(`${url}/v1/models?key=${KEY}`, { headers: { authorization: "Bearer sk-a-wrong-one" } });
      const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
      await fetch(`${url}/v1/completions`, { method: "POST", headers, body: `{"prompt": "${SECRET}` });
      await until("all is logged", () => stderr().split("/v1/completions").length > 4);
      assert.doesNotMatch(stderr(), new RegExp(`${KEY}|sk-|${SECRET}|heron`));
      if (form === "text") return;
      const lines = stderr()
        .split("\n")
        .filter((line) => line.startsWith("{"));
      const requests = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "request");
      assert.deepEqual(
        requests.map(({ status }) => status),
        [200, 200, 200, 404, 400, 401, 400],
      );
      for (const { id, method, ms } of requests) assert.ok(id && method && ms >= 0);
    });

  test("--log-prompts: prompts too, keys never; --log none: nothing", async (t) => {
    const talkative = await serve(t, ["--log", "json", "--log-prompts", "--api-key", KEY]);
    const chat = { model: "mini-r1", messages: [{ role: "user" as const, content: SECRET }], max_tokens: 1 };
    await talkative.client.chat.completions.create(chat);
    await until("it is logged", () => talkative.stderr().includes(SECRET));
    assert.doesNotMatch(talkative.stderr(), new RegExp(KEY));
    const silent = await serve(t, ["--log", "none"]);
    await silent.client.chat.completions.create(chat);
    assert.doesNotMatch(silent.stderr(), /request/);
  });
});

describe("how it ends", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    test(`${signal} while an answer comes: it arrives whole, nothing new is begun, the status is 0`, async (t) => {
      const { client, child, result, url } = await serve(t, ["--log", "none"]);
      const whole = (await client.completions.create(ENDLESS)).choices[0]!.text;
      const stream = await client.completions.create({ ...ENDLESS, stream: true });
      let text = "";
      let refused: unknown;
      for await (const { choices } of stream) {
        if (text === "") {
          child.kill(signal);
          await until("new requests are refused", async () => {
            refused = await fetch(`${url}/v1/models`).then(
              ({ status }) => status,
              () => "closed",
            );
            return refused !== 200;
          });
        }
        text += choices[0]?.text ?? "";
      }
      assert.equal(text, whole);
      assert.ok(refused === 503 || refused === "closed", String(refused));
      const endedAt = performance.now();
      const { status, stdout } = await result;
      assert.equal(status, 0);
      assert.deepEqual(JSON.parse(stdout.trim().split("\n").at(-1)!), { kind: "closed" });
      assert.ok(performance.now() - endedAt < 5000, "connections that are kept alive do not hold it up");
    });

  test("an answer that takes longer than --grace is cut off, a second signal ends at once", async (t) => {
    const { client, child, result, stderr } = await serve(t, ["--grace", "1", "--log", "none"]);
    const long = { ...ENDLESS, n: 16, prompt: ["a", "b", "c", "d"], stream: true as const };
    const stream = await client.completions.create(long);
    const read = gathered(stream).then(
      () => "whole",
      () => "cut",
    );
    await until("it comes", async () => {
      const { models } = (await (await fetch(client.baseURL.replace("/v1", "/health"))).json()) as {
        models: { requests: number }[];
      };
      return models[0]!.requests > 0;
    });
    const startedAt = performance.now();
    child.kill("SIGTERM");
    const { status } = await result;
    const ms = performance.now() - startedAt;
    assert.equal(status, 0, stderr());
    assert.ok(ms < 8000, `${ms} ms`);
    assert.equal(await read, ms < 900 ? "whole" : "cut");
    const other = await serve(t, ["--log", "none"]);
    void other.client.completions
      .create(long)
      .then(gathered)
      .catch(() => {});
    await new Promise((resume) => setTimeout(resume, 300));
    other.child.kill("SIGTERM");
    await new Promise((resume) => setTimeout(resume, 200));
    other.child.kill("SIGTERM");
    assert.equal((await other.result).status, 143);
  });
});
