/**
 * The frame that all charts share: an SVG that needs nothing beside itself, light and dark, with text for those who do not
 * see it. Numbers are rounded to a tenth of a pixel, so that equal data give equal bytes.
 *
 * Several of them stand in one page: no ids, and every rule begins with the class of the frame.
 */
import { NUM_SERIES, paletteRules } from "./palette.ts";

export interface Frame {
  title: string;
  /** What there is to see, for those who do not see it. */
  description?: string;
  width: number;
  height: number;
}

const STYLE = [
  ".chart{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;color-scheme:light dark}",
  ".chart text{fill:var(--ink)}.chart .soft{fill:var(--soft)}.chart .title{font-size:15px;font-weight:600}",
  ".chart .grid{stroke:var(--grid);stroke-width:1}.chart .axis{stroke:var(--soft);stroke-width:1}",
  ".chart .page{fill:var(--page)}.chart .line{fill:none;stroke-width:2;stroke-linejoin:round}",
  ".chart .band{stroke:none;opacity:.16}.chart .reference{stroke:var(--soft);stroke-width:1.5;stroke-dasharray:6 4}",
  ".chart .whisker{stroke:var(--ink);stroke-width:1.25}.chart .mark{stroke:var(--page);stroke-width:1}",
  ".chart .hollow{fill:var(--page);stroke-width:1.5}.chart a:focus-visible .mark{stroke:var(--ink);stroke-width:2}",
].join("");

/** The document around some parts. */
export function frame({ title, description, width, height }: Frame, parts: readonly string[]): string {
  const label = description === undefined ? title : `${title}. ${description}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 ${round(width)} ${round(height)}" width="${round(width)}" height="${round(height)}" role="img" aria-label="${escapeXml(label)}">`,
    `<title>${escapeXml(title)}</title>`,
    ...(description === undefined ? [] : [`<desc>${escapeXml(description)}</desc>`]),
    `<style>${STYLE}${paletteRules()}</style>`,
    `<rect class="page" width="${round(width)}" height="${round(height)}"/>`,
    ...parts,
    "</svg>\n",
  ].join("\n");
}

export function text(x: number, y: number, content: string, attributes = ""): string {
  return `<text x="${round(x)}" y="${round(y)}"${attributes === "" ? "" : ` ${attributes}`}>${escapeXml(content)}</text>`;
}

export function line(x1: number, y1: number, x2: number, y2: number, name: string): string {
  return `<path class="${name}" d="M${round(x1)} ${round(y1)}L${round(x2)} ${round(y2)}"/>`;
}

/** A shape for each series, so that colour is not all that tells them apart. */
export function marker(series: number, x: number, y: number, size = 4): string {
  const [cx, cy, r] = [round(x), round(y), round(size)];
  const shape = series % NUM_SERIES;
  const name = `mark f${shape}`;
  if (shape % 4 === 0) return `<circle class="${name}" cx="${cx}" cy="${cy}" r="${r}"/>`;
  if (shape % 4 === 1)
    return `<path class="${name}" d="M${round(x - size)} ${round(y - size)}h${2 * size}v${2 * size}h${-2 * size}z"/>`;
  const tall = 1.3 * size;
  if (shape % 4 === 2)
    return `<path class="${name}" d="M${cx} ${round(y - tall)}l${round(tall)} ${round(2 * size)}h${round(-2 * tall)}z"/>`;
  return `<path class="${name}" d="M${cx} ${round(y - tall)}l${round(tall)} ${round(tall)}l${round(-tall)} ${round(tall)}l${round(-tall)} ${round(-tall)}z"/>`;
}

/** A mark that says something when one points at it, and leads somewhere where it is to. */
export function telling(mark: string, title: string | undefined, href?: string): string {
  const named = title === undefined ? mark : `<g>${mark}<title>${escapeXml(title)}</title></g>`;
  return href === undefined ? named : `<a href="${escapeXml(href)}">${named}</a>`;
}

export function round(value: number): number {
  return Math.round(value * 10) / 10 + 0; // no -0
}

/** XML has no place for most control characters, escaped or not. */
export function escapeXml(content: string): string {
  return content
    .replace(/[\p{Cc}\p{Cs}\ufffe\uffff]/gu, "\ufffd")
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Of text in the charts' font, roughly: what is measured nowhere must not be placed to the pixel. */
export function widthOf(content: string): number {
  return 7.2 * [...content].length;
}

const LEGEND_LINE = 20;

/** Names of series, from left to right, in as many lines as it takes; and how high that is. */
export function legend(
  names: readonly string[],
  { x, y, width }: { x: number; y: number; width: number },
): { parts: string[]; height: number } {
  const parts: string[] = [];
  let [at, top] = [x, y];
  for (const [series, name] of names.entries()) {
    const size = 16 + widthOf(name) + 18;
    if (at > x && at + size > x + width) [at, top] = [x, top + LEGEND_LINE];
    parts.push(marker(series, at + 5, top - 4), text(at + 16, top, name));
    at += size;
  }
  return { parts, height: names.length === 0 ? 0 : top - y + LEGEND_LINE };
}
