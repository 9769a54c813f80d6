/**
 * A build on a real Slurm: an array whose tasks are killed, requeued and cancelled ends with the bytes of a build here.
 * Skipped where Slurm is not installed.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { run } from "../build/processes.ts";
import { hashesOf } from "../build/support.ts";
import { TestHub } from "../support/hub/hub-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type Cluster, noSlurm, startCluster } from "./slurm-cluster.ts";
import { buildWhole, GATED, hashesOfRepo, lockOwners } from "./small-family.ts";

describe("chimera launch slurm", { skip: noSlurm() }, () => {
  const ends: (() => void)[] = [];
  let folder: string;
  let cluster: Cluster;
  let recipe: string;
  let whole: Record<string, string>;
  let gate: string;
  after(() => {
    for (const end of ends.reverse()) end();
  });
  before(async () => {
    folder = join(temporaryFolder({ after: (end) => ends.push(end) }), 'it\'s a "shared" disk $HOME');
    mkdirSync(folder, { recursive: true });
    gate = join(folder, "gate");
    ({ recipe, hashes: whole } = await buildWhole(folder));
    cluster = await startCluster({ after: (end) => ends.push(end) });
  });

  const launch = (child: string, ...more: string[]) =>
    run(["launch", "slurm", recipe, "-o", child, "--workers", "1", "--json", "--chimera", GATED, ...more], {
      env: { ...cluster.env, GATE: gate },
    });
  const status = async (child: string) => {
    const { stdout, stderr } = await run(["launch", "status", child, "--json"], { env: cluster.env });
    assert.equal(stderr, "");
    return JSON.parse(stdout);
  };
  const stateOf = (id: string) =>
    cluster.slurm("squeue", "-h", "-r", "-t", "all", "-j", id, "-o", "%T").trim();
  const restarts = (id: string) =>
    Number(/ Restarts=(\d+)/.exec(cluster.slurm("scontrol", "show", "job", "-o", id))?.[1]);
  const log = (child: string, name: string) => {
    const path = join(`${child}.launch`, "logs", name);
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  };
  /** The process that builds a part, by its lock. */
  const lockOf = (child: string, task: string) =>
    lockOwners(child).find((owner) => owner.task === `slurm/test/${task}`);

  test("an array with one task killed and one requeued ends with the bytes of a local build", async () => {
    const child = join(folder, "child");
    writeFileSync(gate, "");
    const { status: exit, stdout, stderr } = await launch(child, "--tasks", "6", "--parallel", "3");
    assert.equal(exit, 0, stderr);
    const { jobs, tasks } = JSON.parse(stdout);
    assert.deepEqual([Object.keys(jobs), tasks], [["array", "finish", "verify"], 6]);
    const [first, second] = [`${jobs.array}_0`, `${jobs.array}_1`];
    const isRunning = () => lockOf(child, first) !== undefined && lockOf(child, second) !== undefined;
    await cluster.until(isRunning, "parts 0 and 1");

    const seen = await status(child);
    assert.deepEqual([seen.finished, seen.shards], [false, { done: 0, total: 11 }]);
    assert.deepEqual([seen.parts[0].state, seen.parts[0].owner.task], ["running", `slurm/test/${first}`]);
    assert.equal(seen.queue.find(({ id }: { id: string }) => id === first).state, "RUNNING");
    assert.equal(seen.queue.find(({ id }: { id: string }) => id === jobs.verify).state, "PENDING");
    const again = await launch(child, "--tasks", "6");
    assert.deepEqual([again.status, again.stdout], [75, ""]);
    assert.match(again.stderr, /of its jobs are in the queue .+\n.*scancel \d+ \d+ \d+\n/);

    // The process of one part dies, as for want of memory; another task is to run elsewhere.
    process.kill(lockOf(child, first)!.pid, "SIGKILL");
    cluster.slurm("scontrol", "requeue", second);
    rmSync(gate);

    await cluster.until(() => /COMPLETED|CANCELLED|FAILED/.test(stateOf(jobs.verify)), "the last job", 90);
    const logs = [0, 1, 2, 3, 4, 5].map((i) => log(child, `${jobs.array}_${i}.out`)).join("\n--\n");
    assert.equal(stateOf(jobs.verify), "COMPLETED", logs);
    assert.deepEqual(hashesOf(child), whole);
    assert.deepEqual([restarts(first), restarts(second)], [1, 1], logs);
    assert.match(log(child, `${first}.out`), /status 137, back into the queue/);
    assert.match(log(child, `verify_${jobs.verify}.out`), /^verified {2}/m);
    assert.equal((await status(child)).finished, true);
    const nothing = await launch(child, "--tasks", "6");
    assert.deepEqual([nothing.status, JSON.parse(nothing.stdout).jobs], [0, {}], nothing.stderr);
  });

  test("a task that was cancelled stays so, what waits for it goes, and the next launch completes it", async () => {
    const child = join(folder, "cancelled");
    writeFileSync(gate, "");
    const { jobs } = JSON.parse((await launch(child, "--tasks", "3")).stdout);
    const task = `${jobs.array}_1`;
    await cluster.until(() => lockOf(child, task) !== undefined, "part 1");
    cluster.slurm("scancel", task);
    rmSync(gate);
    await cluster.until(() => stateOf(jobs.verify) === "CANCELLED", "the last job to be cancelled", 60);
    assert.deepEqual([stateOf(task), stateOf(jobs.finish)], ["CANCELLED", "CANCELLED"]);
    assert.equal(restarts(task), 0);
    const { finished, parts } = await status(child);
    const states = parts.map(({ state }: { state: string }) => state);
    assert.deepEqual([finished, states[0], states[2]], [false, "done", "done"]);
    // Slurm's signal and the script's: two end it at once, and leave the lock of a dead process.
    assert.match(states[1], /^(open|stopped)$/);
    assert.ok(!existsSync(join(child, "chimera.json")));

    const next = JSON.parse((await launch(child, "--tasks", "3")).stdout).jobs;
    await cluster.until(() => stateOf(next.verify) === "COMPLETED", "the second launch", 60);
    assert.deepEqual(hashesOf(child), whole);
  });

  test("when the queue cannot be asked, status tells the rest and another launch is refused", async () => {
    const child = join(folder, "child");
    const conf = join(folder, "nobody.conf");
    // A controller that nobody is: another port of the same file.
    const text = readFileSync(cluster.env.SLURM_CONF!, "utf8").replace(
      /^SlurmctldPort=.*/m,
      "SlurmctldPort=1",
    );
    writeFileSync(conf, `${text}\nMessageTimeout=2\n`);
    const env = { SLURM_CONF: conf };
    const told = await run(["launch", "status", child], { env });
    assert.deepEqual([told.status, /finished, 11 of 11/.test(told.stdout)], [0, true], told.stderr);
    assert.match(told.stderr, /warning: Cannot use Slurm: squeue ended with status 1/);
    const other = join(folder, "unasked");
    const again = await run(["launch", "slurm", recipe, "-o", other, "--tasks", "2"], { env });
    assert.deepEqual([again.status, existsSync(`${other}.launch`)], [1, false]);
    assert.match(again.stderr, /Cannot use Slurm: scontrol ended with status 1/);
  });

  test("a part that fails for good is not run again, and nothing is finished", async () => {
    const child = join(folder, "failed");
    const program = join(folder, "broken");
    writeFileSync(program, "#!/bin/sh\necho no parents here\nexit 3\n", { mode: 0o755 });
    const { stdout } = await launch(
      child,
      "--tasks",
      "2",
      "--no-verify",
      "--chimera",
      `"${program.replace("$", "\\$").replaceAll(/"(?=s)|"(?= d)/g, '\\"')}"`,
    );
    const { jobs } = JSON.parse(stdout);
    await cluster.until(() => stateOf(jobs.finish) === "CANCELLED", "the last job to be cancelled", 60);
    assert.deepEqual(stateOf(jobs.array).split("\n"), ["FAILED", "FAILED"]);
    assert.equal(restarts(`${jobs.array}_0`), 0);
    assert.match(log(child, `${jobs.array}_0.out`), /no parents here/);
  });

  test("a sweep in parts has the records of a sweep in one go, and its report", async () => {
    const words = (out: string) => [
      ...["sweep", "recipes/mini/r1t.yaml", "--lambda", "r1=0,1", "--n", "2", "--max-tokens", "4"],
      ...["--batch", "1", "--threads", "1", "-o", join(folder, out)],
    ];
    const {
      status: exit,
      stdout,
      stderr,
    } = await run(["launch", "slurm", "--tasks", "2", "--json", "--", ...words("sweep")], {
      env: cluster.env,
    });
    assert.equal(exit, 0, stderr);
    const { jobs } = JSON.parse(stdout);
    assert.deepEqual(Object.keys(jobs), ["array", "report"]);
    assert.equal((await run([...words("sweep-whole"), "--progress", "none"])).status, 0);
    await cluster.until(() => /COMPLETED|CANCELLED|FAILED/.test(stateOf(jobs.report)), "the report", 60);
    const logs = [0, 1].map((i) => log(join(folder, "sweep"), `${jobs.array}_${i}.out`)).join("\n--\n");
    assert.equal(stateOf(jobs.report), "COMPLETED", logs);
    const records = (name: string) =>
      Object.entries(hashesOf(join(folder, name))).filter(([path]) => /records\.ndjson$|\.svg$/.test(path));
    assert.ok(records("sweep-whole").length >= 5);
    assert.deepEqual(records("sweep"), records("sweep-whole"));
    const { finished, runs } = await status(join(folder, "sweep"));
    assert.deepEqual([finished, runs.done, runs.open, runs.total], [true, 4, 0, 4]);
  });

  test("a child goes to the Hub: tasks push with the token of who launched, and it is verified there", async (t) => {
    const hub = new TestHub({ lfsBytes: 1 << 16 });
    await hub.start();
    t.after(() => hub.stop());
    const child = join(folder, "pushed");
    const words = ["--tasks", "2", "--push", "chimera/slurm", "--discard-local", "--json"];
    const args = ["launch", "slurm", recipe, "-o", child, "--workers", "1", ...words];
    const env = {
      ...{ HF_ENDPOINT: hub.url, HF_HOME: join(folder, "hub-home"), HF_TOKEN: hub.options.token! },
      ...{ CHIMERA_RETRY_MS: "5", ...cluster.env },
    };
    const { status: exit, stdout, stderr } = await run(args, { env });
    assert.equal(exit, 0, stderr);
    const { jobs } = JSON.parse(stdout);
    await cluster.until(() => /COMPLETED|CANCELLED|FAILED/.test(stateOf(jobs.verify)), "the last job", 90);
    const logs = readdirSync(join(`${child}.launch`, "logs")).map((name) => log(child, name));
    assert.equal(stateOf(jobs.verify), "COMPLETED", logs.join("\n--\n"));
    assert.deepEqual(hashesOfRepo(hub, "chimera/slurm"), whole);
    assert.deepEqual(
      readdirSync(child).filter((name) => name.endsWith(".safetensors")),
      [],
    );
  });

  test("what the cluster or sbatch refuses is told, and nothing is launched", async () => {
    const child = join(folder, "refused");
    const many = await launch(child, "--tasks", "11");
    assert.equal(many.status, 2);
    assert.match(many.stderr, /Cannot launch 11 parts: this cluster's MaxArraySize is 8, wanted at most 8\n/);
    assert.equal(existsSync(`${child}.launch`), false);
    const refused = await launch(child, "--tasks", "2", "--sbatch-args", "--no-such-option");
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /Cannot use Slurm: sbatch ended with status \d+: .*no-such-option/);
    assert.equal(existsSync(join(`${child}.launch`, "launch.json")), false);
  });
});
