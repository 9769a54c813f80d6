/** Sweeps, searches and ablations that are killed go on with the same command and end as if they had not been. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { studyContents } from "../study/study-contents.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { MAIN_ARGS } from "./run-main.ts";

interface Ended {
  status: number | null;
  signal: NodeJS.Signals | null;
  stderr: string;
}

/** Runs a command; `signal` is sent when stderr has told of the answer with that number, over all runs. */
function run(
  args: readonly string[],
  {
    signal,
    afterAnswers = Number.POSITIVE_INFINITY,
  }: { signal?: NodeJS.Signals; afterAnswers?: number } = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...MAIN_ARGS, ...args], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, NO_COLOR: "1" },
    });
    let stderr = "";
    let isSent = false;
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      const answers = stderr.split('"kind":"answered"').length - 1;
      if (signal === undefined || isSent || answers < afterAnswers) return;
      isSent = true;
      child.kill(signal);
    });
    child.on("error", reject);
    child.on("close", (status, by) => resolve({ status, signal: by, stderr }));
  });
}

const QUESTIONS = ["--n", "3", "--seed", "5", "--max-tokens", "12", "--batch", "1", "--threads", "1"];
/** What ends them is the same for all: each is killed, or interrupted, and one is both. */
const STUDIES: Record<string, { command: string[]; ends: ("SIGKILL" | "SIGINT")[] }> = {
  sweep: {
    command: ["sweep", "recipes/mini/r1t.yaml", "--lambda", "r1=0,0.5"],
    ends: ["SIGKILL", "SIGINT"],
  },
  search: {
    command: ["search", "studies/mini/search.yaml", "--budget", "3", "--no-baseline"],
    ends: ["SIGKILL"],
  },
  ablate: { command: ["ablate", "recipes/mini/r1t.yaml", "--by", "layer"], ends: ["SIGINT"] },
};

for (const [kind, { command, ends }] of Object.entries(STUDIES))
  test(`chimera ${kind}: ended by ${ends.join(" and ")}, it ends with the files of one that was not`, async (t: TestContext) => {
    const folder = temporaryFolder(t);
    const whole = join(folder, "whole");
    const args = (out: string) => [...command, ...QUESTIONS, "--progress", "json", "-o", out];
    assert.equal((await run(args(whole))).status, 0);

    const broken = join(folder, "broken");
    for (const signal of ends) {
      const { status, signal: by, stderr } = await run(args(broken), { signal, afterAnswers: 2 });
      assert.deepEqual([status, by], signal === "SIGKILL" ? [null, signal] : [130, null], stderr);
      assert.ok(!readdirSync(broken).includes("report.html"));
    }
    const last = await run(args(broken));
    assert.equal(last.status, 0, last.stderr);

    const [wanted, found] = [studyContents(whole), studyContents(broken)];
    assert.deepEqual([...found.keys()], [...wanted.keys()]);
    assert.ok(wanted.size > 8);
    for (const [name, text] of wanted) assert.equal(found.get(name), text, name);
  });
