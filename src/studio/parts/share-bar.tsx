/** Parts of a whole as one bar, with their names below. */
import { formatShare } from "../logic/format.ts";
import { useWidth } from "../use-width.ts";

export interface Part {
  name: string;
  tone: string;
  size: number;
  /** What the size is, in words. */
  note: string;
}

export function ShareBar({ parts, label }: { parts: readonly Part[]; label: string }) {
  const [frame, width] = useWidth<HTMLDivElement>();
  const total = parts.reduce((sum, { size }) => sum + size, 0);
  let at = 0;
  return (
    <div ref={frame} class="share-bar">
      <svg width={width} height="22" viewBox={`0 0 ${width} 22`} role="img" aria-label={label}>
        {parts.map(({ name, tone, size, note }) => {
          const x = at;
          const w = total > 0 ? (size / total) * width : 0;
          at += w;
          return (
            <rect key={name} class={tone} x={x} y="0" width={Math.max(1, w - 1)} height="22">
              <title>{`${name}: ${note}`}</title>
            </rect>
          );
        })}
      </svg>
      <ul class="legend">
        {parts.map(({ name, tone, size, note }) => (
          <li key={name}>
            <svg class="swatch" viewBox="0 0 12 12" aria-hidden="true">
              <rect class={tone} width="12" height="12" rx="2" />
            </svg>
            {name}{" "}
            <span class="soft">
              {note}, {formatShare(total > 0 ? size / total : 0)}
            </span>
          </li>
        ))}
      </ul>
    </div>
  );
}
