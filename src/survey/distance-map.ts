/**
 * The picture of a comparison: one self-contained SVG with two heat maps side by side, layers by roles and
 * layers by routed experts. Both share their rows, so that an odd layer is seen across. No scripts, no fonts,
 * no images; light by default, dark where the reader's system is.
 */
import { ROLES } from "../arch/place.ts";
import { formatInteger } from "../base/format.ts";
import { escapeXml } from "../charts/svg.ts";
import type { Aggregate, LayerRoleAggregate } from "./aggregate.ts";
import type { CompareReport } from "./compare.ts";
import { formatDistance } from "./distance.ts";
import {
  drawCells,
  drawLegend,
  type HeatCell,
  type HeatMap,
  LEGEND_WIDTH,
  type Rows,
  runsOf,
  scaleOf,
  text,
} from "./heat-map.ts";

const LEFT = 72;
const TOP = 176;
const ROLE_WIDTH = 24;
const GAP = 96;
const LEGEND_SPACE = 104;
/** Height that the rows of a full-size model share, and the width of its experts. */
const GRID_HEIGHT = 620;
const EXPERTS_WIDTH = 1024;

const STYLE = `
text{font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;font-size:12px;fill:#1f2328}
.title{font-size:17px;font-weight:600}.heading{font-size:13px;font-weight:600}.small,.faint{font-size:11px}
.faint{fill:#656d76}.page{fill:#fff}.same{fill:#cdd1d6}.frame,.line{fill:none;stroke:#8c959f;stroke-width:1}
@media (prefers-color-scheme:dark){text{fill:#e6e8eb}.faint{fill:#9aa3ad}.page{fill:#14171a}.same{fill:#4a5058}}`;

interface Layout {
  rows: Rows;
  labels: string[];
  indexOf: Map<string, number>;
  bottom: number;
}

