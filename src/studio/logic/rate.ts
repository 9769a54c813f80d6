/** Bytes a second, by what was done lately: a build that slows down must not promise what it did at first. */
export interface Sample {
  seconds: number;
  bytes: number;
}

/** Seconds that are looked back upon. */
const WINDOW = 10;

/** A build that begins again, with fewer seconds or bytes, is measured anew. */
export function addSample(samples: readonly Sample[], sample: Sample): Sample[] {
  const last = samples.at(-1);
  if (last && (sample.seconds < last.seconds || sample.bytes < last.bytes)) return [sample];
  return [...samples, sample].filter(({ seconds }) => seconds >= sample.seconds - WINDOW);
}

/** undefined: too little was seen to say. */
export function rateOf(samples: readonly Sample[]): number | undefined {
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || !last || last.seconds - first.seconds < 0.2) return undefined;
  const rate = (last.bytes - first.bytes) / (last.seconds - first.seconds);
  return rate > 0 ? rate : undefined;
}
