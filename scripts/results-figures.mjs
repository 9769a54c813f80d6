// Copies the plots of a sweep, an ablation and a search into docs/img, for docs/RESULTS.md. Their links lead to runs, which are
// not in the repository: they are left out, and what is then one picture says so.
//
// Usage: node scripts/results-figures.mjs SWEEP ABLATION SEARCH     the folders that the commands have written
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [sweep, ablation, search] = process.argv.slice(2);
if (search === undefined) {
  console.error(
    "Cannot copy figures: a folder is missing, wanted those of a sweep, an ablation and a search",
  );
  process.exit(2);
}
const FIGURES = {
  "sweep-accuracy.svg": join(sweep, "accuracy.svg"),
  "sweep-thinking.svg": join(sweep, "thinking.svg"),
  "sweep-tokens.svg": join(sweep, "tokens.svg"),
  "sweep-refusals.svg": join(sweep, "refusals.svg"),
  "ablation-accuracy.svg": join(ablation, "accuracy.svg"),
  "search-front.svg": join(search, "front.svg"),
  "search-growth.svg": join(search, "growth.svg"),
};
const folder = join(dirname(fileURLToPath(import.meta.url)), "../docs/img");
for (const [name, source] of Object.entries(FIGURES)) {
  const svg = readFileSync(source, "utf8")
    .replace(/<a href="[^"]*">(.*?)<\/a>/gs, "$1")
    .replace(' role="group"', ' role="img"');
  writeFileSync(join(folder, name), svg);
  console.log(`docs/img/${name}`);
}
