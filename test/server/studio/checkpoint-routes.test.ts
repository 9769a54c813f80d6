/** Checkpoints and comparisons, as the studio asks for them. */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import type { CheckpointEntry, CompareStep, InspectReport, TensorPage } from "../../../src/server/api.ts";
import { compare } from "../../../src/survey/compare.ts";
import { inspect } from "../../../src/survey/inspect.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { openStudio, type StudioServer } from "./support.ts";

describe("routes of checkpoints", () => {
  let server: StudioServer;
  before(async () => {
    server = await openStudio();
  });
  after(() => server.close());

  test("GET /checkpoints lists what is served, with figures of checkpoints and recipes of children", async () => {
    const { body } = await server.get<CheckpointEntry[]>("/checkpoints");
    assert.deepEqual(
      body.map(({ id, kind }) => `${id} ${kind}`),
      ["mini-r1 checkpoint", "mini-r1-1776 checkpoint", "mini-v3 checkpoint", "r1t child"],
    );
    const { totals } = await inspect("models/mini-r1");
    assert.deepEqual(
      [body[0]!.bytes, body[0]!.tensors, body[0]!.parameters],
      [totals.bytes, totals.tensors, totals.elements],
    );
    // Parents by the ids of this server, whatever the file says.
    assert.match(body[3]!.recipe!, /v3: mini-v3\n {2}r1: mini-r1\n/);
  });

  test("GET /checkpoints/ID is what inspect() says", async () => {
    const { body } = await server.get<InspectReport>("/checkpoints/mini-v3");
    assert.deepEqual(
      { ...body, location: "" },
      JSON.parse(JSON.stringify({ ...(await inspect("models/mini-v3")), location: "" })),
    );
  });

  test("GET /checkpoints/ID of a child, and of nothing, is an error", async () => {
    assert.equal((await server.get("/checkpoints/r1t")).status, 404);
    assert.equal((await server.get("/checkpoints/..%2f..%2fetc")).status, 404);
  });

  test("GET …/tensors finds by words, role, dtype and layer, in pages", async () => {
    const page = async (query: string) =>
      (await server.get<TensorPage>(`/checkpoints/mini-r1/tensors?${query}`)).body;
    const all = await page("limit=1000");
    assert.equal(all.total, 501);
    assert.equal(all.rows.length, 501);
    const experts = await page("search=EXPERTS.3.%20up_proj&layer=2");
    assert.deepEqual(
      experts.rows.map(({ name, layer, expert }) => [name, layer, expert]),
      [
        ["model.layers.2.mlp.experts.3.up_proj.weight", 2, 3],
        ["model.layers.2.mlp.experts.3.up_proj.weight_scale_inv", 2, 3],
      ],
    );
    const second = await page("role=norms&offset=2&limit=3");
    assert.equal(second.rows.length, 3);
    assert.ok(second.total > 5 && second.rows.every(({ role }) => role === "norms"));
    assert.equal((await page("dtype=I64")).total, 0);
    // As people count: layer 10 would come behind layer 9, and what is in no layer comes first.
    assert.equal(all.rows[0]!.layer, undefined);
    const layers = all.rows.flatMap(({ layer }) => layer ?? []);
    assert.deepEqual(
      layers,
      layers.toSorted((a, b) => a - b),
    );
  });

  test("GET …/files gives out the text files of a checkpoint and nothing else", async () => {
    const { body } = await server.get<string[]>("/checkpoints/mini-r1/files");
    assert.deepEqual(body, ["config.json", "generation_config.json", "tokenizer_config.json"]);
    const { body: config } = await server.get<{ model_type: string }>(
      "/checkpoints/mini-r1/files/config.json",
    );
    assert.equal(config.model_type, "deepseek_v3");
    for (const name of [
      "tokenizer.json",
      "model-00001-of-000002.safetensors",
      "..%2f..%2fpackage.json",
      "%2fetc%2fpasswd",
    ])
      assert.equal((await server.get(`/checkpoints/mini-r1/files/${name}`)).status, 404, name);
  });

  test("GET …/files does not follow links out of a checkpoint, but those of the Hub's cache", async () => {
    const root = temporaryFolder({ after });
    const copy = (folder: string) => {
      mkdirSync(folder, { recursive: true });
      for (const name of readdirSync("models/mini-r1"))
        copyFileSync(join("models/mini-r1", name), join(folder, name));
    };
    const stolen = join(root, "stolen");
    copy(stolen);
    symlinkSync(resolve("package.json"), join(stolen, "README.md"));
    const repository = join(root, "models--org--name");
    const snapshot = join(repository, "snapshots", "abc");
    copy(snapshot);
    mkdirSync(join(repository, "blobs"));
    writeFileSync(join(repository, "blobs", "f00"), "a card");
    symlinkSync("../../blobs/f00", join(snapshot, "README.md"));
    const own = await openStudio({}, [stolen, snapshot]);
    try {
      const status = async (id: string) =>
        (await own.app.request(`/api/checkpoints/${id}/files/README.md`, { headers: { host: "localhost" } }))
          .status;
      assert.deepEqual([await status("stolen"), await status("abc")], [404, 200]);
    } finally {
      await own.close();
    }
  });

  test("POST /compare tells its progress and ends with compare()'s report, the second time at once", async () => {
    const request = { base: "mini-v3", other: "mini-r1" };
    const steps = await server.events<CompareStep>("POST", "/compare", request);
    assert.equal(steps[0]!.kind, "started");
    const last = steps.at(-1)!;
    assert.ok(last.kind === "report");
    const wanted = await compare("models/mini-v3", "models/mini-r1");
    assert.deepEqual(last.report.rows, JSON.parse(JSON.stringify(wanted.rows)));
    assert.deepEqual(
      (await server.events<CompareStep>("POST", "/compare", request)).map(({ kind }) => kind),
      ["report"],
    );
  });

  test("POST /compare of what is not there is a 404, of what cannot be compared an event", async () => {
    assert.equal((await server.send("POST", "/compare", { base: "mini-v3", other: "nothing" })).status, 404);
    assert.equal((await server.send("POST", "/compare", { base: "mini-v3" })).status, 400);
  });
});
