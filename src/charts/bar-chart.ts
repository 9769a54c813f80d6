/** Differences as bars from a line in the middle, with whiskers; what may be chance is hollow. */
import { type AxisSpec, scaleOf } from "./axis.ts";
import { fittedText, frame, heading, line, round, telling, text, whisker, widthOf } from "./svg.ts";

export interface Bar {
  name: string;
  value: number;
  low?: number;
  high?: number;
  /** More than chance explains: filled. */
  isReal: boolean;
  title?: string;
  href?: string;
}

export interface BarChartSpec {
  title: string;
  description?: string;
  /** From the top. */
  bars: readonly Bar[];
  x: AxisSpec;
  width?: number;
}

const ROW = 24;

export function barChart({ title, description, bars, x: spec, width = 720 }: BarChartSpec): string {
  const known = bars.filter(({ value }) => Number.isFinite(value));
  const names = known.reduce((most, { name }) => Math.max(most, widthOf(name)), 40);
  const left = Math.min(names + 28, width / 2);
  const right = width - 28;
  const top = 44;
  const bottom = top + Math.max(1, known.length) * ROW;
  const ends = known.flatMap(({ value, low = value, high = value }) => [value, low, high]);
  const x = scaleOf(spec, [0, ...ends], { from: left, to: right, count: 6 });
  const zero = x.at(0);
  const draw = ({ name, value, low, high, isReal, title: told, href }: Bar, index: number) => {
    const middle = top + (index + 0.5) * ROW;
    const end = x.at(value);
    const shape = `d="M${round(zero)} ${round(middle - 7)}H${round(end)}v14H${round(zero)}z"`;
    const bar = `<path class="${isReal ? "f0" : "hollow l0"}" ${shape}/>`;
    const hasWhisker = Number.isFinite(low) && Number.isFinite(high);
    return [
      fittedText(left - 10, middle + 4, name, { width: left - 18, attributes: 'text-anchor="end"' }),
      telling(bar, told ?? `${name}: ${x.format(value)}`, href),
      ...(hasWhisker ? whisker(x.at(low!), middle, x.at(high!), middle) : []),
    ];
  };
  const size = { width, height: bottom + 64, hasLinks: known.some(({ href }) => href !== undefined) };
  return frame({ title, ...size, ...(description === undefined ? {} : { description }) }, [
    heading(title, width),
    ...x.ticks.flatMap((tick) => [
      line(x.at(tick), top, x.at(tick), bottom, "grid"),
      text(x.at(tick), bottom + 18, x.format(tick), 'class="soft" text-anchor="middle"'),
    ]),
    ...known.flatMap(draw),
    line(zero, top - 4, zero, bottom, "axis"),
    fittedText((left + right) / 2, bottom + 40, spec.label, {
      width: right - left,
      attributes: 'text-anchor="middle"',
    }),
    text(16, bottom + 58, "filled: more than chance explains · hollow: may be chance", 'class="soft"'),
  ]);
}
