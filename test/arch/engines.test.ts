/** What other engines are told about a checkpoint: from its config, its tensors and its template. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type EngineFacts, engineCommands, engineFacts, gpusFor } from "../../src/arch/engines.ts";
import { V3_CONFIG } from "./v3-config.ts";

const R1_TEMPLATE =
  "{% if '</think>' in content %}{% endif %}<｜tool▁calls▁begin｜>function<｜tool▁sep｜>\n```json\n";
const V31_TEMPLATE = "{% if not thinking is defined %}{% endif %}</think><｜tool▁calls▁begin｜>";
const NAMES = ["model.embed_tokens.weight", "model.layers.0.input_layernorm.weight"];
const MTP = "model.layers.61.eh_proj.weight";
const BYTES = 688_586_727_753;

const facts = (
  changes: { names?: string[]; template?: string; config?: object; bytes?: number } = {},
): EngineFacts =>
  engineFacts(
    { ...V3_CONFIG, ...changes.config },
    {
      names: changes.names ?? [...NAMES, MTP],
      bytes: changes.bytes ?? BYTES,
      template: changes.template ?? R1_TEMPLATE,
    },
  );
const OPTIONS = { gpuBytes: 80e9, gpusPerNode: 8, location: "./R1T", name: "R1T" };
const lines = (engine: "vllm" | "sglang" | "llama.cpp", of: EngineFacts, options = OPTIONS) =>
  engineCommands(engine, of, options).commands.map(({ command }) => command.join(" "));

describe("engineFacts()", () => {
  test("takes MTP layers that are there, not those that are only declared", () => {
    assert.equal(facts().mtpLayers, 1);
    assert.equal(facts({ names: NAMES }).mtpLayers, 0);
  });

  test("tells from the template whether a child thinks and how it calls tools", () => {
    const of = (template: string) => {
      const { thinking, tools } = facts({ template });
      return [thinking, tools];
    };
    assert.deepEqual(of(R1_TEMPLATE), ["always", "deepseek-v3"]);
    assert.deepEqual(of(V31_TEMPLATE), ["by-template", "deepseek-v3.1"]);
    assert.deepEqual(of("{{ messages }}"), ["none", "none"]);
    assert.deepEqual(engineFacts({}, { names: [], bytes: 1, template: undefined }).thinking, "none");
  });

  test("hostile configs give facts, never errors", () => {
    for (const config of [
      undefined,
      null,
      3,
      [],
      { model_type: {} },
      { num_attention_heads: -1, auto_map: [] },
    ])
      assert.equal(
        engineFacts(config, { names: ["x"], bytes: 1, template: undefined }).needsRemoteCode,
        false,
      );
  });
});

describe("engineCommands()", () => {
  test("sizes: R1 takes two nodes of 80 GB, one of 141 GB; a small model one GPU", () => {
    const gpus = (gpuBytes: number, of = facts()) => gpusFor(of, { gpuBytes });
    assert.deepEqual([gpus(80e9), gpus(141e9), gpus(192e9)], [16, 8, 8]);
    assert.equal(gpus(80e9, facts({ bytes: 3e6 })), 1);
    assert.equal(gpus(24e9), 64);
    // 12 heads are not shared by 8.
    assert.equal(gpus(80e9, facts({ config: { num_attention_heads: 12 } })), 4);
  });

  test("vLLM on one node", () => {
    assert.deepEqual(lines("vllm", facts(), { ...OPTIONS, gpuBytes: 141e9 }), [
      "vllm serve ./R1T --served-model-name R1T --tensor-parallel-size 8 --trust-remote-code --reasoning-parser deepseek_r1 " +
        "--enable-auto-tool-choice --tool-call-parser deepseek_v3 " +
        `--speculative-config '{"method": "mtp", "num_speculative_tokens": 1}'`,
    ]);
  });

  test("vLLM on two: stages, ranks, no drafts", () => {
    const [first, second, ...more] = lines("vllm", facts({ config: { auto_map: undefined } }));
    assert.equal(more.length, 0);
    assert.match(first!, /--tensor-parallel-size 8 --pipeline-parallel-size 2 --reasoning-parser/);
    assert.match(first!, /--nnodes 2 --node-rank 0 --master-addr "\$HEAD"$/);
    assert.match(second!, /--node-rank 1 --master-addr "\$HEAD" --headless$/);
    assert.ok(!first!.includes("speculative"));
  });

  test("SGLang: one group over all nodes, drafts from the MTP layer, parsers of V3.1", () => {
    const [first, second] = lines("sglang", facts({ template: V31_TEMPLATE }));
    assert.match(first!, /^python3 -m sglang.launch_server --model-path \.\/R1T .*--tp 16 /);
    assert.match(
      first!,
      /--reasoning-parser deepseek-v3 --tool-call-parser deepseekv31 --speculative-algorithm EAGLE/,
    );
    assert.match(second!, /--nnodes 2 --node-rank 1 --dist-init-addr "\$HEAD:20000"$/);
    assert.ok(
      !lines("sglang", facts({ names: NAMES }))
        .join()
        .includes("speculative"),
    );
  });

  test("warns where FP8 blocks would be cut, and where a model does not fit", () => {
    const notes = (of: EngineFacts, gpuBytes: number) =>
      engineCommands("sglang", of, { ...OPTIONS, gpuBytes }).notes.join("\n");
    assert.ok(!/whole blocks/.test(notes(facts(), 80e9)));
    assert.match(
      notes(facts(), 24e9),
      /Experts of 2048 rows do not come out in whole blocks of 128 on 64 GPUs/,
    );
    assert.match(
      notes(facts({ config: { num_attention_heads: 2 } }), 80e9),
      /They do not fit: 2 attention heads/,
    );
  });

  test("llama.cpp: convert, quantise, serve", () => {
    const [convert, quantise, serve] = lines("llama.cpp", facts());
    assert.equal(convert, "python3 convert_hf_to_gguf.py ./R1T --outtype bf16 --outfile R1T-bf16.gguf");
    assert.equal(quantise, "llama-quantize R1T-bf16.gguf R1T-Q4_K_M.gguf Q4_K_M");
    assert.match(serve!, /--jinja --reasoning-format deepseek --port 8080$/);
  });

  test("each says that it was not run", () => {
    for (const engine of ["vllm", "sglang", "llama.cpp"] as const)
      assert.match(engineCommands(engine, facts(), OPTIONS).notes.at(-1)!, /was not run/);
  });
});
