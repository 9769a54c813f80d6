/** A plan as text that a person can check, line by line. Without what differs from machine to machine. */
import type { BuildPlan, PlanOperand } from "../../src/plan/plan.ts";

export function planText(plan: BuildPlan): string {
  const named = (index: number) => plan.parents[index]!.name;
  const range = ({ parent, shard, offset }: { parent: number; shard: string; offset: number }) =>
    `${named(parent)}/${shard}@${offset}`;
  const operand = (each: PlanOperand) => {
    const scale = each.scale ? ` × ${each.scale.dtype} ${range({ parent: each.parent, ...each.scale })}` : "";
    return `${each.dtype} ${range(each)}${scale}`;
  };
  const lines = [
    `digest   ${plan.digest}`,
    `parents  ${plan.parents.map(({ name, digest }) => `${name} ${digest.slice(0, 16)}`).join(", ")}; base ${named(plan.base)}`,
    `output   ${JSON.stringify(plan.output)}`,
    `files    config ${named(plan.files.config)}, tokenizer ${named(plan.files.tokenizer)}, template ${named(plan.files.chatTemplate)}`,
    `totals   ${JSON.stringify(plan.totals)}`,
  ];
  for (const warning of plan.warnings) lines.push(`warning  ${warning}`);
  for (const { parent, copied, merged, leftOut } of plan.accounts) {
    lines.push(`account  ${parent}: ${copied} copied, ${merged} merged`);
    for (const { reason, tensors } of leftOut)
      lines.push(`         left out, ${reason}: ${tensors.join(" ")}`);
  }
  for (const [
    index,
    { name, shape, dtype, scaleDtype, rule, inputs, test, sumsToOne },
  ] of plan.merges.entries()) {
    const by = rule === undefined ? "" : `, rule ${rule + 1}`;
    lines.push(
      "",
      `merge ${index}  ${name} [${shape}] -> ${dtype}${scaleDtype ? ` × ${scaleDtype}` : ""}${by}${sumsToOne ? ", sums to 1" : ""}`,
    );
    for (const input of inputs) lines.push(`         ${input.weight} · ${operand(input)}`);
    if (!test) continue;
    lines.push(`         if ${test.measure} > ${test.threshold} from ${operand(test.base)}`);
    for (const other of test.others) lines.push(`           to ${operand(other)}`);
  }
  for (const { name, metadata, byteLength, dataStart, tensors } of plan.shards) {
    lines.push("", `shard    ${name} ${byteLength} bytes, data at ${dataStart}, ${JSON.stringify(metadata)}`);
    for (const { name, dtype, shape, offset, byteLength, part, rank, action } of tensors) {
      const from = action.kind === "copy" ? `copy ${range(action)}` : `merge ${action.merge}`;
      lines.push(`  ${offset} +${byteLength}  ${name} ${dtype} [${shape}] ${part} #${rank}  ${from}`);
    }
  }
  return `${lines.join("\n")}\n`;
}
