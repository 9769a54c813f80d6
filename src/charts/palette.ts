/**
 * Colours of series: those of Okabe and Ito (Color Universal Design, 2008), which the colour-blind tell apart, darkened on
 * light pages and lightened on dark ones until they stand out from the page by 3 : 1.
 */

const LIGHT = ["#0072b2", "#c25700", "#007a5a", "#a3417f", "#7a6200", "#4b4b4b"];
const DARK = ["#56b4e9", "#f0954a", "#35c79b", "#e08fc0", "#e6c229", "#b8b8b8"];
export const NUM_SERIES: number = LIGHT.length;
/** Of lines: where two coincide, the gaps of the later one show the earlier. */
const DASHES = ["", "9 4", "3 3", "12 3 3 3", "6 6", "1 4"];

const NEUTRAL = {
  light: "--ink:#1c1c1e;--soft:#5c5c63;--grid:#e4e4e8;--page:#ffffff",
  dark: "--ink:#ececf0;--soft:#a5a5ad;--grid:#34343a;--page:#17171a",
};

/** Classes f0 … for what is filled, l0 … for lines, and the neutral tones as variables. */
export function paletteRules(): string {
  const variables = (colours: readonly string[]) => colours.map((colour, i) => `--s${i}:${colour}`).join(";");
  const classes = LIGHT.map((_, i) => {
    const dashes = DASHES[i] === "" ? "" : `.chart .line.l${i}{stroke-dasharray:${DASHES[i]}}`;
    return `.chart .f${i}{fill:var(--s${i})}.chart .l${i}{stroke:var(--s${i})}${dashes}`;
  }).join("");
  return [
    `.chart{${NEUTRAL.light};${variables(LIGHT)}}`,
    `@media (prefers-color-scheme:dark){.chart{${NEUTRAL.dark};${variables(DARK)}}}`,
    classes,
  ].join("");
}
