import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { runMain } from "./run-main.ts";

const folder = temporaryFolder({ after });
const child = join(folder, "r1t");

test("chimera demo builds, verifies, and suggests commands that work", async () => {
  const { status, stdout, stderr } = runMain("demo", "-o", child);
  assert.equal(status, 0);
  assert.equal(
    stderr.match(/^ {2}model-0000[12]-of-000002.safetensors .* sha256 [0-9a-f]{16}…$/gm)!.length,
    2,
  );
  assert.match(
    stdout,
    /^ {2}from v3 +213 tensors +1.70 MB +59 % +█+\n {2}from r1 +288 tensors +1.18 MB +41 % +█+$/m,
  );
  assert.match(
    stdout,
    /^built {5}.*: 2.94 MB in .* s\nverified {2}501 tensors equal their parent's, 6 other files/m,
  );
  assert.deepEqual(
    stdout.split("\n").filter((line) => line.length > 80 && !line.includes(child)),
    [],
  );
  // The questions, side by side, and what they come to.
  assert.equal(stdout.match(/^ {4}[✓✗–] (mini-v3|mini-r1|child) .* \d+ tokens/gm)!.length, 36);
  assert.match(stdout, /^ {4}– mini-r1 +Sorry, I can't talk about that/m);
  assert.match(stdout, /^ +accuracy +tokens +thinking +refused$/m);
  const rows = [...stdout.matchAll(/^ {2}(mini-v3|mini-r1|child) +(\d+ of 12) +[\d.]+ +(\d+ %) +(\d+ %)$/gm)];
  assert.deepEqual(
    rows.map(([, name, right]) => [name, right]),
    [
      ["mini-v3", "7 of 12"],
      ["mini-r1", "10 of 12"],
      ["child", "10 of 12"],
    ],
  );
  const commands = [...stdout.matchAll(/^ {2}npx chimera (.+)$/gm)].map(([, command]) =>
    Array.from(command!.matchAll(/"([^"]*)"|\S+/g), ([word, quoted]) => quoted ?? word),
  );
  assert.equal(commands.length, 10);
  const served = commands.find(([command]) => command === "serve")!;
  const server = spawn(
    process.execPath,
    ["bin/chimera.mjs", ...served, "--port", "0", "--json", "--log", "none"],
    {
      stdio: ["ignore", "pipe", "ignore"],
    },
  );
  const [line] = (await once(createInterface({ input: server.stdout }), "line")) as [string];
  server.kill("SIGINT");
  assert.deepEqual(await once(server, "exit"), [0, null]);
  assert.ok((JSON.parse(line) as { models: string[] }).models.includes("r1t"), line);
  for (const command of commands.slice(0, 9)) {
    if (command === served) continue; // it would go on
    // Where it asks questions, a few are enough here; and its runs go where the test cleans up.
    const asks = command.includes("--n");
    const args = asks
      ? [...command.map((word) => (word === "200" ? "3" : word)), "-o", `${child}-${command[0]}`]
      : command;
    const { status, stderr } = runMain(...args.map((word) => (word === "r1=0:1:0.1" ? "r1=0,1" : word)));
    assert.equal(status, 0, `${command.join(" ")}: ${stderr}`);
  }
  // The last one has folders to fill in: whatever is wrong with it then is the folders.
  const filled = commands[9]!.map((word) => word.replace("…", "/nowhere"));
  const last = runMain(...filled);
  assert.equal(last.status, 3);
  assert.equal(last.stderr.match(/Cannot open "\/nowhere"/g)!.length, 2);
});

test("chimera demo --json has both reports; it replaces the first child, files of others stay", () => {
  assert.ok(existsSync(child));
  const { status: again, stdout } = runMain("demo", "-o", child, "--json");
  const { schemaVersion, build, verify, answers } = JSON.parse(stdout);
  assert.deepEqual([again, schemaVersion, build.shards.written, verify.ok], [0, 1, 2, true]);
  assert.deepEqual(
    answers.map(({ name, records }: { name: string; records: unknown[] }) => [name, records.length]),
    [
      ["mini-v3", 12],
      ["mini-r1", 12],
      ["child", 12],
    ],
  );
  mkdirSync(join(folder, "mine"));
  writeFileSync(join(folder, "mine", "notes.txt"), "x");
  const { status, stderr } = runMain("demo", "-o", join(folder, "mine"));
  assert.equal(status, 2);
  assert.match(stderr, /^error: Cannot build in ".*mine": it holds "notes.txt", wanted an empty folder$/m);
  assert.deepEqual(readdirSync(join(folder, "mine")), ["notes.txt"]);
});
