/** Evaluations and studies, as the studio shows them. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { readRun } from "../../../src/eval/run-folder.ts";
import type { RecordPage, RunDetails, RunsList, StudyDetails } from "../../../src/server/api.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { openStudio, type StudioServer } from "./support.ts";

describe("routes of runs", () => {
  const root = join(temporaryFolder({ after }), "runs");
  let server: StudioServer;
  before(async () => {
    mkdirSync(root);
    const run = (...args: string[]) =>
      execFileSync(process.execPath, ["bin/chimera.mjs", ...args], { stdio: "pipe" });
    run("sweep", "recipes/mini/r1t.yaml", "--lambda", "r1=0:1:0.5", "--n", "12", "-o", join(root, "sweep"));
    run("eval", "models/mini-r1", "--n", "8", "--out", join(root, "single"));
    symlinkSync(resolve("models"), join(root, "link"));
    server = await openStudio({ runs: [root] });
  });
  after(() => server.close());
  const list = async () => (await server.get<RunsList>("/runs")).body;

  test("GET /runs finds runs and the study that some belong to", async () => {
    const { runs, studies } = await list();
    assert.deepEqual(
      studies.map(({ kind, place }) => [kind, place]),
      [["sweep", "runs/sweep"]],
    );
    assert.ok(studies[0]!.files.includes("accuracy.svg") && studies[0]!.files.includes("report.html"));
    const own = runs.filter(({ study }) => study === studies[0]!.id);
    assert.equal(own.length, runs.length - 1);
    assert.ok(runs.every(({ complete, summary }) => complete && summary));
  });

  test("GET /studies/ID has the points of the sweep, each with its run", async () => {
    const { studies } = await list();
    const { body } = await server.get<StudyDetails>(`/studies/${studies[0]!.id}`);
    assert.deepEqual(
      body.points.map(({ x }) => x),
      [0, 0.5, 1],
    );
    assert.equal(body.axis, "r1");
    assert.equal(body.parents.length, 2);
    for (const { run, summary } of [...body.points, ...body.parents]) {
      const { status, body: details } = await server.get<RunDetails>(`/runs/${run}`);
      assert.equal(status, 200);
      assert.deepEqual(details.entry.summary, summary);
    }
  });

  test("GET /runs/ID/records gives the records in pages, and those that are wanted", async () => {
    const { runs } = await list();
    const entry = runs.find(({ study }) => study === undefined)!;
    const { records } = await readRun(join(root, "single"));
    const page = async (query: string) =>
      (await server.get<RecordPage>(`/runs/${entry.id}/records?${query}`)).body;
    assert.deepEqual((await page("")).records, JSON.parse(JSON.stringify(records)));
    assert.deepEqual(
      (await page("offset=2&limit=3")).records.map(({ id }) => id),
      records.slice(2, 5).map(({ id }) => id),
    );
    const right = records.filter(({ correct }) => correct === true).length;
    const wrong = records.filter(({ correct }) => correct === false).length;
    assert.deepEqual([(await page("only=right")).total, (await page("only=wrong")).total], [right, wrong]);
    const { body } = await server.get<RunDetails>(`/runs/${entry.id}`);
    let sum = 0;
    for (const topic of body.topics) sum += (await page(`topic=${encodeURIComponent(topic)}`)).total;
    assert.equal(sum, records.length);
  });

  test("GET /studies/ID/files gives out plots and reports, and nothing that lies elsewhere", async () => {
    const { studies } = await list();
    const { id } = studies[0]!;
    const file = (name: string) =>
      server.app.request(`/api/studies/${id}/files/${name}`, { headers: { host: "localhost" } });
    const svg = await file("accuracy.svg");
    assert.equal(svg.headers.get("content-type"), "image/svg+xml; charset=utf-8");
    assert.match(svg.headers.get("content-security-policy") ?? "", /sandbox/);
    assert.match(await svg.text(), /^<svg/);
    symlinkSync(resolve("package.json"), join(root, "sweep", "stolen.svg"));
    for (const name of ["..%2f..%2fpackage.json", "sweep.json", "stolen.svg", "none.svg"])
      assert.equal((await file(name)).status, 404, name);
  });

  test("a study that is damaged says so, and takes nothing else down; pipes are not waited for", async () => {
    const folder = join(root, "damaged");
    mkdirSync(join(folder, "run"), { recursive: true });
    execFileSync("mkfifo", [join(folder, "run", "config.json")]);
    writeFileSync(join(folder, "run", "records.ndjson"), "");
    for (const text of ["{", "null", '{"points":5}', '{"points":[null]}', '{"points":[{"run":"%E0"}]}']) {
      writeFileSync(join(folder, "sweep.json"), text);
      const { studies, runs } = await list();
      assert.ok(runs.length > 1);
      const { id } = studies.find(({ place }) => place === "runs/damaged")!;
      const { status, body } = await server.get<{ error: { code: string } }>(`/studies/${id}`);
      assert.deepEqual([status, body.error.code], [400, "damaged"], text);
    }
    rmSync(folder, { recursive: true });
    const moved = `${root}-moved`;
    renameSync(root, moved);
    assert.deepEqual(await list(), { runs: [], studies: [] });
    renameSync(moved, root);
    assert.ok((await list()).runs.length > 1);
  });

  test("what is not there is a 404", async () => {
    assert.equal((await server.get("/runs/0123456789abcdef")).status, 404);
    assert.equal((await server.get("/studies/..")).status, 404);
  });
});
