/**
 * Writes a checkpoint of the real size, 689 GB in 163 shards, that takes a few hundred MB on disk: true
 * headers, index and config, and holes for data. What works on headers alone (plan, inspect, a dry run) sees
 * the real thing; shards that are named get content, so that building them can be measured.
 *
 * Usage: npm run make-fullsize -- DIR [options]
 */
import { existsSync, readdirSync, readFileSync, statfsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { layOutParent, SHARD_BYTES } from "../bench/parents/layout.ts";
import { parseRanges } from "../bench/parents/ranges.ts";
import { type ParentReport, writeParent } from "../bench/parents/write.ts";
import { formatBytes, formatDuration, formatInteger, parseBytes } from "../src/base/format.ts";

/** config.json of DeepSeek-V3 and R1: checkpoint-format.md section 2. As text, for its spelling of numbers. */
export const V3_CONFIG_TEXT = `{
  "architectures": [
    "DeepseekV3ForCausalLM"
  ],
  "attention_bias": false,
  "attention_dropout": 0.0,
  "auto_map": {
    "AutoConfig": "configuration_deepseek.DeepseekV3Config",
    "AutoModel": "modeling_deepseek.DeepseekV3Model",
    "AutoModelForCausalLM": "modeling_deepseek.DeepseekV3ForCausalLM"
  },
  "aux_loss_alpha": 0.001,
  "bos_token_id": 0,
  "eos_token_id": 1,
  "ep_size": 1,
  "first_k_dense_replace": 3,
  "hidden_act": "silu",
  "hidden_size": 7168,
  "initializer_range": 0.02,
  "intermediate_size": 18432,
  "kv_lora_rank": 512,
  "max_position_embeddings": 163840,
  "model_type": "deepseek_v3",
  "moe_intermediate_size": 2048,
  "moe_layer_freq": 1,
  "n_group": 8,
  "n_routed_experts": 256,
  "n_shared_experts": 1,
  "norm_topk_prob": true,
  "num_attention_heads": 128,
  "num_experts_per_tok": 8,
  "num_hidden_layers": 61,
  "num_key_value_heads": 128,
  "num_nextn_predict_layers": 1,
  "pretraining_tp": 1,
  "q_lora_rank": 1536,
  "qk_nope_head_dim": 128,
  "qk_rope_head_dim": 64,
  "quantization_config": {
    "activation_scheme": "dynamic",
    "fmt": "e4m3",
    "quant_method": "fp8",
    "weight_block_size": [
      128,
      128
    ]
  },
  "rms_norm_eps": 1e-06,
  "rope_scaling": {
    "beta_fast": 32,
    "beta_slow": 1,
    "factor": 40,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 4096,
    "type": "yarn"
  },
  "rope_theta": 10000,
  "routed_scaling_factor": 2.5,
  "scoring_func": "sigmoid",
  "seq_aux": true,
  "tie_word_embeddings": false,
  "topk_group": 4,
  "topk_method": "noaux_tc",
  "torch_dtype": "bfloat16",
  "transformers_version": "4.33.1",
  "use_cache": true,
  "v_head_dim": 128,
  "vocab_size": 129280
}
`;

const HELP = `
Without --fill and --shards everything stays sparse: codes and BF16 are zeros, block scales about 2^-10,
and the parent takes some 200 MB on disk. Tools that know no holes (cp without --sparse, tar, a network
disk) see all 689 GB of it.

--shards says which shards get content and means --fill random; --fill random alone fills all of them.
Content is drawn from the seed: Gaussian weights, quantised per block. A shard's content depends on the
seed only, not on which others are filled.

--parents makes one checkpoint per name, DIR/NAME, with the seeds N, N+1 and so on. A parent that is called
r1-something opens the thinking trace in its chat template.

Examples:
  $ npm run make-fullsize -- /data/v3
  $ npm run make-fullsize -- /data --parents v3 r1 --shards 5
  $ npm run make-fullsize -- /tmp/small --config my-config.json --fill random --shard-size 500MB`;

interface Options {
  config?: string;
  shards?: (total: number) => Set<number>;
  fill?: "sparse" | "random";
  seed: number;
  parents?: string[];
  shardSize: number;
}

/** Runs the script; resolves to the exit status. `print` takes lines for stdout. */
export function main(argv: readonly string[], print: (line: string) => void = console.log): number {
  const program = new Command("make-fullsize")
    .description("write a checkpoint of the real size and layout that takes little space: headers and holes")
    .argument("<dir>", "where it goes: a new or empty folder")
    .option("--config <file>", "config.json of a DeepSeek-V2 or -V3 model (default: DeepSeek-V3's, R1's)")
    .option("--shards <list>", 'shards to fill: "5", "5-7,9" or "all"', parseShards)
    .addOption(new Option("--fill <kind>", "what data is").choices(["sparse", "random"]))
    .option("--seed <n>", "seed of the content", parseSeed, 1)
    .option("--parents <name...>", "make several, one per name, below <dir>")
    .option("--shard-size <bytes>", "a shard is closed when it passes this", parseSize, SHARD_BYTES)
    .addHelpText("after", HELP)
    .exitOverride();
  try {
    program.parse([...argv], { from: "user" });
    run(program.args[0]!, program.opts<Options>(), print);
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    console.error(`error: ${(error as Error).message}`);
    return error instanceof RangeError ? 2 : 1;
  }
}

function run(dir: string, options: Options, print: (line: string) => void): void {
  const { config, shards, fill, seed, parents, shardSize } = options;
  if (fill === "sparse" && shards)
    throw new RangeError("Cannot fill shards with --fill sparse, wanted --fill random");
  const configText = config === undefined ? V3_CONFIG_TEXT : readFileSync(config, "utf8");
  const layout = layOutParent(JSON.parse(configText), { shardBytes: shardSize });
  const total = layout.shards.length;
  const filled = shards ? shards(total) : fill === "random" ? undefined : new Set<number>();
  const targets = (parents ?? [""]).map((name, i) => ({ name, folder: join(dir, name), seed: seed + i }));
  for (const { folder } of targets) requireEmpty(folder);
  const bytes = layout.shards.map(({ tensors }, i) =>
    filled?.has(i + 1) === false ? 0 : tensors.reduce((sum, { byteLength }) => sum + byteLength, 0),
  );
  requireSpace(dir, targets.length * bytes.reduce((sum, value) => sum + value, 0));
  for (const { name, folder, seed } of targets) {
    const startedAt = performance.now();
    const report = writeParent(folder, {
      configText,
      seed,
      filled,
      shardBytes: shardSize,
      thinks: /^r1/i.test(name),
    });
    show(report, (performance.now() - startedAt) / 1000, print);
  }
}

function show(
  { folder, shards, filledShards, ...report }: ParentReport,
  seconds: number,
  print: (line: string) => void,
): void {
  const { tensors, tensorBytes, fileBytes, diskBytes } = report;
  print(`${folder}: ${shards} shards, ${filledShards} filled, in ${formatDuration(seconds)}`);
  print(
    `  tensors  ${formatInteger(tensors)}, ${formatInteger(tensorBytes)} bytes (${formatBytes(tensorBytes)})`,
  );
  for (const [dtype, { tensors, elements }] of report.dtypes) {
    print(`  ${dtype.padEnd(8)} ${formatInteger(tensors)} tensors, ${formatInteger(elements)} elements`);
  }
  print(`  files    ${formatInteger(fileBytes)} bytes; on disk they take ${formatBytes(diskBytes)}`);
}

function requireEmpty(folder: string): void {
  const found = existsSync(folder) ? readdirSync(folder)[0] : undefined;
  if (found === undefined) return;
  throw new RangeError(`Cannot write into "${folder}": it holds "${found}", wanted a new or empty folder`);
}

/** Filling all 163 shards by mistake would run for half an hour and end on a full disk. */
function requireSpace(dir: string, needed: number): void {
  let folder = resolve(dir);
  while (!existsSync(folder)) folder = dirname(folder);
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  if (needed <= free) return;
  throw new RangeError(
    `Cannot fill ${formatBytes(needed)} in "${dir}": ${formatBytes(free)} are free, wanted fewer shards`,
  );
}

function parseShards(text: string): (total: number) => Set<number> {
  return (total) => parseRanges(text, total);
}

function parseSeed(text: string): number {
  const seed = Number(text);
  if (!Number.isInteger(seed) || seed < 0 || seed > 2 ** 31)
    throw new InvalidArgumentError("wanted a whole number below 2^31");
  return seed;
}

function parseSize(text: string): number {
  const bytes = parseBytes(text);
  if (!bytes) throw new InvalidArgumentError('wanted a size such as "4GiB"');
  return bytes;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href)
  process.exitCode = main(process.argv.slice(2));
