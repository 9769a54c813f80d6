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
  /** Something in it leads somewhere: an image is one thing to a screen reader, whose links it does not tell. */
  hasLinks?: boolean;
}

const STYLE = [
  ".chart{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;color-scheme:light dark}",
  ".chart text{fill:var(--ink)}.chart .soft{fill:var(--soft)}.chart .title{font-size:15px;font-weight:600}",
  ".chart .grid{stroke:var(--grid);stroke-width:1}.chart .axis{stroke:var(--soft);stroke-width:1}",
  ".chart .page{fill:var(--page)}.chart .line{fill:none;stroke-width:2;stroke-linejoin:round}",
  ".chart .band{stroke:none;opacity:.16}.chart .reference{stroke:var(--soft);stroke-width:1.5;stroke-dasharray:6 4}",
  // A whisker lies on the bar that it belongs to: the page's colour around it keeps them apart.
  ".chart .halo{stroke:var(--page);stroke-width:4.5}.chart .whisker{stroke:var(--ink);stroke-width:1.5}.chart .mark{stroke:var(--page);stroke-width:1}",
  ".chart .hollow{fill:var(--page);stroke-width:1.5}.chart a:focus-visible .mark{stroke:var(--ink);stroke-width:2}",
].join("");

/** The document around some parts. */
export function frame(
  { title, description, width, height, hasLinks = false }: Frame,
  parts: readonly string[],
): string {
  const label = description === undefined ? title : `${title}. ${description}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 ${round(width)} ${round(height)}" width="${round(width)}" height="${round(height)}" role="${hasLinks ? "group" : "img"}" aria-label="${escapeXml(label)}">`,
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
  // Four shapes and six colours: twelve series before a pair comes again.
  const shape = series % 4;
  const name = `mark f${series % NUM_SERIES}`;
  if (shape === 0) return `<circle class="${name}" cx="${cx}" cy="${cy}" r="${r}"/>`;
  if (shape === 1)
    return `<path class="${name}" d="M${round(x - size)} ${round(y - size)}h${2 * size}v${2 * size}h${-2 * size}z"/>`;
  const tall = 1.3 * size;
  if (shape === 2)
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
  return CHARACTER * [...content].length;
}

/** As much of a text as fits so many pixels, with a sign where something is missing. */
export function fitted(content: string, width: number): string {
  const characters = [...content];
  const most = Math.max(1, Math.floor(width / CHARACTER));
  return characters.length <= most
    ? content
    : `${characters
        .slice(0, most - 1)
        .join("")
        .trimEnd()}…`;
}

/** A text that may be cut, with all of it for whoever points at it. */
export function fittedText(
  x: number,
  y: number,
  content: string,
  { width, attributes = "" }: { width: number; attributes?: string },
): string {
  const short = fitted(content, width);
  const drawn = text(x, y, short, attributes);
  return short === content ? drawn : telling(drawn, content);
}

/** The title over a chart. */
export function heading(title: string, width: number): string {
  // Of 15 pixels where the rest has 13.
  return fittedText(16, 24, title, { width: (width - 32) / 1.2, attributes: 'class="title"' });
}

/** The middle of an interval and its ends, from (x1, y1) to (x2, y2). */
export function whisker(x1: number, y1: number, x2: number, y2: number): string[] {
  const [dx, dy] = x1 === x2 ? [3, 0] : [0, 3];
  const lines = [
    [x1, y1, x2, y2],
    [x1 - dx, y1 - dy, x1 + dx, y1 + dy],
    [x2 - dx, y2 - dy, x2 + dx, y2 + dy],
  ] as const;
  return ["halo", "whisker"].flatMap((name) => lines.map(([a, b, c, d]) => line(a, b, c, d, name)));
}

const LEGEND_LINE = 20;
const CHARACTER = 7.2;

/** Names of series, from left to right, in as many lines as it takes; and how high that is. */
export function legend(
  names: readonly string[],
  { x, y, width }: { x: number; y: number; width: number },
): { parts: string[]; height: number } {
  const parts: string[] = [];
  let [at, top] = [x, y];
  for (const [series, name] of names.entries()) {
    const shown = fitted(name, width - 34);
    const size = 16 + widthOf(shown) + 18;
    if (at > x && at + size > x + width) [at, top] = [x, top + LEGEND_LINE];
    parts.push(
      marker(series, at + 5, top - 4),
      telling(text(at + 16, top, shown), shown === name ? undefined : name),
    );
    at += size;
  }
  return { parts, height: names.length === 0 ? 0 : top - y + LEGEND_LINE };
}
