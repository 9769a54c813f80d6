/** Builds that the studio starts. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { build } from "../../../src/build/build.ts";
import { planRecipe } from "../../../src/plan/plan-recipe.ts";
import type { BuildState, CheckpointEntry } from "../../../src/server/api.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { openStudio, type StudioServer } from "./support.ts";

const RECIPE =
  "version: 1\nparents: { v3: mini-v3, r1: mini-r1 }\nbase: v3\nrules:\n  - { tensors: routed-experts, weights: { r1: 0.5 } }\n";

const hashes = (folder: string) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".safetensors"))
    .sort()
    .map(
      (name) =>
        `${name} ${createHash("sha256")
          .update(readFileSync(join(folder, name)))
          .digest("hex")}`,
    );

describe("routes of builds", () => {
  let server: StudioServer;
  const children = join(temporaryFolder({ after }), "children");
  before(async () => {
    server = await openStudio({ children });
  });
  after(() => server.close());
  const start = (name: string) => server.send<BuildState>("POST", "/builds", { name, recipe: RECIPE });
  const eventsOf = (id: string) => server.events<BuildState>("GET", `/builds/${id}/events`);

  test("a build ends on a child that is served, with the bytes of the command's", async () => {
    const { status, body } = await start("half");
    assert.deepEqual([status, body.state, body.name], [201, "running", "half"]);
    const states = await eventsOf(body.id);
    const last = states.at(-1)!;
    assert.deepEqual([last.state, last.bytesDone, last.shardsDone], ["done", last.bytesTotal, 2]);
    const wanted = join(temporaryFolder({ after }), "half");
    const locations = { v3: "models/mini-v3", r1: "models/mini-r1" };
    const { parseRecipe } = await import("../../../src/recipe/parse.ts");
    await build(await planRecipe(parseRecipe(RECIPE), { locations }), wanted);
    assert.deepEqual(hashes(join(children, "half")), hashes(wanted));
    const { body: entries } = await server.get<CheckpointEntry[]>("/checkpoints");
    assert.equal(entries.find(({ id }) => id === "half")?.kind, "checkpoint");
    assert.equal((await start("half")).status, 409); // a model of this name is served now
  });

  test("a build that is paused goes on from there, and ends with the same bytes", async () => {
    const { body } = await start("paused");
    const paused = await server.send<BuildState>("POST", `/builds/${body.id}/pause`);
    assert.ok(["pausing", "paused", "done"].includes(paused.body.state), paused.body.state);
    await server.send<BuildState>("POST", `/builds/${body.id}/resume`);
    assert.equal((await eventsOf(body.id)).at(-1)!.state, "done");
    assert.deepEqual(hashes(join(children, "paused")), hashes(join(children, "half")));
  });

  test("DELETE removes what of an unfinished build is there", async () => {
    const { body } = await start("dropped");
    await server.send("POST", `/builds/${body.id}/pause`);
    const { body: removed } = await server.send<BuildState>("DELETE", `/builds/${body.id}`);
    if (removed.state !== "done") assert.ok(!existsSync(join(children, "dropped", "chimera.json")));
    assert.equal((await server.get(`/builds/${body.id}`)).status, 404);
  });

  test("DELETE among others that pause and resume ends the build, its events, and frees its name", async () => {
    const { body } = await start("fought-over");
    const events = eventsOf(body.id);
    const ask = (what: string) => server.send<BuildState>("POST", `/builds/${body.id}/${what}`);
    const drop = () => server.send<BuildState>("DELETE", `/builds/${body.id}`);
    const answers = await Promise.all([ask("pause"), ask("resume"), drop(), ask("resume"), drop()]);
    for (const { status } of answers) assert.ok([200, 404].includes(status), `${status}`);
    assert.equal(answers[2].status, 200);
    await events; // they end
    assert.equal((await server.get(`/builds/${body.id}`)).status, 404);
    assert.ok(!existsSync(join(children, "fought-over", ".chimera")));
    const again = await start("fought-over");
    if (again.status === 201) assert.equal((await eventsOf(again.body.id)).at(-1)!.state, "done");
    else assert.equal(answers[2].body.state, "done"); // it was faster
  });

  test("names that are none, and recipes that are none, begin no build", async () => {
    for (const name of ["../up", "a/b", "", ".hidden", "x".repeat(200)])
      assert.equal((await start(name)).status, 400, name);
    const { status } = await server.send("POST", "/builds", { name: "none", recipe: "version: 1" });
    assert.equal(status, 400);
    assert.ok(!existsSync(join(children, "none")));
  });

  test("without a folder for children nothing is built, and it is said why", async () => {
    const own = await openStudio({}, ["models/mini-v3", "models/mini-r1"]);
    const { status, body } = await own.send<{ error: { message: string } }>("POST", "/builds", {
      name: "x",
      recipe: RECIPE,
    });
    assert.equal(status, 409);
    assert.match(body.error.message, /--children/);
    assert.deepEqual((await own.get<{ builds: string | null }>("/studio")).body.builds, null);
    await own.close();
  });
});
