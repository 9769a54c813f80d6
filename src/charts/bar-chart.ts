/** Differences as bars from a line in the middle, with whiskers; what may be chance is hollow. */
import { type AxisSpec, scaleOf } from "./axis.ts";
import { frame, line, round, telling, text, widthOf } from "./svg.ts";

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
      text(left - 10, middle + 4, name, 'text-anchor="end"'),
      telling(bar, told ?? `${name}: ${x.format(value)}`, href),
      ...(hasWhisker
        ? [
            line(x.at(low!), middle, x.at(high!), middle, "whisker"),
            line(x.at(low!), middle - 3, x.at(low!), middle + 3, "whisker"),
            line(x.at(high!), middle - 3, x.at(high!), middle + 3, "whisker"),
          ]
        : []),
    ];
  };
  return frame({ title, width, height: bottom + 64, ...(description === undefined ? {} : { description }) }, [
    text(16, 24, title, 'class="title"'),
    ...x.ticks.flatMap((tick) => [
      line(x.at(tick), top, x.at(tick), bottom, "grid"),
      text(x.at(tick), bottom + 18, x.format(tick), 'class="soft" text-anchor="middle"'),
    ]),
    ...known.flatMap(draw),
    line(zero, top - 4, zero, bottom, "axis"),
    text((left + right) / 2, bottom + 40, spec.label, 'text-anchor="middle"'),
    text(16, bottom + 58, "filled: more than chance explains · hollow: may be chance", 'class="soft"'),
  ]);
}
