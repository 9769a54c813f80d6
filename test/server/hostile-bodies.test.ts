/** Bodies and connections that mean no good, over raw sockets. */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { type RunningServer, startServed, until } from "../support/served.ts";

let run: RunningServer;
before(async () => {
  run = await startServed({
    places: ["models/mini-r1"],
    timeouts: { headersMs: 400, requestMs: 4000, keepAliveMs: 300 },
  });
});
after(() => run.close());

const HEAD = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
const CHAT = JSON.stringify({ model: "mini-r1", messages: [{ role: "user", content: "Hi" }], max_tokens: 1 });

/** A connection, what came on it, and when it was over. */
function open(): { socket: Socket; told: () => string; over: Promise<string> } {
  const socket = connect(run.port, "127.0.0.1");
  let text = "";
  socket.setEncoding("latin1").on("data", (data) => {
    text += data;
  });
  socket.on("error", () => {}); // a reset is an end too
  const over = new Promise<string>((resolve) => socket.on("close", () => resolve(text)));
  return { socket, told: () => text, over };
}

async function send(...parts: (string | Buffer)[]): Promise<string> {
  const { socket, over } = open();
  for (const part of parts) socket.write(part);
  return await over;
}

const whole = (body: string | Buffer, more = "Connection: close\r\n") =>
  send(`${HEAD}${more}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`, body);

const errorOf = (answer: string) => JSON.parse(answer.slice(answer.indexOf("\r\n\r\n{") + 4)).error;

describe("bodies", () => {
  test("a right one is answered", async () => {
    assert.match(await whole(CHAT), /^HTTP\/1.1 200 /);
    assert.match(await whole(` \n${CHAT}\t `), /^HTTP\/1.1 200 /);
  });

  test("what is no JSON, or no object, is told so", async () => {
    for (const body of ["", "{", "[", "{'a': 1}", `${CHAT}x`, "\u{feff}{}", "[1,2]", "null", "7", '"a"']) {
      const answer = await whole(body);
      assert.match(answer, /^HTTP\/1.1 400 /, body);
      assert.equal(errorOf(answer).type, "invalid_request_error", body);
    }
  });

  test("what is not UTF-8 is refused, cut characters at the end too", async () => {
    for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0xaf], [0xf0, 0x9f, 0x98]]) {
      const body = Buffer.concat([Buffer.from('{"model": "'), Buffer.from(bytes), Buffer.from('"}')]);
      assert.match(errorOf(await whole(body)).message, /not UTF-8/);
      assert.match(
        errorOf(await whole(Buffer.concat([Buffer.from('"'), Buffer.from(bytes)]))).message,
        /not UTF-8/,
      );
    }
  });

  test("characters that are cut between two pieces are whole", async () => {
    const body = Buffer.from(CHAT.replace("Hi", "😀é"));
    const at = body.indexOf(0xf0) + 2;
    const { socket, over } = open();
    socket.write(`${HEAD}Connection: close\r\nContent-Length: ${body.length}\r\n\r\n`);
    socket.write(body.subarray(0, at));
    setTimeout(() => socket.write(body.subarray(at)), 50);
    assert.match(await over, /^HTTP\/1.1 200 /);
  });

  test("a body nested too deep is refused before it is parsed", async () => {
    const deep = (levels: number) => `{"model": ${"[".repeat(levels)}${"]".repeat(levels)}}`;
    assert.match(errorOf(await whole(deep(64))).message, /65 levels deep/);
    assert.match(errorOf(await whole("[".repeat(1_000_000))).message, /levels deep/);
    assert.doesNotMatch(errorOf(await whole(deep(63))).message, /levels deep/);
    assert.match(await whole(CHAT.replace("Hi", "[".repeat(100))), /^HTTP\/1.1 200 /); // in a text they are text
  });

  test("a body longer than 8 MiB is refused, by its head or as it comes", async () => {
    const long = await send(`${HEAD}Content-Length: 9000000\r\n\r\n`);
    assert.match(long, /^HTTP\/1.1 413 /);
    const { socket, told, over } = open();
    socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
    const chunk = `100000\r\n${" ".repeat(0x100000)}\r\n`;
    for (let count = 0; count < 12 && !socket.destroyed; count++) {
      socket.write(chunk);
      await new Promise((resume) => setTimeout(resume, 10));
    }
    await until("it is refused", () => told().startsWith("HTTP/1.1 413 "));
    assert.equal(errorOf(told()).code, "body_too_large");
    socket.end();
    await over;
  });

  test("keys of an object's own making change nothing", async () => {
    for (const key of ["__proto__", "constructor", "toString"]) {
      const body = CHAT.replace("{", `{"${key}": {"stream": true},`);
      assert.equal(errorOf(await whole(body)).param, key);
    }
  });
});

describe("connections", () => {
  test("headers that do not come to an end are given up", async () => {
    const startedAt = performance.now();
    const { socket, over } = open();
    const drip = setInterval(() => socket.write("X-A: b\r\n"), 50);
    socket.write("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n");
    assert.match(await over, /^(HTTP\/1.1 408 |$)/);
    clearInterval(drip);
    const ms = performance.now() - startedAt;
    assert.ok(ms > 300 && ms < 3900, `${ms} ms`);
  });

  test("a body that comes byte by byte is given up", async () => {
    const startedAt = performance.now();
    const { socket, over } = open();
    socket.write(`${HEAD}Content-Length: 1000\r\n\r\n`);
    const drip = setInterval(() => socket.write(" "), 50);
    await over;
    clearInterval(drip);
    const ms = performance.now() - startedAt;
    assert.ok(ms > 3500 && ms < 15_000, `${ms} ms`);
  });

  test("a connection on which nothing is asked, or nothing further, is closed", async () => {
    assert.match(await open().over, /^(HTTP\/1.1 408 |$)/);
    const startedAt = performance.now();
    const answer = await whole(CHAT, "");
    assert.match(answer, /^HTTP\/1.1 200 /);
    assert.ok(performance.now() - startedAt < 10_000);
  });

  test("a client that goes away in the middle of its body is no failure of the server", async () => {
    const { socket, over } = open();
    socket.write(`${HEAD}Content-Length: 1000\r\n\r\n{"model":`);
    await new Promise((resume) => setTimeout(resume, 100));
    socket.destroy();
    await over;
    await new Promise((resume) => setTimeout(resume, 100));
    assert.deepEqual(
      run.log.filter((line) => line.includes('"level":"error"')),
      [],
    );
  });

  test("headers that are too long, and no HTTP at all, end the connection", async () => {
    const answer = await send(`${HEAD}X-A: ${"a".repeat(20_000)}\r\n\r\n`);
    assert.match(answer, /^HTTP\/1.1 431 /);
    assert.match(answer, /\{"error":\{"message":"Cannot read the request: its headers are too long"/);
    assert.match(await send("\u0016\u0003\u0001 hello\r\n\r\n"), /^HTTP\/1.1 400 /);
  });

  test("two lengths, or a length beside chunks, are not taken", async () => {
    const both = `${HEAD}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`;
    assert.match(await send(both), /^HTTP\/1.1 400 /);
    assert.match(await send(`${HEAD}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc`), /^HTTP\/1.1 400 /);
  });

  test("and the server goes on answering", async () => {
    assert.match(await whole(CHAT), /^HTTP\/1.1 200 /);
  });
});
