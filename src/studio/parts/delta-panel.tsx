/** δ by hand: what a build would merge above it, at once. */
import { useMemo } from "preact/hooks";
import { formatBytes, formatCount, formatShare } from "../logic/format.ts";
import { DELTA_STEPS, deltaAt, stepOf, type Thresholds } from "../logic/threshold.ts";
import { useWidth } from "../use-width.ts";
import { Slider } from "./slider.tsx";

export interface DeltaPanelProps {
  thresholds: Thresholds;
  delta: number;
  onDelta: (delta: number) => void;
}

export function DeltaPanel({ thresholds, delta, onDelta }: DeltaPanelProps) {
  const { range, total } = thresholds;
  if (!range) return <p class="soft">Nothing differs: there is no threshold to choose.</p>;
  const above = thresholds.above(delta);
  const share = (part: number, whole: number) => formatShare(whole > 0 ? part / whole : 0);
  return (
    <div class="delta">
      <Curve thresholds={thresholds} range={range} delta={delta} />
      <Slider
        label="δ, logarithmic"
        value={stepOf(delta, range)}
        min={0}
        max={DELTA_STEPS}
        step={1}
        text={String(delta)}
        ends={["0: merge all that differs", "merge nothing"]}
        onInput={(step) => onDelta(deltaAt(step, range))}
      />
      <dl class="facts" aria-live="polite">
        <div>
          <dt>Merged tensors</dt>
          <dd>
            {formatCount(above.tensors)}
            <span class="fact-note">of {formatCount(total.tensors)}</span>
          </dd>
        </div>
        <div>
          <dt>Share</dt>
          <dd>{share(above.tensors, total.tensors)}</dd>
        </div>
        <div>
          <dt>Bytes</dt>
          <dd>
            {formatBytes(above.bytes)}
            <span class="fact-note">{share(above.bytes, total.bytes)}</span>
          </dd>
        </div>
      </dl>
    </div>
  );
}

const HEIGHT = 64;

/** Share of bytes that is merged, over δ. */
function Curve({
  thresholds,
  range,
  delta,
}: {
  thresholds: Thresholds;
  range: readonly [number, number];
  delta: number;
}) {
  const [frame, width] = useWidth<HTMLDivElement>(320);
  const path = useMemo(() => {
    const points: string[] = [];
    const steps = Math.min(DELTA_STEPS, 250);
    for (let i = 0; i <= steps; i++) {
      const step = Math.round((i / steps) * DELTA_STEPS);
      const { bytes } = thresholds.above(deltaAt(step, range));
      const share = thresholds.total.bytes > 0 ? bytes / thresholds.total.bytes : 0;
      points.push(
        `${((step / DELTA_STEPS) * width).toFixed(1)} ${(HEIGHT - 2 - share * (HEIGHT - 6)).toFixed(1)}`,
      );
    }
    return `M${points.join("L")}`;
  }, [thresholds, range[0], range[1], width]);
  const x = (stepOf(delta, range) / DELTA_STEPS) * width;
  return (
    <div ref={frame}>
      <svg width={width} height={HEIGHT} viewBox={`0 0 ${width} ${HEIGHT}`} aria-hidden="true" class="curve">
        <path class="curve-area" d={`${path}L${width} ${HEIGHT}L0 ${HEIGHT}z`} />
        <path class="curve-line" d={path} />
        <line class="curve-at" x1={x} x2={x} y1="0" y2={HEIGHT} />
      </svg>
    </div>
  );
}
