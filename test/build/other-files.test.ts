/** The child's files beside its shards. */
import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { modelCard } from "../../src/build/model-card.ts";
import { otherFiles } from "../../src/build/other-files.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { CONFIG, planOf, type RecipeParts, recipeOf, smallParent, smallShards } from "./support.ts";

const ends: (() => void)[] = [];
after(() => {
  for (const end of ends) end();
});
const folder = temporaryFolder({ after: (end) => ends.push(end) });
let count = 0;

function parent(files: Record<string, string>, config: object | string = CONFIG, seed = 1): string {
  return smallParent(join(folder, `parent-${++count}`), seed, { files, config });
}

async function filesOf(parts: RecipeParts): Promise<Map<string, string>> {
  const plan = await planOf(parts);
  const files = await otherFiles(
    plan,
    plan.parents.map(({ location }) => openStore(location)),
  );
  return new Map([...files].map(([name, bytes]) => [name, Buffer.from(bytes).toString()]));
}

// As DeepSeek's is written: key order, 1e-06 and 10000 are to stay.
const BASE_CONFIG = `{
  "architectures": ["DeepseekV3ForCausalLM"],
  "auto_map": {
    "AutoConfig": "configuration_deepseek.DeepseekV3Config",
    "AutoTokenizer": ["tokenization_x.Tok", null]
  },
  "model_type": "deepseek_v3",
  "num_hidden_layers": 2,
  "first_k_dense_replace": 1,
  "n_routed_experts": 2,
  "num_nextn_predict_layers": 1,
  "rms_norm_eps": 1e-06,
  "rope_theta": 10000,
  "quantization_config": {
    "activation_scheme": "dynamic",
    "fmt": "e4m3",
    "quant_method": "fp8",
    "weight_block_size": [
      128,
      128
    ]
  },
  "torch_dtype": "bfloat16",
  "routed_scaling_factor": 2.50
}
`;
const PY = { "configuration_deepseek.py": "class A: pass", "tokenization_x.py": "class T: pass" };

