/**
 * What the forward pass asks of its kernels. Two implementations: WASM SIMD (inference-wasm.ts) and plain
 * TypeScript (inference-scalar.ts), the reference; both give the same bits.
 *
 * Weights are multiplied as they lie on disk. Every sum has one order, written down here, that depends
 * neither on how many tokens are computed together nor on how rows are shared out among threads: so a
 * batch equals its single tokens and two threads equal one, bit for bit. Every operation is rounded to
 * float32 unless said otherwise; nothing is fused.
 *
 * Kernels work on a heap that the caller lays out. Positions are byte offsets into it, multiples of 16
 * where float32 vectors lie; offset 0 means "none". 64 bytes beyond every weight may be read (never
 * used), so weights must not end at the heap's end. A heap has at most 4 GiB: positions exceed 2^31.
 */

/** Types of a checkpoint that linear() multiplies from. E5M2 is widened to F16 when it is loaded, exactly. */
export type StoredDtype = "F8_E4M3" | "BF16" | "F16" | "F32";
/**
 * And INT8, which quantise() makes: faster and inexact. Blocks of INT8_BLOCK columns of a row have a float32
 * scale. Codes of weights are -63 … 63, those of activations -127 … 127: activations have the larger outliers,
 * and a product of 7 and 8 bits is what relaxed SIMD defines alike on every CPU.
 *
 * A weight is fours of rows, one after the other; a four is its blocks of columns; a block is four float32
 * scales and then, for each four columns, four bytes of each row: code + 64. Columns are filled up to whole
 * sixteens and rows to whole fours with zeros. Such a weight uses `data`, `rows`, `cols`, `firstRow` alone.
 */
export type WeightDtype = StoredDtype | "INT8";

/** Columns that share a scale. Half as many: 6 % more memory and a tenth slower, for a tenth less error. */
export const INT8_BLOCK = 64;

/** Rows of a weight matrix in the heap; all of them, or those of one rank. */
export interface Weight {
  dtype: WeightDtype;
  /** Offset of the first row that is here; rows are contiguous, `cols` elements each. */
  data: number;
  rows: number;
  cols: number;
  /**
   * F8_E4M3 only: offset of float32 block scales, row-major, ⌈cols/blockCols⌉ to a row of blocks, the first
   * row of blocks being the one that holds `firstRow`. 0 without.
   */
  scales: number;
  /** F8_E4M3 only: size of a scale block. blockCols is a multiple of 16. */
  blockRows: number;
  blockCols: number;
  /** Which row of the whole matrix the first row here is: decides where blocks of rows begin. */
  firstRow: number;
}

/** float32 rows: `count` of them, `stride` elements apart. */
export interface Rows {
  data: number;
  count: number;
  stride: number;
}

/** One step of attention with an online softmax (model.md section 16.4): one page of keys. */
export interface SoftmaxStep {
  /** Scores, replaced by probabilities: rows × keys, contiguous. */
  scores: number;
  rows: number;
  keys: number;
  /** Offset of one int32 per row: how many of this page's keys it sees, clamped to 0 … keys. */
  limits: number;
  /** Softmax scale · log2 e: the softmax is taken in base 2. */
  scale: number;
  /** Running maximum and sum, one float32 per row. Start with -1e30 and 0. */
  maxima: number;
  sums: number;
  /** Running output, rows × outCols contiguous: scaled by 2^(old maximum - new maximum). */
  out: number;
  outCols: number;
}

export interface InferenceKernels {
  readonly name: "wasm" | "scalar";
  /** How INT8 is multiplied. All give the same bits. */
  readonly dotProduct: "relaxed" | "plain" | "scalar";
  /** The whole heap, as bytes and as float32. */
  readonly bytes: Uint8Array;
  readonly floats: Float32Array;

  /**
   * Lays activations out for linear(): `x` (count × cols) to `out` (count × paddedCols(cols), contiguous),
   * zeros beyond cols. Column order and factor are those in which linear() decodes a weight of this type:
   *   F8_E4M3  groups of 16; plane p (0…3), lane l (0…3) holds column 16g + 4l + p, times 2^100
   *            (infinite from |x| = 2^28 on)
   *   BF16     groups of 8; plane p (0, 1), lane l holds column 8g + 2l + p
   *   F16      as BF16
   *   F32      columns in order
   * INT8 is quantised: for each block of columns 16 bytes (the float32 scale, minus 64 times the sum of codes
   * as an int32, zeros), then the codes, with zeros up to whole sixteens. What a row does not use of its
   * 4 · paddedCols(cols) bytes stays as it was. The steps are those of quantise(), with 127 for 63.
   */
  arrange(dtype: WeightDtype, x: Rows, cols: number, out: number): void;

