/**
 * Everything about a checkpoint that is missing or odd, as plain problems with stable codes.
 *
 * An inspector reports; it refuses nothing. One cause gives one finding where that can be told: a layer that
 * is not there at all is not 1,564 missing tensors, and a scale that pairing has complained about is not
 * complained about again.
 */
import { configProblems } from "../arch/config-problems.ts";
import type { Problem } from "../base/errors.ts";
import { formatInteger } from "../base/format.ts";
import { shown } from "../checkpoint/shown.ts";
import { isFloat8 } from "../tensor/dtype.ts";
import { contentFindings } from "./content-findings.ts";
import { hasTokenizer } from "./side-files.ts";
import type { Subject } from "./subject.ts";

export function findings(subject: Subject): Problem[] {
  const { checkpoint, opened, sideFiles } = subject;
  const problems = [
    ...shardFindings(subject),
    ...configProblems(checkpoint.config),
    ...contentFindings(subject),
    ...storageFindings(subject),
  ];
  if (opened === "file") return problems; // the rest is about folders
  return [...problems, ...folderFindings(subject), ...sideFiles.problems];
}

function shardFindings({ checkpoint, opened }: Subject): Problem[] {
  const { problems, shards, label } = checkpoint;
  const found: Problem[] =
    opened === "index" ? problems.filter(({ code }) => code !== "missing-shard") : [...problems];
  if (opened === "index") {
    found.push({
      code: "no-shards",
      message: `Cannot read any of the ${formatInteger(shards.length)} shards that the index of "${label}" names: none is there`,
    });
  }
  const unmarked = shards.filter(({ header }) => header && header.metadata.get("format") !== "pt");
  if (unmarked.length > 0) {
    const which =
      unmarked.length === 1 ? `"${shown(unmarked[0]!.name)}"` : `${formatInteger(unmarked.length)} shards`;
    found.push({
      code: "no-format",
      message: `Found no "format": "pt" in the metadata of ${which} of "${label}"`,
      note: "Some versions of transformers refuse such files",
    });
  }
  return found;
}

/** Whether config.json and the stored types tell the same story. */
function storageFindings({ checkpoint, arch, inventory }: Subject): Problem[] {
  const { label, config } = checkpoint;
  const stored = inventory.filter(({ basis }) => basis === "header");
  const numFloat8 = stored.filter(({ dtype }) => dtype && isFloat8(dtype)).length;
  if (!config || stored.length === 0) return [];
  if (numFloat8 > 0 && arch.quantization === "none") {
    const message = `Found ${formatInteger(numFloat8)} FP8 tensors in "${label}" and no quantization_config in config.json`;
    return [{ code: "quantization-missing", message, note: "Loaders will take the codes for values" }];
  }
  const isWhole = checkpoint.unread.length === 0;
  if (numFloat8 === 0 && arch.quantization === "fp8-block" && isWhole) {
    const message = `Found no FP8 tensor in "${label}", and config.json has a quantization_config for FP8`;
    return [{ code: "quantization-unused", message }];
  }
  return [];
}

function folderFindings({ checkpoint, opened, sideFiles }: Subject): Problem[] {
  const { label, config } = checkpoint;
  const problems: Problem[] = [];
  if (!config) {
    const message = `Cannot find config.json of "${label}"`;
    problems.push({ code: "no-config", message, note: "Roles of tensors cannot be told without it" });
  }
  for (const file of sideFiles.missingCode) {
    const message = `Cannot find "${shown(file)}" of "${label}": auto_map in config.json names it`;
    problems.push({ code: "missing-code", message, note: "transformers wants it with trust_remote_code" });
  }
  if (!hasTokenizer(sideFiles))
    problems.push({ code: "no-tokenizer", message: `Found no tokenizer in "${label}"` });
  if (!sideFiles.chatTemplate && opened === "folder") {
    problems.push({ code: "no-chat-template", message: `Found no chat template in "${label}"` });
  }
  return problems;
}
