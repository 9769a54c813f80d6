import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { VERSION } from "../../src/base/version.ts";
import { runMain } from "./run-main.ts";

const COMMANDS = [
  ["inspect"],
  ["compare"],
  ["recipe"],
  ["recipe", "init"],
  ["recipe", "check"],
  ["recipe", "schema"],
  ["recipe", "explain"],
  ["plan"],
  ["build"],
  ["verify"],
  ["generate"],
  ["chat"],
  ["logits"],
  ["perplexity"],
  ["demo"],
];

test("chimera --help names every command and every exit status, on stdout", () => {
  const { status, stdout, stderr } = runMain("--help");
  assert.deepEqual([status, stderr], [0, ""]);
  for (const [command] of COMMANDS) assert.match(stdout, new RegExp(`^ {2}${command} `, "m"));
  for (const code of [0, 1, 2, 3, 4, 5, 75, 130, 143])
    assert.match(stdout, new RegExp(`[ :\\n]${code}[ ,]`), `${code}`);
});

for (const command of COMMANDS) {
  test(`chimera ${command.join(" ")} --help has examples and fits 80 columns beside them`, () => {
    const { status, stdout, stderr } = runMain(...command, "--help");
    assert.deepEqual([status, stderr], [0, ""]);
    assert.match(stdout, new RegExp(`^Usage: chimera ${command.join(" ")} `));
    const [text, examples] = stdout.split(/^Examples?:$/m);
    assert.match(examples ?? "", new RegExp(`^ {2}\\$ .*chimera ${command.join(" ")}`, "m"));
    assert.ok(!text!.includes("(default: {})"), "a default that says nothing");
    assert.deepEqual(
      text!.split("\n").filter((line) => line.length > 80),
      [],
    );
  });
}

test("chimera help COMMAND is its --help, two commands deep too", () => {
  assert.equal(runMain("help", "build").stdout, runMain("build", "--help").stdout);
  const { status, stdout } = runMain("help", "recipe", "init");
  assert.deepEqual([status, stdout], [0, runMain("recipe", "init", "--help").stdout]);
});

test("chimera without a command shows the help on stderr and ends with 2", () => {
  const { status, stdout, stderr } = runMain();
  assert.deepEqual([status, stdout], [2, ""]);
  assert.match(stderr, /^Usage: chimera /);
});

test("chimera ends with 2 for what it does not know, and offers the nearest word", () => {
  const cases: [RegExp, ...string[]][] = [
    [/unknown command 'bild'\n\(Did you mean build\?\)\n$/, "bild", "x"],
    [/unknown command 'chek'\n\(Did you mean check\?\)\n$/, "recipe", "chek"],
    [/unknown option '--outptu'\n\(Did you mean --output\?\)\n$/, "plan", "--outptu", "x"],
    [/unknown command 'frobnicate'\n$/, "frobnicate"],
    [/too many arguments for 'verify'. Expected 1 argument but got 2/, "verify", "a", "b"],
  ];
  for (const [message, ...args] of cases) {
    const { status, stdout, stderr } = runMain(...args);
    assert.deepEqual([status, stdout], [2, ""], args.join(" "));
    assert.match(stderr, message);
  }
});

test("chimera --version prints the version alone", () => {
  const { status, stdout, stderr } = runMain("--version");
  assert.deepEqual([status, stdout, stderr], [0, `${VERSION}\n`, ""]);
});

const piped = (script: string) =>
  spawnSync("bash", ["-o", "pipefail", "-c", script], { encoding: "utf8", timeout: 60_000 });
const hasBash = spawnSync("bash", ["-c", "true"]).status === 0;

test("chimera … | head ends quietly when its reader has enough", { skip: !hasBash }, () => {
  const command = `"${process.execPath}" bin/chimera.mjs compare models/mini-v3 models/mini-r1 --json --progress none`;
  const { status, stdout, stderr } = piped(`${command} | head -n 1`);
  assert.deepEqual([status, stdout, stderr], [0, "{\n", ""]);
});

test("chimera tells when stdout takes nothing", { skip: !existsSync("/dev/full") || !hasBash }, () => {
  const { status, stderr } = piped(
    `"${process.execPath}" bin/chimera.mjs inspect models/mini-v3 --json > /dev/full`,
  );
  assert.equal(status, 1);
  assert.match(stderr, /^error: Cannot write to stdout: .+\n$/);
});

test("chimera goes on when nobody reads its progress any more", { skip: !hasBash }, () => {
  const command = `"${process.execPath}" bin/chimera.mjs verify`;
  // The reader of stderr is gone before the first event.
  const { stdout } = piped(
    `{ "${process.execPath}" bin/chimera.mjs compare models/mini-v3 models/mini-r1 --progress json 2>&1 >&3 | true; } 3>&1; ${command} none 2>/dev/null; echo $?`,
  );
  assert.match(stdout, /^mini-v3 → mini-r1/);
  assert.match(stdout, /\n3\n$/);
});
