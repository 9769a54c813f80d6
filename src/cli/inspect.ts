/** chimera inspect: what is in a checkpoint, from headers alone. */
import type { Command } from "commander";
import { formatBytes, formatCount, formatInteger } from "../base/format.ts";
import type { InspectReport } from "../survey/inspect.ts";
import type { LayerKind, LayerTotal } from "../survey/totals.ts";
import { clean, columnsOfData, joined, paint, print, printJson, table, widthOf } from "./terminal.ts";

interface InspectCommandOptions {
  layers?: boolean;
  json?: boolean;
}

export function addInspect(program: Command): void {
  program
    .command("inspect")
    .description(
      "say what is in a checkpoint: tensors, types, roles, layers, tokenizer, template, and what is odd",
    )
    .argument(
      "<checkpoint>",
      "a folder, one .safetensors or .gguf file, or an index.json with or without its shards",
    )
    .option("--layers", "every layer on a line of its own")
    .option("--json", "the report as JSON on stdout, with every finding")
    .addHelpText(
      "after",
      `
Reads headers, index and config only, never tensor data. Whatever is missing or
odd is listed and the exit status is 0 all the same; a file that is malformed
ends with 3.

Examples:
  $ chimera inspect ./DeepSeek-R1
  $ chimera inspect ./DeepSeek-R1/model-00001-of-000163.safetensors
  $ chimera inspect ./R1-Q4_K_M-00001-of-00009.gguf       all parts of it
  $ chimera inspect ./model.safetensors.index.json        before downloading the shards
  $ chimera inspect ./DeepSeek-R1 --json | jq .problems`,
    )
    .action(async (location: string, options: InspectCommandOptions) => {
      const { inspect } = await import("../survey/inspect.ts");
      const { layerRuns } = await import("../survey/totals.ts");
      const report = await inspect(location);
      if (options.json) return printJson(report);
      showHead(report);
      showGguf(report);
      showTotals(report);
      showLayers(report, options.layers ? report.byLayer.map(alone) : layerRuns(report.byLayer));
      showFiles(report);
      showProblems(report);
    });
}

/** How a GGUF is stored; what follows is about what its tensors decode to. */
function showGguf({ gguf }: InspectReport): void {
  if (!gguf) return;
  const { version, files, fileBytes, byType, byRole, metadata } = gguf;
  const count = files.length === 1 ? "one file" : `${formatInteger(files.length)} files`;
  print(
    `GGUF version ${version}, ${count}, ${formatBytes(fileBytes)}, ${Object.keys(metadata).length} keys\n`,
  );
  const rows = [["stored as", "tensors", "elements", "bytes"].map(head)];
  for (const { type, tensors, elements, bytes } of byType)
    rows.push([type, formatInteger(tensors), formatInteger(elements), formatBytes(bytes)]);
  print(`${table(rows, { right: [1, 2, 3] })}\n`);
  const roles = byRole.map(({ role, types }) => [
    role,
    Object.entries(types)
      .map(([type, number]) => `${formatInteger(number)} ${type}`)
      .join(", "),
  ]);
  print(`${table([[head("role"), head("tensors of the file")], ...roles])}\n`);
  print(paint("dim", "As it is read, single experts apart and what is quantised decoded to F32:\n"));
}

const OPENED = { folder: "a folder", file: "one file", index: "an index, none of its shards is there" };

