/** Shares as areas. The table beside it says the same in numbers; the picture itself is one image to a screen reader. */
import { squarify } from "../logic/squarify.ts";
import { useWidth } from "../use-width.ts";

export interface Area {
  name: string;
  /** Class that gives its colour. */
  tone: string;
  size: number;
  /** What is said of it when one points at it. */
  title: string;
  /** Second line where there is room. */
  note: string;
}

export function Treemap({
  areas,
  label,
  height = 280,
}: {
  areas: readonly Area[];
  label: string;
  height?: number;
}) {
  const [frame, width] = useWidth<HTMLDivElement>();
  return (
    <div ref={frame} class="picture">
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label}>
        {squarify(
          areas.map(({ size }) => size),
          width,
          height,
        ).map(({ index, x, y, width: w, height: h }) => {
          const { name, tone, title, note } = areas[index]!;
          const fits = (text: string, size: number) => text.length * size * 0.64 < w - 14;
          const size = fits(name, 14) ? 14 : 11;
          const hasName = h > 26 && fits(name, size);
          return (
            <g key={name} class={`tile ${tone}`}>
              <title>{title}</title>
              <rect x={x + 1} y={y + 1} width={Math.max(0, w - 2)} height={Math.max(0, h - 2)} rx="3" />
              {hasName && (
                <text x={x + 8} y={y + 22} class={size === 14 ? "tile-name" : "tile-name narrow"}>
                  {name}
                </text>
              )}
              {hasName && h > 46 && fits(note, 12) && (
                <text x={x + 8} y={y + 40} class="tile-note">
                  {note}
                </text>
              )}
            </g>
          );
        })}
      </svg>
    </div>
  );
}