  /**
   * out[t][r] = Σ_c x[t][c] · W[r][c] for every arranged row of x. The order, for each t and r:
   * four lanes total = 0; for every block of columns (blockCols of them with scales, else 128, the last one
   * ragged): four lanes acc = 0; for each group in order, for each plane in order: acc = acc + w·x;
   * then total = total + acc·scale, or total + acc without scales. The end: (t0 + t1) + (t2 + t3).
   * F8_E4M3 decodes to value·2^-120 (shift and mask); its scale is multiplied by 2^20, exactly, to make up.
   * Without scales (0) F8_E4M3 multiplies acc by 2^20 alone. Codes are finite: NaN is refused when loading.
   * Columns beyond `cols` add nothing: not even when the bytes there are NaN in the weight's type.
   *
   * INT8: total = 0; for every block total = total + (s · scale of the weight) · scale of x, where s is the sum
   * of products of codes, an integer. A NaN scale makes all sums of its row, or of its token, NaN.
   */
  linear(weight: Weight, x: { data: number; count: number }, out: Rows): void;

  /**
   * Rows of float32 as an INT8 weight of x.count rows: int8Bytes(x.count, cols) bytes. For each block with
   * m = max |x|: scale = m / 63, code = round(x · (63 / m)), ties to even. A block with m < 2^-100 is zeros with
   * the scale 0; one that is not finite has the scale NaN.
   */
  quantise(x: Rows, cols: number, out: number): void;

  /** Rows from … from + count - 1 (counted from the first row here) as float32 in natural order, contiguous. */
  dequantise(weight: Weight, rows: { from: number; count: number }, out: number): void;

  /**
   * out[t][c] = (accumulate ? out[t][c] : 0) + Σ_j a[t][j] · b[j][c], for j = 0 … b.count - 1 in order, one
   * accumulator each. a: rows of at least b.count. All float32. cols is any number.
   */
  combine(a: Rows, b: Rows, cols: number, out: Rows, accumulate: boolean): void;

  /**
   * One page of an online softmax. For each row with n = its limit: n = 0 leaves maximum, sum and output and
   * sets the row of scores to 0. Else m' = max(m, scale·max_j<n s_j); α = 2^(m - m'); p_j = 2^(scale·s_j - m')
   * for j < n, 0 beyond; sum = sum·α + ((q0 + q1) + (q2 + q3)), where q_l sums p_j of j ≡ l mod 4 in order;
   * out = out·α.
   * Limits are clamped here, so those of later pages may be given as they come. A NaN score is no maximum,
   * its probability and the sum are NaN; a maximum of -0 is 0. 2^x has the steps of exp2.ts: 0 below 2^-126.
   */
  softmaxStep(step: SoftmaxStep): void;

  /**
   * y = x · (mean(x²) + ε)^(-1/2) · w. The sum of squares in float64, two lanes (even and odd columns), then
   * lane 0 + lane 1; mean, root and reciprocal in float64; the factor rounded to float32 once;
   * y = (x·factor)·w. Rows of `out` may be those of `x`.
   */
  rmsNorm(x: Rows, weight: number, cols: number, epsilon: number, out: Rows): void;

  /**
   * Rotates the first 2·pairs elements of each row by the angles whose cosines and sines lie at `cos` and
   * `sin` (one float32 per pair). Interleaved: pairs are (2i, 2i+1); else (i, i + pairs).
   * x' = x·cos - y·sin; y' = x·sin + y·cos.
   */
  rotate(x: Rows, angles: { cos: number; sin: number; pairs: number }, interleaved: boolean): void;

  /**
   * out = silu(gate) · up, silu(z) = z / (1 + e^-z), element by element; out may be gate or up. e^x has the
   * steps of exp2.ts: -0 for z < -88.4, and NaN for z = -∞, as ∞/∞ is.
   */
  siluMul(gate: Rows, up: Rows, cols: number, out: Rows): void;

  /** y = y + weight·x, element by element, `count` of them; a weight of 1 adds x itself. */
  addScaled(y: number, x: number, weight: number, count: number): void;

  /** Index of the first NaN or infinity among `count` float32, or -1. */
  firstNonFinite(from: number, count: number): number;
}

/** Columns of an arranged row: whole groups of every type. */
export function paddedCols(cols: number): number {
  return Math.ceil(cols / 16) * 16;
}

/** Bytes of an INT8 weight. */
export function int8Bytes(rows: number, cols: number): number {
  return Math.ceil(rows / 4) * (16 * Math.ceil(cols / INT8_BLOCK) + 4 * paddedCols(cols));
}
