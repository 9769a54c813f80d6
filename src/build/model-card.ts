/**
 * The child's README.md: a model card that the Hub understands and people can read. Only what is known
 * from the build; no number that was not counted.
 */

import { type EngineFacts, engineCommands, engineFacts } from "../arch/engines.ts";
import { formatBytes, formatInteger } from "../base/format.ts";
import { VERSION } from "../base/version.ts";
import type { Store } from "../checkpoint/source.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { hubName } from "./base-models.ts";

export interface CardFacts {
  licence: string | undefined;
  /** How engines see the child; undefined where its config says too little. */
  engines?: EngineFacts;
}

export function modelCard(plan: BuildPlan, { licence, engines }: CardFacts): string {
  const { parents, totals, output } = plan;
  const base = parents[plan.base]!;
  const named = (index: number) => parents[index]!.name;
  const { copied, merged } = totals.tensors;
  const how =
    merged === 0
      ? "Every tensor is a byte-for-byte copy from one of the parents."
      : `${formatInteger(copied)} tensors are byte-for-byte copies, ${formatInteger(merged)} are computed (merged or converted).`;
  const lines = [
    "---",
    ...(licence ? [`license: ${licence}`] : []),
    "library_name: transformers",
    "pipeline_tag: text-generation",
    "tags: [merge, moe, assembly-of-experts, chimera]",
    ...baseModelLines(parents.map(({ location }) => hubName(location))),
    "---",
    "",
    "# A child by Assembly of Experts",
    "",
    `Made from ${parents.length} parent${parents.length === 1 ? "" : "s"} without training, tensor by tensor ` +
      `([Assembly of Experts](https://arxiv.org/abs/2506.14794)), with Chimera ${VERSION}. ${how}`,
    "",
    "| parent | part | headers (SHA-256) | revision |",
    "|---|---|---|---|",
    ...parents.map(({ name, digest, revision }, index) => {
      const parts = [
        ...(index === plan.base ? ["base"] : []),
        ...(index === plan.files.tokenizer ? ["tokenizer"] : []),
        ...(index === plan.files.chatTemplate ? ["chat template"] : []),
      ];
      return `| ${name} | ${parts.join(", ") || "donor"} | \`${digest.slice(0, 16)}…\` | ${revision ?? "–"} |`;
    }),
    "",
    "## Recipe",
    "",
    "```yaml",
    plan.recipe.trimEnd(),
    "```",
    "",
    "## Contents",
    "",
    `- ${formatInteger(totals.elements)} elements in ${formatInteger(totals.tensors.all)} tensors, ` +
      `${formatBytes(totals.tensorBytes)} in ${plan.shards.length} shard${plan.shards.length === 1 ? "" : "s"}` +
      `${output.quantized ? ", FP8 (E4M3) with block scales" : ""}`,
    `- The chat template is that of ${named(plan.files.chatTemplate)}. It decides much of whether a child thinks: ` +
      "serve the child with the template that lies in its folder.",
    `- Plan \`${plan.digest}\`. \`chimera.json\` holds the recipe and the SHA-256 of every file; ` +
      "`chimera verify` checks the child against its parents.",
    "",
    ...(engines ? howToRun(engines) : []),
    "## Limits",
    "",
    `Nothing was trained or evaluated in making it. It inherits limits and licences of its parents (base: ${base.name}).`,
    "",
  ];
  return lines.join("\n");
}

/** GPUs that many have; `chimera serve --print` makes the commands for others. */
const CARD_GPU_BYTES = 141e9;
const CARD_GPUS = 8;

/** The child does not know where it lies: the folder is a variable. */
function howToRun(facts: EngineFacts): string[] {
  const options = { gpuBytes: CARD_GPU_BYTES, gpusPerNode: CARD_GPUS, location: '"$CHILD"', name: "child" };
  const lines = [
    "## How to run it",
    "",
    "`CHILD` is this folder. The commands follow the engines' documentation; none was run.",
    "",
  ];
  for (const engine of ["vllm", "sglang"] as const) {
    const { commands } = engineCommands(engine, facts, options);
    lines.push(
      ...["```bash", ...commands.map(({ about, command }) => `# ${about}\n${command.join(" ")}`), "```", ""],
    );
  }
  const where = `${CARD_GPUS} GPUs of ${formatBytes(CARD_GPU_BYTES)} a node`;
  lines.push(
    `These are for ${where}. \`chimera serve --print vllm|sglang|llama.cpp FOLDER --gpu-memory 80GB\` gives those for others, ` +
      "and `chimera serve FOLDER` runs it on a CPU.",
    "",
  );
  return lines;
}

/** Of those parents that have a name on the Hub: any other name would link to somebody else's model there. */
export function baseModelLines(names: readonly (string | undefined)[]): string[] {
  const known = [...new Set(names.filter((name) => name !== undefined))];
  if (known.length === 0) return [];
  return ["base_model:", ...known.map((name) => `  - ${JSON.stringify(name)}`), "base_model_relation: merge"];
}

/** From the files of the child that are not shards. */
export function cardFacts(
  plan: BuildPlan,
  files: ReadonlyMap<string, Uint8Array>,
): { engines?: EngineFacts } {
  const text = (name: string) => {
    const bytes = files.get(name);
    return bytes && new TextDecoder().decode(bytes);
  };
  const json = (name: string): unknown => {
    try {
      return JSON.parse(text(name) ?? "null");
    } catch {
      return undefined; // a parent's own fault, which the build tells elsewhere
    }
  };
  const config = json("config.json");
  if (typeof config !== "object" || config === null) return {};
  const inConfig = (json("tokenizer_config.json") as { chat_template?: unknown } | null | undefined)
    ?.chat_template;
  const template = text("chat_template.jinja") ?? (typeof inConfig === "string" ? inConfig : undefined);
  const names = plan.shards.flatMap(({ tensors }) => tensors.map(({ name }) => name));
  const { tensorBytes: bytes } = plan.totals;
  return { engines: engineFacts(config, { names, bytes, template }) };
}

/**
 * The licence that the parents' own cards state: one when all that state one agree, else none. A child of
 * parents under different licences needs a person to decide.
 */
export async function statedLicence(stores: readonly Store[]): Promise<string | undefined> {
  const stated = new Set<string>();
  for (const store of stores) {
    const bytes = await store.readSmall("README.md", 5_000_000);
    const head = bytes && /^---\r?\n([\s\S]*?)\r?\n---/.exec(new TextDecoder().decode(bytes))?.[1];
    const licence = head && /^license:[ \t]*([\w.-]+)[ \t]*$/m.exec(head)?.[1];
    if (licence) stated.add(licence);
  }
  return stated.size === 1 ? [...stated][0] : undefined;
}
