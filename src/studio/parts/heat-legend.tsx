/** The colours of a heat map with their values. */
import { useEffect, useRef } from "preact/hooks";
import { type ColourScale, colourAt } from "../logic/colours.ts";
import { formatDistance } from "../logic/format.ts";

export function HeatLegend({ scale, hasDelta }: { scale: ColourScale; hasDelta: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const image = new ImageData(256, 1);
    for (let x = 0; x < 256; x++) image.data.set([...colourAt(x / 255), 255], x * 4);
    canvas.current?.getContext("2d")?.putImageData(image, 0, 0);
  }, []);
  return (
    <div class="heat-legend">
      <span>{formatDistance(scale.min)}</span>
      <canvas ref={canvas} width={256} height={1} />
      <span>{formatDistance(scale.max)}</span>
      {scale.isLogarithmic && <span class="soft">logarithmic</span>}
      {hasDelta && (
        <span class="soft">
          <span class="swatch-grey" /> nothing above δ
        </span>
      )}
    </div>
  );
}