describe("config.json of the child", () => {
  test("is the base's, byte for byte, where the child is stored as the base is", async () => {
    const files = await filesOf({ parents: { a: parent(PY, BASE_CONFIG) } });
    assert.equal(files.get("config.json"), BASE_CONFIG);
    assert.equal(files.get("configuration_deepseek.py"), PY["configuration_deepseek.py"]);
  });

  test("in BF16 loses quantization_config, and nothing else changes", async () => {
    const files = await filesOf({
      parents: { a: parent(PY, BASE_CONFIG) },
      rest: "output: { dtype: bf16 }\n",
    });
    const [head, tail] = BASE_CONFIG.split(/ {2}"quantization_config": \{[^}]*\},\n/);
    assert.equal(files.get("config.json"), head! + tail!);
  });

  test("in F16 and F32 names its dtype", async () => {
    for (const [dtype, name] of [
      ["f16", "float16"],
      ["f32", "float32"],
    ] as const) {
      const files = await filesOf({
        parents: { a: parent(PY, BASE_CONFIG) },
        rest: `output: { dtype: ${dtype} }\n`,
      });
      assert.match(
        files.get("config.json")!,
        new RegExp(`"torch_dtype": "${name}",\n {2}"routed_scaling_factor": 2.50\n`),
      );
    }
  });

  test("in FP8 gains quantization_config", async () => {
    for (const empty of ["", '  "quantization_config": null,\n']) {
      const plain = BASE_CONFIG.replace(/ {2}"quantization_config": \{[^}]*\},\n/, empty);
      const base = smallParent(join(folder, `plain-${++count}`), 1, {
        config: plain,
        files: PY,
        change: (tensors) => {
          for (const [name, tensor] of [...tensors]) {
            if (name.endsWith("_scale_inv")) tensors.delete(name);
            else if (tensor.dtype === "F8_E4M3")
              tensors.set(name, { ...tensor, dtype: "F16", bytes: new Uint8Array(2 * tensor.bytes.length) });
          }
        },
      });
      const config = (await filesOf({ parents: { a: base }, rest: "output: { dtype: f8_e4m3 }\n" })).get(
        "config.json",
      )!;
      const value = JSON.parse(config);
      assert.deepEqual(value.quantization_config, {
        quant_method: "fp8",
        fmt: "e4m3",
        activation_scheme: "dynamic",
        weight_block_size: [128, 128],
      });
      assert.match(config, /"rms_norm_eps": 1e-06,\n {2}"rope_theta": 10000,/);
      // Left as it was where nothing is FP8.
      assert.equal((await filesOf({ parents: { a: base } })).get("config.json"), plain);
    }
  });

  test("keeps a quantisation that is not ours", async () => {
    const config = { ...CONFIG, quantization_config: { quant_method: "gptq", bits: 4 } };
    const base = smallParent(join(folder, `gptq-${++count}`), 1, {
      config,
      change: (tensors) => {
        for (const [name, tensor] of [...tensors]) {
          if (name.endsWith("_scale_inv")) tensors.delete(name);
          else if (tensor.dtype === "F8_E4M3") tensors.set(name, { ...tensor, dtype: "U8" });
        }
      },
    });
    for (const rest of ["", "output: { dtype: bf16 }\n"]) {
      const value = JSON.parse((await filesOf({ parents: { a: base }, rest })).get("config.json")!);
      assert.deepEqual(value.quantization_config, config.quantization_config);
    }
  });

  test("loses auto_map where the code that it names is not there, and only there", async () => {
    const without = await filesOf({ parents: { a: parent({}, BASE_CONFIG) } });
    assert.equal(JSON.parse(without.get("config.json")!).auto_map, undefined);
    assert.match(
      without.get("config.json")!,
      /^\{\n {2}"architectures": \["DeepseekV3ForCausalLM"\],\n {2}"model_type"/,
    );
    const remote = BASE_CONFIG.replace(
      '"configuration_deepseek.D',
      '"org/repo--configuration_deepseek.D',
    ).replace('["tokenization_x.Tok", null]', "null");
    assert.equal((await filesOf({ parents: { a: parent({}, remote) } })).get("config.json"), remote);
  });

  test("comes from the base also when the others have another", async () => {
    const b = parent({}, { ...CONFIG, rope_theta: 7 }, 2);
    const files = await filesOf({
      parents: { a: parent(PY, BASE_CONFIG), b },
      rules: "  - tensors: all\n    weights: { b: 1 }",
    });
    assert.equal(files.get("config.json"), BASE_CONFIG);
  });

  test("is not made up where the base has none", async () => {
    const bare = smallParent(join(folder, "bare"), 1);
    rmSync(join(bare, "config.json"));
    assert.equal((await filesOf({ parents: { a: bare } })).has("config.json"), false);
  });
});

