/** A sweep and an evaluation as Jobs, played with real processes: killed pods and all, they end as those in one go. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { runMain } from "../cli/run-main.ts";
import { studyContents } from "../study/study-contents.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { applied, playJob, when } from "./play-manifest.ts";
import { gatedProgram, lockOwners } from "./small-family.ts";

const FEW = ["--n", "2", "--max-tokens", "6", "--batch", "1", "--threads", "1"];
const PARENTS = ["--parent", "v3=/data/mini-v3", "--parent", "r1=/data/mini-r1"];
const CLUSTER = [
  "--image",
  "chimera:1",
  "--pvc",
  "models=/data",
  "--tasks",
  "2",
  "--parallel",
  "2",
  "--wait",
  "60",
];

const STUDIES: Record<string, { words: string[]; runs: number; report: string }> = {
  sweep: {
    words: ["sweep", "recipes/mini/r1t.yaml", "--lambda", "r1=0.5", ...PARENTS, ...FEW],
    ...{ runs: 3, report: "report.html" },
  },
  eval: {
    words: ["eval", "/data/mini-v3", "child=recipes/mini/r1t.yaml", ...PARENTS, ...FEW],
    ...{ runs: 2, report: "comparison.json" },
  },
};

for (const [kind, { words, runs, report }] of Object.entries(STUDIES))
  test(`chimera launch kubernetes -- ${kind}: with a pod killed it has the files of one in one go`, async (t: TestContext) => {
    const folder = temporaryFolder(t);
    const said = runMain(
      ...["launch", "kubernetes", ...CLUSTER, "--dry-run", "--json"],
      ...["--", ...words, "-o", "/data/out"],
    );
    assert.equal(said.status, 0, said.stderr);
    const { config, job, finish } = applied(JSON.parse(said.stdout).objects, folder);
    assert.deepEqual(readdirSync(config), ["r1t.yaml"]);
    const data = join(folder, "data");
    mkdirSync(data);
    for (const name of ["mini-v3", "mini-r1"]) symlinkSync(resolve("models", name), join(data, name));

    const gate = join(folder, "gate");
    writeFileSync(gate, "");
    const paths = { "/etc/chimera": config, "/data/": `${data}/` };
    const cluster = { program: gatedProgram({ ANSWERS_GATE: gate }), paths };
    const out = join(data, "out");
    const place = kind === "sweep" ? join(out, "runs") : out;
    const isAtWork = (index: number) => {
      const names = existsSync(place) ? readdirSync(place).filter((name) => !name.startsWith(".")) : [];
      const pids = names.flatMap((name) => lockOwners(join(place, name))).map(({ pid }) => pid);
      return pids.includes(pods.get(index) ?? -1);
    };
    const pods = new Map<number, number>();
    const finished = playJob(finish, cluster);
    let told = "";
    const played = await playJob(job, cluster, {
      disturb: async ({ index, attempt, pid, kill }) => {
        pods.set(index, pid);
        if (index !== 0 || attempt > 0) return false;
        await when(
          () => isAtWork(0) && isAtWork(1),
          () => {
            // The folder itself says how far it is: nothing was launched from here.
            told = runMain("launch", "status", out).stdout;
            kill("SIGKILL");
            rmSync(gate);
          },
        );
        return false;
      },
    });
    assert.deepEqual([played.failed, played.runs], [[], 2 + 1]);
    assert.match(
      told,
      new RegExp(`out: 0 of ${runs} runs are complete\n2 running, 0 stopped, ${runs - 2} open\n$`),
    );
    assert.deepEqual((await finished).succeeded, [0]);
    const again = runMain("launch", "status", out);
    assert.match(again.stdout, new RegExp(`out: finished, ${runs} of ${runs} runs are complete\n$`));

    const here = (word: string) => word.replace("recipes/mini", config).replaceAll("/data/", `${data}/`);
    const whole = runMain(...words.map(here), "-o", join(folder, "whole"), "--progress", "none");
    assert.equal(whole.status, 0, whole.stderr);
    const [wanted, found] = [studyContents(join(folder, "whole")), studyContents(out)];
    assert.ok(wanted.has(report) && wanted.size >= 3 * runs);
    assert.deepEqual([...found.keys()], [...wanted.keys()]);
    for (const [name, text] of wanted) assert.equal(found.get(name), text, name);
  });