function showHead(report: InspectReport): void {
  const { architecture, quantization, config, shards, totals, basis, opened } = report;
  const { kind, block, scaleFormat } = quantization;
  const fp8 = `FP8 in blocks of ${block?.join("×")}${scaleFormat === "ue8m0" ? ", scales UE8M0" : ""}`;
  const storage =
    kind === "fp8-block"
      ? fp8
      : kind === "other"
        ? "quantised in a way of its own"
        : config
          ? "not quantised"
          : "quantisation not known";
  const form = report.gguf ? "GGUF" : storage;
  const what = report.gguf ? (report.gguf.files.length > 1 ? "a split file" : "one file") : OPENED[opened];
  const name = report.file ? `${report.label}/${report.file}` : report.label;
  print(`${paint("bold", clean(name))}  ${architecture.label} · ${form} · ${what}`);
  if (!architecture.known) print(paint("dim", "The architecture is not known: roles cannot be told."));
  if (basis.config > 0) {
    const which =
      basis.header === 0 ? "All dtypes, shapes and bytes" : `${formatInteger(basis.config)} tensors`;
    print(`${paint("yellow", "Not read:")} ${which} are as config.json says.`);
  }
  if (basis.name > 0) {
    const which = basis.header + basis.config === 0 ? "The" : `${formatInteger(basis.name)}`;
    print(`${paint("yellow", "Not read:")} ${which} tensors are known by name only, their sizes are not.`);
  }
  print();
  if (config) {
    const { layers, mtpLayers, routedExperts, sharedExperts, expertsPerToken, heads, keyValueHeads } = config;
    const experts = [
      routedExperts ? `${routedExperts} routed` : "",
      expertsPerToken ? `top ${expertsPerToken}` : "",
      sharedExperts ? `${sharedExperts} shared` : "",
    ];
    const facts: [string, string | undefined][] = [
      ["layers", layers && `${layers}${mtpLayers ? ` + ${mtpLayers} MTP` : ""}`],
      ["experts", experts.filter(Boolean).join(", ")],
      ["hidden", config.hiddenSize && formatInteger(config.hiddenSize)],
      [
        "heads",
        heads && `${heads}${keyValueHeads && keyValueHeads !== heads ? ` (${keyValueHeads} for keys)` : ""}`,
      ],
      ["vocabulary", config.vocabulary && formatInteger(config.vocabulary)],
      ["context", config.context && formatInteger(config.context)],
    ].map(([fact, value]) => [String(fact), value ? String(value) : undefined]);
    const shown = facts.flatMap(([fact, value]) => (value ? [`${paint("dim", fact)} ${value}`] : []));
    print(joined(shown, "  ·  ", columnsOfData()));
  }
  const { missing, count, fileBytes } = shards;
  const absent = missing.length > 0 ? ` (${formatInteger(missing.length)} missing)` : "";
  const sizes = `${formatInteger(totals.elements)} elements (${formatCount(totals.elements)})`;
  print(
    `${formatInteger(totals.tensors)} tensors, ${sizes}, ${formatInteger(totals.bytes)} bytes (${formatBytes(totals.bytes)})`,
  );
  const onDisk = missing.length < count ? `, ${formatInteger(fileBytes)} bytes on disk` : "";
  print(`${formatInteger(count)} shard${count === 1 ? "" : "s"}${absent}${onDisk}`);
  print();
}

function showTotals({ byDtype, byRole, totals }: InspectReport): void {
  const rows = [[...["dtype", "tensors", "elements", "bytes"].map(head), ""]];
  for (const { dtype, tensors, elements, bytes } of byDtype) {
    rows.push([dtype, ...[tensors, elements].map(formatInteger), formatBytes(bytes), formatInteger(bytes)]);
  }
  if (byDtype.length > 0) print(`${table(rows, { right: [1, 2, 3, 4] })}\n`);

  const byBytes = totals.bytes > 0;
  const shares = byRole.map(({ bytes, tensors }) =>
    byBytes ? bytes / totals.bytes : tensors / totals.tensors,
  );
  const roles = [
    [...["role", "tensors", "elements", "bytes"].map(head), head(byBytes ? "share of bytes" : "share")],
  ];
  for (const [index, { role, mtp, tensors, elements, bytes }] of byRole.entries()) {
    const numbers = [formatInteger(tensors), formatInteger(elements), formatBytes(bytes)];
    roles.push([roleName(role, mtp), ...numbers, percent(shares[index]!)]);
  }
  const right = [1, 2, 3, 4];
  const room = Math.min(MOST_BAR, columnsOfData() - widthOf(table(roles, { right })) - 2);
  const bars = shares.map((share) => bar(share / Math.max(...shares), room));
  print(
    `${table(
      roles.map((row, index) => [...row, bars[index - 1] ?? ""]),
      { right },
    )}\n`,
  );
}

/** The role `mtp` is what an MTP layer has beside attention, experts and norms. */
function roleName(role: string, mtp: boolean): string {
  return mtp ? `${role === "mtp" ? "extras" : role} (MTP)` : role;
}

interface ShownLayers {
  first: number;
  last: number;
  kind: LayerKind;
  tensors: number;
  bytes: number;
}

function alone({ layer, ...total }: LayerTotal): ShownLayers {
  return { first: layer, last: layer, ...total };
}

