/**
 * A report as one HTML file: no network, no script, light and dark, to print and to read aloud. Sections are plain
 * data; everything that is not a chart is escaped.
 */
import { escapeXml } from "./svg.ts";

export type ReportBlock =
  | { kind: "text"; text: string }
  /** An SVG of one of the charts. */
  | { kind: "chart"; svg: string; caption?: string }
  | {
      kind: "table";
      caption: string;
      columns: readonly TableColumn[];
      rows: readonly (readonly TableCell[])[];
    }
  | { kind: "facts"; facts: readonly (readonly [label: string, value: string])[] }
  | { kind: "code"; text: string }
  | { kind: "details"; summary: string; blocks: readonly ReportBlock[] };

export interface TableColumn {
  label: string;
  isNumber?: boolean;
}

export type TableCell = string | { text: string; href: string };

export interface ReportSection {
  heading: string;
  blocks: readonly ReportBlock[];
}

export interface Report {
  title: string;
  /** One sentence under the title. */
  lead?: string;
  sections: readonly ReportSection[];
}

const STYLE = `
:root{color-scheme:light dark;--ink:#1c1c1e;--soft:#5c5c63;--rule:#dcdce2;--page:#fff;--panel:#f5f5f7;--link:#005a9c}
@media (prefers-color-scheme:dark){:root{--ink:#ececf0;--soft:#a5a5ad;--rule:#34343a;--page:#17171a;--panel:#222226;--link:#7cc0f5}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main,header{max-width:60rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2.5rem}main{padding-bottom:4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .4rem}h2{font-size:1.3rem;margin:2.6rem 0 .6rem}
.lead{color:var(--soft);font-size:1.1rem;margin:0 0 1rem}p{max-width:44rem;margin:.6rem 0}
a{color:var(--link)}
figure{margin:1.2rem 0;overflow-x:auto}figure svg{max-width:100%;min-width:34rem;height:auto;display:block}
figcaption,caption{color:var(--soft);font-size:.9rem;text-align:left;padding:.3rem 0}
.scroll{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:.3rem .9rem .3rem 0;text-align:left;border-bottom:1px solid var(--rule);vertical-align:top}
.n,th[scope=row]{white-space:nowrap}@media (max-width:40rem){th[scope=row]{white-space:normal}}
th{font-weight:600}.n{text-align:right}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem;margin:1rem 0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
pre{background:var(--panel);padding:.8rem 1rem;overflow-x:auto;border-radius:6px;font-size:.88rem;line-height:1.45}
details{margin:1rem 0}summary{cursor:pointer;font-weight:600}
@media print{details::details-content{content-visibility:visible;block-size:auto}body{font-size:11pt}main,header{max-width:none}.scroll,figure{overflow:visible}figure svg{min-width:0}table{font-size:7.5pt}th,td{padding-right:.5rem;white-space:normal}figure,tr{break-inside:avoid}}
`;

export function htmlReport({ title, lead, sections }: Report): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<title>${escapeXml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>${escapeXml(title)}</h1>
${lead === undefined ? "" : `<p class="lead">${escapeXml(lead)}</p>\n`}</header>
<main>
${sections.map(drawSection).join("\n")}
</main>
</body>
</html>
`;
}

function drawSection({ heading, blocks }: ReportSection): string {
  return `<section>\n<h2>${escapeXml(heading)}</h2>\n${blocks.map(drawBlock).join("\n")}\n</section>`;
}

function drawBlock(block: ReportBlock): string {
  switch (block.kind) {
    case "text":
      return `<p>${escapeXml(block.text)}</p>`;
    case "chart": {
      const caption =
        block.caption === undefined ? "" : `<figcaption>${escapeXml(block.caption)}</figcaption>`;
      return `<figure tabindex="0">${block.svg}${caption}</figure>`; // it scrolls on a narrow screen
    }
    case "table":
      return drawTable(block);
    case "facts": {
      const facts = block.facts.map(
        ([label, value]) => `<dt>${escapeXml(label)}</dt><dd>${escapeXml(value)}</dd>`,
      );
      return `<dl>\n${facts.join("\n")}\n</dl>`;
    }
    case "code":
      // Long lines scroll: whoever reads by keyboard must get there.
      return `<pre tabindex="0"><code>${escapeHtmlText(block.text)}</code></pre>`;
    case "details":
      return `<details>\n<summary>${escapeXml(block.summary)}</summary>\n${block.blocks.map(drawBlock).join("\n")}\n</details>`;
    default:
      throw block satisfies never;
  }
}

function drawTable({ caption, columns, rows }: Extract<ReportBlock, { kind: "table" }>): string {
  const side = (index: number) => (columns[index]?.isNumber ? ' class="n"' : "");
  const head = columns
    .map(({ label }, i) =>
      // A corner without a word heads nothing.
      label === "" ? "<td></td>" : `<th scope="col"${side(i)}>${escapeXml(label)}</th>`,
    )
    .join("");
  const body = rows.map((row) => {
    const cells = row.map((cell, i) =>
      i === 0 ? `<th scope="row"${side(i)}>${drawCell(cell)}</th>` : `<td${side(i)}>${drawCell(cell)}</td>`,
    );
    return `<tr>${cells.join("")}</tr>`;
  });
  return [
    `<div class="scroll" tabindex="0" role="region" aria-label="${escapeXml(caption)}">`,
    `<table>\n<caption>${escapeXml(caption)}</caption>`,
    `<thead><tr>${head}</tr></thead>`,
    `<tbody>\n${body.join("\n")}\n</tbody>\n</table>\n</div>`,
  ].join("\n");
}

function drawCell(cell: TableCell): string {
  if (typeof cell === "string") return escapeXml(cell);
  return `<a href="${escapeXml(cell.href)}">${escapeXml(cell.text)}</a>`;
}

/** Line feeds and tabs stay. */
function escapeHtmlText(text: string): string {
  return text
    .replace(/[^\P{Cc}\n\t]/gu, "\ufffd")
    .replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`);
}
