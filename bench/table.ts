/** Tables as plain text: aligned columns, and a last line that says where it ran. */
import { execFileSync } from "node:child_process";
import { availableParallelism, cpus } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

export function printLine(text = ""): void {
  process.stdout.write(`${text}\n`);
}

/** Prints rows under a title. Numbers, with or without a unit, stand to the right of their column. */
export function printTable(
  title: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const all = [head, ...rows];
  const widths = head.map((_, col) => Math.max(...all.map((row) => (row[col] ?? "").length)));
  const isNumeric = head.map((_, col) =>
    rows.every((row) => /^(?:[≈<]?[\d.,]+ ?[^\d\s]*|–)?$/.test(row[col] ?? "")),
  );
  printLine(`\n${title}`);
  for (const row of all) {
    const cells = head.map((_, col) => {
      const cell = row[col] ?? "";
      return isNumeric[col] ? cell.padStart(widths[col]!) : cell.padEnd(widths[col]!);
    });
    printLine(cells.join("  ").trimEnd());
  }
}

let where: string | undefined;

/** node ‹version› · ‹cpu›, ‹threads› threads · ‹commit› · what was checked */
export function printFooter(checked: string): void {
  const model = cpus()[0]?.model.trim() || process.arch;
  where ??= `node ${process.versions.node} · ${model}, ${availableParallelism()} threads · ${commit()}`;
  printLine(`${where} · ${checked}`);
}

/** The commit, with a + when the working tree differs from it; "no commit" outside git. */
function commit(): string {
  const cwd = dirname(fileURLToPath(import.meta.url));
  const git = (...args: string[]): string =>
    execFileSync("git", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    return git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain") === "" ? "" : "+");
  } catch {
    return "no commit";
  }
}
