/**
 * One pass through the model, as numbers in shared memory: which tokens, of which sequences, where their
 * cache lies, and what is wanted of it. Rows of several sequences may be computed together.
 */

/** A run of rows of one sequence. */
export interface Segment {
  /** First row of the pass and number of rows. */
  row: number;
  count: number;
  /** Position of the first row in its sequence: as many rows are in the cache already. */
  start: number;
  /** Pages of the sequence's cache, as many as hold start + count rows. */
  pages: readonly number[];
  /** Form of attention of these rows: that of the pass unless it is said. */
  form?: "absorbed" | "expanded" | undefined;
}

export interface Pass {
  /** "mtp": the MTP layer over rows whose hidden states `normed` holds, with the tokens that follow them. */
  kind: "main" | "mtp";
  tokens: readonly number[];
  segments: readonly Segment[];
  /** Rows whose logits are wanted. */
  logitRows: readonly number[];
  /** Form of attention: chosen by cost unless it is said. */
  attention?: "absorbed" | "expanded" | undefined;
}

const KINDS = ["main", "mtp"] as const;
const ATTENTION = [undefined, "absorbed", "expanded"] as const;

export function writePass(pass: Pass, into: Int32Array): void {
  const numbers = [
    KINDS.indexOf(pass.kind),
    ATTENTION.indexOf(pass.attention),
    pass.tokens.length,
    pass.logitRows.length,
    pass.segments.length,
    ...pass.tokens,
    ...pass.logitRows,
  ];
  for (const { row, count, start, pages, form } of pass.segments)
    numbers.push(row, count, start, ATTENTION.indexOf(form), pages.length, ...pages);
  if (numbers.length > into.length) {
    throw new RangeError(
      `Cannot describe a pass of ${pass.tokens.length} tokens: it takes ${numbers.length} numbers, wanted at most ${into.length}`,
    );
  }
  into.set(numbers);
}

export function readPass(from: Int32Array): Pass {
  let at = 0;
  const next = () => from[at++]!;
  const list = (length: number) => {
    at += length;
    return Array.from(from.subarray(at - length, at));
  };
  const [kind, attention, numTokens, numLogits, numSegments] = [next(), next(), next(), next(), next()];
  const tokens = list(numTokens);
  const logitRows = list(numLogits);
  const segments = Array.from({ length: numSegments }, () => {
    const [row, count, start, form, numPages] = [next(), next(), next(), next(), next()];
    return { row, count, start, form: ATTENTION[form], pages: list(numPages) };
  });
  return { kind: KINDS[kind]!, attention: ATTENTION[attention], tokens, segments, logitRows };
}
