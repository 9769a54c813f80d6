/**
 * The server under load: many clients that stream against one, on the small model, over real sockets of loopback.
 *
 * Checked first and all the while: every answer is the one that its question has alone, none is lost, memory stays flat,
 * whoever comes when the queue is full is told so, and clients that go away free their places. CHIMERA_BENCH_SECONDS:
 * how long the many ask (default 60).
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { LoadClient, QUESTIONS } from "./serve-client.ts";
import { printTable } from "./table.ts";

const CLIENTS = 64;
const QUEUE = 64;
const BEYOND = 500;
const SOLO_SECONDS = 8;
/** Tokens of an answer that is still under way when all others have asked. */
const LONG = 250;
const { CHIMERA_BENCH_SECONDS: seconds = "60" } = process.env;

export async function benchServe(): Promise<string> {
  const { process: server, port } = await startServer();
  try {
    const client = new LoadClient(port);
    const alone = await answersAlone(client);
    const solo = await ask(client, { clients: 1, seconds: SOLO_SECONDS, alone });
    const memory: number[] = [];
    const watch = setInterval(() => memory.push(residentBytes(server)), 1000);
    const many = await ask(client, { clients: CLIENTS, seconds: Number(seconds), alone });
    clearInterval(watch);
    const soloAfter = await ask(client, { clients: 1, seconds: SOLO_SECONDS, alone });
    const growth = growthOf(memory);
    const single = Math.max(solo.perSecond, soloAfter.perSecond);
    const row = ({ clients, perSecond, answers, firstToken }: Asked) => [
      `${clients}`,
      `${answers}`,
      perSecond.toFixed(0),
      `${(perSecond / single).toFixed(2)}×`,
      `${(1000 * firstToken).toFixed(0)} ms`,
    ];
    printTable(
      "serve: clients that stream, mini-r1",
      ["clients", "answers", "tokens/s of all", "of one", "first token, median"],
      [row(solo), row(many), row(soloAfter)],
    );
    const { refused, served } = await flood(client);
    await goAway(client);
    printTable(
      "serve: what else was seen",
      ["what", "seen"],
      [
        [
          `resident memory over ${seconds} s`,
          `${(memory[0]! / 1e6).toFixed(0)} MB, then ${growth >= 0 ? "+" : ""}${(growth / 1e6).toFixed(1)} MB`,
        ],
        [
          `${BEYOND} requests beyond ${CLIENTS} + ${QUEUE}`,
          `${refused} × 429 with Retry-After; the ${served} before them answered`,
        ],
        [`${CLIENTS} clients that go away`, "all places free within 2 s"],
      ],
    );
    assert.equal(refused, BEYOND);
    assert.ok(growth < 64e6, `resident memory has grown by ${(growth / 1e6).toFixed(0)} MB`);
    return `${many.answers} answers of ${CLIENTS} clients are those that their questions have alone`;
  } finally {
    server.kill("SIGINT");
    if (server.exitCode === null) await once(server, "exit");
  }
}

async function startServer(): Promise<{ process: ChildProcess; port: number }> {
  const args = [
    "serve",
    "models/mini-r1",
    "--port",
    "0",
    "--parallel",
    `${CLIENTS}`,
    "--queue",
    `${QUEUE}`,
    "--log",
    "none",
    "--json",
  ];
  const server = spawn(process.execPath, ["bin/chimera.mjs", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: server.stdout })) {
    const { kind, port } = JSON.parse(line) as { kind: string; port: number };
    if (kind === "listening") return { process: server, port };
  }
  throw new Error("The server has ended before it listened");
}

/** By question. Asked twice: the first time the model is loaded and code is compiled. */
async function answersAlone(client: LoadClient): Promise<Map<string, string>> {
  const alone = new Map<string, string>();
  for (let round = 0; round < 2; round++) {
    for (const question of QUESTIONS) {
      const { text } = await client.ask(question);
      assert.equal(text, alone.get(question) ?? text, `"${question}" has two answers`);
      alone.set(question, text);
    }
  }
  return alone;
}

interface Asked {
  clients: number;
  answers: number;
  perSecond: number;
  firstToken: number;
}

async function ask(
  client: LoadClient,
  { clients, seconds: most, alone }: { clients: number; seconds: number; alone: ReadonlyMap<string, string> },
): Promise<Asked> {
  const startedAt = performance.now();
  const elapsed = () => (performance.now() - startedAt) / 1000;
  const firstTokens: number[] = [];
  let tokens = 0;
  const one = async (number: number) => {
    for (let i = number; elapsed() < most; i++) {
      const question = QUESTIONS[i % QUESTIONS.length]!;
      const answer = await client.ask(question);
      assert.equal(answer.text, alone.get(question), `"${question}" was answered otherwise among others`);
      tokens += answer.tokens;
      firstTokens.push(answer.firstTokenSeconds);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => one(number)));
  const perSecond = tokens / elapsed();
  firstTokens.sort((a, b) => a - b);
  return {
    clients,
    answers: firstTokens.length,
    perSecond,
    firstToken: firstTokens[Math.floor(firstTokens.length / 2)]!,
  };
}

/** Fills all places and the queue with answers that take long, and comes with more. */
async function flood(client: LoadClient): Promise<{ refused: number; served: number }> {
  const long = Array.from({ length: CLIENTS + QUEUE }, () =>
    client.ask("What is 17 + 25?", { maxTokens: LONG, ignoresEnd: true }),
  );
  await client.untilBusy(CLIENTS + QUEUE);
  const refusals = await Promise.all(
    Array.from({ length: BEYOND }, () => client.refusal("What is 17 + 25?")),
  );
  const refused = refusals.filter(({ status, retryAfter }) => status === 429 && retryAfter >= 1).length;
  return { refused, served: (await Promise.all(long)).length };
}

async function goAway(client: LoadClient): Promise<void> {
  const leave = Array.from({ length: CLIENTS }, () =>
    client.begin("What is 17 + 25?", { maxTokens: LONG, ignoresEnd: true }),
  );
  await Promise.all(leave.map(({ begun }) => begun));
  for (const { destroy } of leave) destroy();
  await client.untilBusy(0);
}

/** From the first third to the last: means, for a heap breathes. */
function growthOf(memory: readonly number[]): number {
  const third = Math.max(1, Math.floor(memory.length / 3));
  const mean = (some: readonly number[]) => some.reduce((sum, bytes) => sum + bytes, 0) / some.length;
  return mean(memory.slice(-third)) - mean(memory.slice(0, third));
}

function residentBytes({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return 1024 * Number(/VmRSS:\s+(\d+)/.exec(status)![1]);
}
