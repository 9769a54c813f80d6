/** The batch script, run by bash with a scontrol that only notes what it is asked: each way that a part can end. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { LaunchJob } from "../../src/launch/job.ts";
import { slurmScripts, timeSeconds } from "../../src/launch/slurm-script.ts";
import { until } from "../build/processes.ts";
import { type Ends, temporaryFolder } from "../support/temporary-folder.ts";

const NASTY = `it's "a" $HOME \`x\``;

interface Played {
  status: number | null;
  /** What scontrol was asked. */
  asked: string[];
  folder: string;
}

/** Runs the array's script for a part whose program is `code` of a shell. */
async function play(
  ends: Ends,
  code: string,
  { state = "RUNNING", restarts = "", signal }: { state?: string; restarts?: string; signal?: boolean } = {},
): Promise<Played> {
  const folder = join(temporaryFolder(ends), NASTY);
  const tools = join(folder, "tools");
  mkdirSync(tools, { recursive: true });
  const asked = join(folder, "asked");
  const tool = (name: string, text: string) =>
    writeFileSync(join(tools, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  tool(
    "scontrol",
    `echo "$@" >> '${asked.replaceAll("'", "'\\''")}'\n[ "$1" = show ] && echo "JobId=1 JobState=${state} Reason=None"\nexit 0`,
  );
  tool("sleep", "exit 0");
  tool("part", code);
  const job: LaunchJob = {
    ...{ kind: "build", program: [join(tools, "part")], task: ["build", NASTY], tasks: 8 },
    ...{
      finish: [{ name: "finish", command: ["build", "--finish"] }],
      cwd: folder,
      output: join(folder, "R1T"),
    },
  };
  const [script] = slurmScripts(job);
  const child = spawn("bash", ["-c", script!.text], {
    stdio: "ignore",
    env: {
      ...process.env,
      ...{ PATH: `${tools}:${process.env.PATH}`, SLURM_ARRAY_JOB_ID: "12", SLURM_ARRAY_TASK_ID: "3" },
      ...{ SLURM_JOB_ID: "12", SLURM_CLUSTER_NAME: "moe" },
      ...(restarts === "" ? {} : { SLURM_RESTART_COUNT: restarts }),
    },
  });
  if (signal) {
    await until(() => existsSync(join(folder, "ready")), "the part");
    child.kill("SIGTERM");
  }
  const status = await new Promise<number | null>((resolve) => child.on("close", resolve));
  const lines = existsSync(asked) ? readFileSync(asked, "utf8").trim().split("\n") : [];
  return { status, asked: lines, folder };
}

const SHOW = "show job -o 12_3";
const REQUEUE = "requeue 12_3";

test("a part gets its words, its folder and its task's name", async (t) => {
  const { status, asked, folder } = await play(t, `printf '%s|' "$@" "$PWD" "$CHIMERA_TASK" > seen`);
  assert.deepEqual([status, asked], [0, []]);
  const seen = readFileSync(join(folder, "seen"), "utf8");
  assert.equal(seen, ["build", NASTY, "--part", "3/8", folder, "slurm/moe/12_3", ""].join("|"));
});

test("what is final stays so; 75 and signals go back into the queue, five times", async (t) => {
  for (const status of [1, 2, 3, 4, 5]) {
    const played = await play(t, `exit ${status}`);
    assert.deepEqual([played.status, played.asked], [status, []]);
  }
  for (const [code, status] of [
    ["exit 75", 75],
    ["exit 143", 143],
    ["kill -KILL $$", 137],
  ] as const) {
    const played = await play(t, code, { restarts: "4" });
    assert.deepEqual([played.status, played.asked], [status, [SHOW, REQUEUE]]);
    assert.deepEqual((await play(t, code, { restarts: "5" })).asked, [SHOW]);
  }
});

test("a job that was cancelled or is requeued by somebody else is left alone", async (t) => {
  for (const state of ["COMPLETING", "CANCELLED", "PENDING"])
    assert.deepEqual((await play(t, "exit 143", { state })).asked, [SHOW]);
});

test("SIGTERM reaches the part once, its own status counts", async (t) => {
  const waiting = `trap 'echo x >> stopped; exit 143' TERM\n: > ready\nwhile :; do /bin/sleep 0.05; done`;
  const { status, asked, folder } = await play(t, waiting, { signal: true });
  assert.deepEqual([status, asked], [143, [SHOW, REQUEUE]]);
  assert.equal(readFileSync(join(folder, "stopped"), "utf8"), "x\n");
  // One that ends well all the same is done.
  const finishing = `trap 'exit 0' TERM\n: > ready\nwhile :; do /bin/sleep 0.05; done`;
  const done = await play(t, finishing, { signal: true });
  assert.deepEqual([done.status, done.asked], [0, []]);
});

test("SIGTERM that comes while the part is started is not lost", async (t) => {
  const early = `trap 'exit 143' TERM\nkill -TERM $PPID\nwhile :; do /bin/sleep 0.02; done`;
  for (let round = 0; round < 15; round++) assert.equal((await play(t, early)).status, 143);
});

test("the scripts are these", () => {
  const job: LaunchJob = {
    ...{
      kind: "build",
      program: ["node", "/opt/chimera.mjs"],
      task: ["build", "/s/R1T.launch/plan.json", "-o", "/s/R1T"],
    },
    ...{ tasks: 41, cwd: "/s/R1T.launch", output: "/s/R1T" },
    finish: [{ name: "finish", command: ["build", "/s/R1T.launch/plan.json", "-o", "/s/R1T", "--finish"] }],
  };
  const [array, finish, ...more] = slurmScripts(job, {
    ...{ parallel: 16, partition: "cpu", time: "1:00:00", stepTime: "2:00:00", memory: "4G", cpus: 2 },
    sbatchArgs: ["--account=moe", '--comment=for the "child"'],
  });
  assert.equal(more.length, 0);
  assert.deepEqual([array!.fileName, finish!.fileName], ["array.sbatch", "finish.sbatch"]);
  const directives = (text: string) => text.split("\n").filter((line) => line.startsWith("#SBATCH"));
  assert.deepEqual(directives(array!.text), [
    "#SBATCH --job-name=chimera-R1T",
    "#SBATCH --array=0-40%16",
    "#SBATCH --output=logs/%A_%a.out",
    "#SBATCH --requeue",
    "#SBATCH --open-mode=append",
    "#SBATCH --signal=B:TERM@120",
    "#SBATCH --ntasks=1",
    "#SBATCH --cpus-per-task=2",
    "#SBATCH --partition=cpu",
    "#SBATCH --time=1:00:00",
    "#SBATCH --mem=4G",
    "#SBATCH --account=moe",
    '#SBATCH "--comment=for the \\"child\\""',
  ]);
  assert.ok(directives(finish!.text).includes("#SBATCH --time=2:00:00"));
  assert.ok(array!.text.includes('-o /s/R1T --part "$SLURM_ARRAY_TASK_ID/41" &\n'));
  for (const { text } of [array!, finish!])
    assert.equal(spawnSync("bash", ["-n"], { input: text }).status, 0);
  assert.throws(
    () => slurmScripts(job, { sbatchArgs: ["--comment=a\nrm"] }),
    /it holds a line's end, wanted one line/,
  );
});

test("timeSeconds() reads limits as sbatch does", () => {
  const times = {
    "90": 5400,
    "90:30": 5430,
    "1:30:00": 5400,
    "1-12": 129_600,
    "1-12:30": 131_400,
    "2-0:0:5": 172_805,
  };
  for (const [text, seconds] of Object.entries(times)) assert.equal(timeSeconds(text), seconds, text);
  for (const text of ["", "x", "1:2:3:4", "-1", "UNLIMITED"])
    assert.equal(timeSeconds(text), undefined, text);
});

test("a short limit gives shorter notice: a signal at the start would come again and again", () => {
  const job: LaunchJob = {
    kind: "build",
    program: ["c"],
    task: [],
    tasks: 1,
    finish: [],
    cwd: "/",
    output: "/o",
  };
  assert.match(slurmScripts(job, { time: "4" })[0]!.text, /--signal=B:TERM@60\n/);
});