describe("tokenizer and chat template", () => {
  const A = {
    "tokenizer.json": "A",
    "tokenizer_config.json": '{\n  "x": 1e-06,\n  "chat_template": "of a",\n  "y": 2\n}\n',
    "special_tokens_map.json": "A",
    "generation_config.json": "A",
  };
  const B = {
    "tokenizer.json": "B",
    "tokenizer_config.json": '{"chat_template": "of b — “quoted”", "z": 3}',
    "vocab.json": "B",
    "generation_config.json": "B",
  };
  const names = (files: Map<string, string>) =>
    [...files.keys()].filter((name) => /token|vocab|template|generation/.test(name)).sort();

  test("are the base's unless the recipe says otherwise", async () => {
    const files = await filesOf({
      parents: { a: parent(A), b: parent(B, CONFIG, 2) },
      rules: "  - tensors: all\n    weights: { b: 1 }",
    });
    for (const [name, text] of Object.entries(A)) assert.equal(files.get(name), text);
    assert.deepEqual(names(files), Object.keys(A).sort());
  });

  test("come together from the parent that is named; generation_config stays the base's", async () => {
    const files = await filesOf({
      parents: { a: parent(A), b: parent(B, CONFIG, 2) },
      rest: "tokenizer: b\n",
    });
    assert.deepEqual(names(files), [
      "generation_config.json",
      "tokenizer.json",
      "tokenizer_config.json",
      "vocab.json",
    ]);
    assert.deepEqual([files.get("tokenizer.json"), files.get("generation_config.json")], ["B", "A"]);
    assert.equal(files.get("tokenizer_config.json"), B["tokenizer_config.json"]);
  });

  test("a template in tokenizer_config.json goes into the tokenizer's, in its place", async () => {
    const files = await filesOf({
      parents: { a: parent(A), b: parent(B, CONFIG, 2) },
      rest: "chat_template: b\n",
    });
    assert.equal(
      files.get("tokenizer_config.json"),
      '{\n  "x": 1e-06,\n  "chat_template": "of b — “quoted”",\n  "y": 2\n}\n',
    );
    assert.equal(files.get("tokenizer.json"), "A");
  });

  test("a template in a file of its own wins over an entry, and takes its place", async () => {
    const b = parent({ ...B, "chat_template.jinja": "jinja of b" }, CONFIG, 2);
    const files = await filesOf({ parents: { a: parent(A), b }, rest: "chat_template: b\n" });
    assert.equal(files.get("chat_template.jinja"), "jinja of b");
    assert.equal(files.get("tokenizer_config.json"), '{\n  "x": 1e-06,\n  "y": 2\n}\n');
    // And the other way round: the tokenizer's own file must not stay.
    const a = parent({ ...A, "chat_template.jinja": "jinja of a", "chat_template.json": "{}" });
    const other = await filesOf({ parents: { a, b: parent(B, CONFIG, 2) }, rest: "chat_template: b\n" });
    assert.deepEqual([other.has("chat_template.jinja"), other.has("chat_template.json")], [false, false]);
    assert.equal(JSON.parse(other.get("tokenizer_config.json")!).chat_template, "of b — “quoted”");
  });

  test("a template file for processors does not hide the entry that tokenizers read", async () => {
    const b = parent({ ...B, "chat_template.json": '{"chat_template": "processor"}' }, CONFIG, 2);
    const files = await filesOf({ parents: { a: parent(A), b }, rest: "chat_template: b\n" });
    assert.equal(files.get("chat_template.json"), '{"chat_template": "processor"}');
    assert.equal(JSON.parse(files.get("tokenizer_config.json")!).chat_template, "of b — “quoted”");
  });

  test("a template is not lost where the tokenizer has no tokenizer_config.json", async () => {
    const files = await filesOf({
      parents: { a: parent({ "tokenizer.json": "A" }), b: parent(B, CONFIG, 2) },
      rest: "chat_template: b\n",
    });
    assert.deepEqual(JSON.parse(files.get("tokenizer_config.json")!), { chat_template: "of b — “quoted”" });
  });

  test("a tokenizer of one parent and a template of another", async () => {
    const parents = { a: parent({}), b: parent(B, CONFIG, 2), c: parent(A, CONFIG, 3) };
    const files = await filesOf({ parents, rest: "tokenizer: c\nchat_template: b\n" });
    assert.equal(files.get("tokenizer.json"), "A");
    assert.equal(JSON.parse(files.get("tokenizer_config.json")!).chat_template, "of b — “quoted”");
    assert.equal(files.has("generation_config.json"), false);
  });
});

describe("licences", () => {
  test("of the base under their names, of others with the parent's name where they differ", async () => {
    const a = parent({ LICENSE: "free", "LICENSE-MODEL": "model" });
    const b = parent(
      { LICENSE: "free", "LICENSE-MODEL": "other", NOTICE: "note", "README.md": "no" },
      CONFIG,
      2,
    );
    const files = await filesOf({ parents: { b, a }, rules: "  - tensors: all\n    weights: { b: 1 }" });
    const found = [...files]
      .filter(([name]) => /LICENSE|NOTICE|README/.test(name))
      .sort(([x], [y]) => (x < y ? -1 : 1));
    assert.deepEqual(found, [
      ["LICENSE", "free"],
      ["LICENSE-MODEL", "model"],
      ["LICENSE-MODEL.b", "other"],
      ["NOTICE.b", "note"],
    ]);
  });
});