/** What `compare` measured as an SVG document: layers by roles, and layers by experts where there are any. */
export function distanceMap(report: CompareReport): string {
  const layout = layOut(report);
  const roles = roleMap(report, layout);
  const rolesWidth = Math.max(roles.numColumns * ROLE_WIDTH, LEGEND_WIDTH);
  const experts = expertMap(report, layout, LEFT + rolesWidth + GAP);
  const maps = experts ? [roles, experts] : [roles];
  const last = maps.at(-1)!;
  const height = layout.bottom + LEGEND_SPACE;
  const { base, other, measure, sample, total } = report;
  const title = `${other.label} against ${base.label}`;
  const unit = measure === "rms" ? "rms difference" : "relative difference";
  const facts = [
    `${unit} of ${formatInteger(total.tensors)} tensors, ${formatInteger(total.identical)} of them identical`,
    `mean ${formatDistance(total[measure].mean)}, largest ${formatDistance(total[measure].max)}`,
    ...(sample === null ? [] : [`estimated from ${sample} pieces of each tensor`]),
  ];
  const mapsEnd = last.x + Math.max(last.numColumns * last.cellWidth, LEGEND_WIDTH);
  // Widths of letters are unknown here; these are generous.
  const textEnd = LEFT + Math.max(title.length * 11, facts.join("; ").length * 6.5);
  const width = Math.ceil(Math.max(mapsEnd, textEnd)) + 48;
  const parts = maps.flatMap((map) => {
    const scale = scaleOf(map);
    return [
      text(map.x, 84, map.heading, 'class="heading"'),
      ...layerLabels(layout, map),
      ...frames(layout, map),
      ...drawCells(map, layout.rows, scale),
      ...drawLegend(map.x, layout.bottom + 44, scale, unit),
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escapeXml(title)}</title>`,
    `<style>${STYLE}</style>`,
    `<path class="page" d="M0 0h${width}v${height}H0z"/>`,
    text(LEFT, 32, title, 'class="title"'),
    text(LEFT, 54, facts.join("; "), 'class="faint"'),
    '<g shape-rendering="crispEdges">',
    ...parts,
    "</g>",
    ...columnLabels(roles, rolesOf(report)),
    ...(experts ? expertLabels(experts) : []),
    "</svg>\n",
  ].join("\n");
}

/** Main layers from the top, a little apart the MTP layers, then what belongs to no layer. */
function layOut({ byLayerRole }: CompareReport): Layout {
  const keys = new Map<string, Pick<LayerRoleAggregate, "layer" | "mtp">>();
  for (const { layer, mtp } of byLayerRole)
    keys.set(`${layer}`, { ...(layer === undefined ? {} : { layer }), mtp });
  const sorted = [...keys.values()].sort(
    (a, b) => (a.layer ?? Number.MAX_VALUE) - (b.layer ?? Number.MAX_VALUE),
  );
  const height = Math.max(6, Math.min(18, Math.floor(GRID_HEIGHT / sorted.length)));
  const every = height >= 13 ? 1 : height >= 3 ? 5 : 20;
  const layout: Layout = { rows: { tops: [], height }, labels: [], indexOf: new Map(), bottom: TOP };
  const tops: number[] = [];
  for (const [index, { layer, mtp }] of sorted.entries()) {
    const before = sorted[index - 1];
    if (before && (before.mtp !== mtp || layer === undefined)) layout.bottom += 6;
    tops.push(layout.bottom);
    layout.bottom += height;
    layout.indexOf.set(`${layer}`, index);
    const isShown = mtp || layer === undefined || layer % every === 0;
    layout.labels.push(!isShown ? "" : layer === undefined ? "no layer" : mtp ? `MTP ${layer}` : `${layer}`);
  }
  layout.rows = { tops, height };
  return layout;
}

function layerLabels({ rows, labels }: Layout, { x, numRows }: HeatMap): string[] {
  const parts = [text(x - 8, TOP - 8, "layer", 'class="faint" text-anchor="end"')];
  for (const [index, label] of labels.slice(0, numRows).entries()) {
    const middle = rows.tops[index]! + rows.height / 2 + 4;
    if (label) parts.push(text(x - 8, middle, label, 'class="small" text-anchor="end"'));
  }
  return parts;
}

/** Round each run of rows, so that cells without a tensor are seen to be empty. */
function frames({ rows }: Layout, { x, cellWidth, numColumns, numRows }: HeatMap): string[] {
  const [tops, height] = [rows.tops.slice(0, numRows), rows.height];
  const starts = tops.flatMap((top, index) =>
    index === 0 || top > tops[index - 1]! + height ? [index] : [],
  );
  return starts.map((first, index) => {
    const last = (starts[index + 1] ?? tops.length) - 1;
    const bottom = tops[last]! + height;
    return `<path class="frame" d="M${x - 1} ${tops[first]! - 1}h${numColumns * cellWidth + 2}V${bottom + 1}H${x - 1}z"/>`;
  });
}

function rolesOf({ byLayerRole }: CompareReport): string[] {
  const found = new Set(byLayerRole.map(({ role }) => role));
  return ROLES.filter((role) => found.has(role));
}

function roleMap(report: CompareReport, { indexOf, labels }: Layout): HeatMap {
  const { measure } = report;
  const roles = rolesOf(report);
  const cells = report.byLayerRole.map((cell): HeatCell => {
    const { layer, role, tensors, identical } = cell;
    const what = `${tensors} ${tensors === 1 ? "tensor" : "tensors"}${identical ? `, ${identical} identical` : ""}`;
    const title = `${placeOf(layer)} · ${role} · ${formatDistance(cell[measure].mean)} (${what})`;
    return {
      row: indexOf.get(`${layer}`)!,
      column: roles.indexOf(role),
      value: meanOf(cell, measure),
      title,
    };
  });
  const describe = (row: number) => labels[row] ?? "";
  const [numColumns, numRows] = [roles.length, labels.length];
  return { heading: "by role", x: LEFT, cellWidth: ROLE_WIDTH, numColumns, numRows, cells, describe };
}

/** undefined where no expert stands alone: dense models, and experts fused into one tensor. */
function expertMap(
  { byLayerExpert, measure }: CompareReport,
  { indexOf, labels }: Layout,
  x: number,
): HeatMap | undefined {
  if (byLayerExpert.length === 0) return undefined;
  const numColumns = 1 + byLayerExpert.reduce((most, { expert }) => Math.max(most, expert), 0);
  const cellWidth = Math.max(1, Math.min(22, Math.floor(EXPERTS_WIDTH / numColumns)));
  const layers = new Map<number, number>();
  const cells = byLayerExpert.map((cell): HeatCell => {
    const { layer, expert } = cell;
    const row = indexOf.get(`${layer}`)!;
    layers.set(row, layer);
    const title = `${placeOf(layer)} · expert ${expert} · ${formatDistance(cell[measure].mean)}`;
    return { row, column: expert, value: meanOf(cell, measure), title };
  });
  const describe = (row: number, columns: readonly number[], values: readonly number[]): string => {
    const sorted = values.toSorted((a, b) => a - b);
    const range = [...new Set([sorted[0]!, sorted.at(-1)!].map(formatDistance))].join("–");
    const experts = runsOf(columns).map(([first, last]) =>
      first === last ? `${first}` : `${first}–${last}`,
    );
    return `${placeOf(layers.get(row))} · ${range} · experts ${experts.join(", ")}`;
  };
  // What belongs to no layer has no experts; it is the last row.
  const numRows = labels.length - (indexOf.has("undefined") ? 1 : 0);
  return { heading: "by routed expert", x, cellWidth, numColumns, numRows, cells, describe };
}

function placeOf(layer: number | undefined): string {
  return layer === undefined ? "no layer" : `layer ${layer}`;
}

function meanOf(cell: Aggregate, measure: "rms" | "relative"): number {
  return cell[measure].mean ?? Number.POSITIVE_INFINITY;
}

function columnLabels({ x, cellWidth }: HeatMap, roles: readonly string[]): string[] {
  return roles.map((role, column) => {
    const [left, top] = [x + (column + 0.5) * cellWidth, TOP - 8];
    return text(left, top, role, `class="small" transform="rotate(-45 ${left} ${top})"`);
  });
}

function expertLabels({ x, cellWidth, numColumns }: HeatMap): string[] {
  const room = numColumns <= 32 ? 20 : 48;
  const step = [1, 2, 4, 8, 16, 32, 64].find((columns) => columns * cellWidth >= room) ?? 128;
  const labels: string[] = [];
  for (let expert = 0; expert < numColumns; expert += step) {
    labels.push(
      text(x + (expert + 0.5) * cellWidth, TOP - 8, `${expert}`, 'class="small" text-anchor="middle"'),
    );
  }
  return [...labels, text(x, TOP - 26, "expert", 'class="faint"')];
}
