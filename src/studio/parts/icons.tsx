/** Pictures of the pages, 20 × 20, in the colour of the text. */
const PATHS = {
  checkpoints: "M3 3h6v6H3zM11 3h6v6h-6zM3 11h6v6H3zM11 11h6v6h-6z",
  compare: "M3 17V8M7 17V3M13 17V6M17 17v-6",
  assemble: "M10 3v6m0 0-6 5m6-5 6 5M4 14v3m12-3v3M10 9v8",
  talk: "M3 4h14v10H9l-4 3v-3H3z",
  behaviour: "M3 16c4 0 4-11 8-11s3 6 6 6",
  light:
    "M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7M10 2v2m0 12v2M2 10h2m12 0h2M4.3 4.3l1.4 1.4m8.6 8.6 1.4 1.4m0-11.4-1.4 1.4m-8.6 8.6-1.4 1.4",
  dark: "M16 12.5A7 7 0 0 1 7.5 4 6.5 6.5 0 1 0 16 12.5z",
  auto: "M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14",
};

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