const KINDS: Record<LayerKind, string> = { dense: "dense", moe: "MoE", mtp: "MTP", other: "other" };

function showLayers({ outsideLayers }: InspectReport, layers: readonly ShownLayers[]): void {
  const rows = [["layers", "kind", "tensors each", "bytes each"].map(head)];
  for (const { first, last, kind, tensors, bytes } of layers) {
    const range = first === last ? `${first}` : `${first}–${last}`;
    rows.push([range, KINDS[kind], formatInteger(tensors), formatBytes(bytes)]);
  }
  const { tensors, bytes } = outsideLayers;
  if (tensors > 0) rows.push(["outside", "", formatInteger(tensors), formatBytes(bytes)]);
  print(`${table(rows, { right: [2, 3] })}\n`);
}

function showFiles({
  tokenizer,
  chatTemplate,
  generationConfig,
  licences,
  lineage,
  mtp,
  opened,
  config,
}: InspectReport): void {
  const rows: string[][] = [];
  const layers = `${mtp.layers.length === 1 ? "layer" : "layers"} ${mtp.layers.join(", ")}`;
  const where = opened === "file" ? "not in this file" : "absent, though config.json declares it";
  const declared = mtp.declared > 0 ? where : config ? "none" : "not known without config.json";
  rows.push(["MTP", mtp.layers.length > 0 ? `present: ${layers}, ${formatBytes(mtp.bytes)}` : declared]);
  if (opened !== "file" || tokenizer.files.length > 0) {
    const names = tokenizer.files.join(", ") || "none";
    rows.push(["tokenizer", tokenizer.class ? `${names} (${tokenizer.class})` : names]);
    rows.push(["template", chatTemplate ? `${chatTemplate.file} · ${describe(chatTemplate)}` : "none"]);
    const settings = Object.entries(generationConfig ?? {}).map(
      ([key, value]) => `${key} ${JSON.stringify(value)}`,
    );
    rows.push(["generation", generationConfig ? settings.join(", ") : "no generation_config.json"]);
    rows.push(["licence", licences.join(", ") || "no licence file"]);
  }
  if (lineage) {
    const parents = lineage.parents
      .map(({ name }) => (name === lineage.base ? `${name} (base)` : name))
      .join(" + ");
    const recipe = `recipe ${lineage.recipeFile ?? "in chimera.json"}, plan ${lineage.planDigest?.slice(0, 12) ?? "?"}`;
    rows.push(["lineage", `${parents}; ${recipe}`]);
  }
  print(`${table(rows.map(([name, value]) => [head(name!), clean(value!)]))}\n`);
}

function describe({ generationPrompt, others }: NonNullable<InspectReport["chatTemplate"]>): string {
  const more = others.length > 0 ? `; also ${others.join(", ")}` : "";
  if (!generationPrompt) return `no generation prompt${more}`;
  const { text, opensThink } = generationPrompt;
  const think = { true: "opens <think>", false: "does not open <think>", depends: "may open <think>" };
  return `prompt ends in ${JSON.stringify(text.slice(-60))}, ${think[`${opensThink}`]}${more}`;
}

const MOST_OF_A_KIND = 20;

function showProblems({ problems }: InspectReport): void {
  if (problems.length === 0) {
    print(`${paint("green", "ok")}  nothing is missing or odd`);
    return;
  }
  print(paint("yellow", `${formatInteger(problems.length)} finding${problems.length === 1 ? "" : "s"}`));
  for (const code of new Set(problems.map((problem) => problem.code))) {
    const alike = problems.filter((problem) => problem.code === code);
    for (const { message } of alike.slice(0, MOST_OF_A_KIND)) print(`  ${code}: ${clean(message)}`);
    const rest = alike.length - MOST_OF_A_KIND;
    if (rest > 0) print(`  ${code}: … and ${formatInteger(rest)} more (all of them with --json)`);
    const advice = alike.find(({ note }) => note)?.note;
    if (advice) print(paint("dim", `    ${clean(advice)}`));
  }
}

function head(text: string): string {
  return paint("dim", text);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

const MOST_BAR = 20;
const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/** A bar of so many columns, to an eighth of one. */
function bar(share: number, columns: number): string {
  const eighths = share > 0 ? Math.max(1, Math.round(share * columns * 8)) : 0;
  return paint("cyan", "█".repeat(Math.floor(eighths / 8)) + EIGHTHS[eighths % 8]!);
}