describe("the index", () => {
  test("is the base's, byte for byte, where layout and types are", async () => {
    const a = parent({});
    const files = await filesOf({
      parents: { a, b: parent({}, CONFIG, 2) },
      rules: "  - tensors: all\n    weights: { b: 0.5 }",
    });
    assert.equal(
      files.get("model.safetensors.index.json"),
      readFileSync(join(a, "model.safetensors.index.json"), "utf8"),
    );
  });

  test("keeps the base's order when re-sharded, and counts bytes of tensors", async () => {
    const recipe = recipeOf({ parents: { a: parent({}) }, rest: "output: { dtype: f32 }\n" });
    recipe.output.maxShardSize = 1000;
    const plan = await planRecipe(recipe);
    const files = await otherFiles(
      plan,
      plan.parents.map(({ location }) => openStore(location)),
    );
    const index = JSON.parse(Buffer.from(files.get("model.safetensors.index.json")!).toString());
    const names = smallShards(1)
      .flatMap(({ tensors }) => tensors.map(({ name }) => name))
      .filter((name) => !name.endsWith("_scale_inv"));
    assert.deepEqual(Object.keys(index.weight_map), names);
    assert.equal(index.metadata.total_size, 4 * plan.totals.elements);
  });

  test("has a new scale behind its weight", async () => {
    const base = smallParent(join(folder, "unquantised"), 1, {
      config: { ...CONFIG, quantization_config: undefined },
      change: (tensors) => {
        for (const [name, tensor] of [...tensors]) {
          if (name.endsWith("_scale_inv")) tensors.delete(name);
          else if (tensor.dtype === "F8_E4M3")
            tensors.set(name, { ...tensor, dtype: "BF16", bytes: new Uint8Array(2 * tensor.bytes.length) });
        }
      },
    });
    const files = await filesOf({ parents: { a: base }, rest: "output: { dtype: f8_e4m3 }\n" });
    const names = Object.keys(JSON.parse(files.get("model.safetensors.index.json")!).weight_map);
    for (const [i, name] of names.entries())
      if (name.endsWith("up_proj.weight")) assert.equal(names[i + 1], `${name}_scale_inv`);
    assert.equal(names.filter((name) => name.endsWith("_scale_inv")).length, 4);
  });
});

test("modelCard() of a conversion does not speak of several parents", async () => {
  const plan = await planOf({
    parents: { v3: parent({}) },
    base: "v3",
    rest: "output: { dtype: bf16 }",
  });
  const card = modelCard(plan, { licence: undefined });
  assert.match(card, /Made from 1 parent .*, \d+ are computed \(merged or converted\)\./);
});

test("modelCard() names parents, recipe, revision and counts", async () => {
  const snapshot = join(
    folder,
    "models--deepseek-ai--DeepSeek-R1/snapshots",
    "0123456789abcdef0123456789abcdef01234567",
  );
  smallParent(snapshot, 2);
  const plan = await planOf({
    parents: { v3: parent({}), r1: snapshot },
    base: "v3",
    rules: "  - tensors: routed-experts\n    weights: { r1: 1 }",
  });
  const card = modelCard(plan, { licence: undefined });
  assert.match(card, /^---\nlibrary_name: transformers\n/);
  assert.match(card, /base_model:\n {2}- "deepseek-ai\/DeepSeek-R1"\nbase_model_relation: merge\n---/);
  assert.match(card, /\| r1 \| donor \| `[0-9a-f]{16}…` \| 0123456789abcdef0123456789abcdef01234567 \|/);
  assert.match(card, /Every tensor is a byte-for-byte copy from one of the parents\./);
  assert.ok(card.includes(plan.recipe.trimEnd()) && card.includes(plan.digest));
});
