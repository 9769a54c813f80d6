/**
 * The number that an answer gives: the last one of the last \boxed{…} that holds one, else the last of the text.
 *
 * What counts as a number, tried on answers of reasoning models in both languages:
 * - signs "-", "+", "−" (U+2212) and "–", where nothing stands before them that could be subtracted from;
 * - digits in groups of three by commas (also the Indian 1,00,000), thin spaces, or LaTeX's "{,}" and "\,";
 *   a comma is never a decimal mark, so that "1, 2" and "1,2" are two numbers;
 * - decimals with a point, "1e3", "5 × 10^3", powers "2^10", fractions of whole numbers "3/4", \frac{3}{4} and the
 *   mixed 3\frac{1}{2};
 * - signs of currency and "%" are passed over: "$42" and "42%" are 42;
 * - full-width digits are digits.
 * What does not: digits behind a Latin letter (x2, CO2), exponents (m^2), versions (1.2.3).
 */
import { divide, parseDecimal, type Rational } from "./rational.ts";

export interface FoundNumber {
  value: Rational;
  /** Plain: "1234.5", "3/4". */
  text: string;
}

/** The number that the answer ends in. */
export function findAnswerNumber(answer: string): FoundNumber | undefined {
  const text = plain(answer);
  for (const box of boxes(text).reverse()) {
    const found = lastNumber(box);
    if (found) return found;
  }
  return lastNumber(text);
}

/** A wanted answer: a text that is one number and nothing else but "%" or a sign of currency. */
export function parseNumber(text: string): FoundNumber | undefined {
  const bare = plain(text);
  const [first, second] = [...findNumbers(bare)];
  const runs = [...bare.matchAll(TOKEN)].map((token) => token[2]!.replace(/[.,]+$/, ""));
  if (!first || second || runs.some((run) => !GROUPED.test(run) && !/^\d*\.?\d*$/.test(run)))
    return undefined;
  const rest = bare.replace(TOKEN, "").replace(/[\s$€£¥%]/g, "");
  return rest === (first.text.includes("/") ? "/" : "") ? first : undefined;
}

// Each box is searched for a number: an answer of nothing but boxes must not take long.
const MAX_BOXES = 100;

/** Contents of the last \boxed{…} in the order of the text; braces within may nest. */
export function boxes(text: string): string[] {
  const open: { start: number; isBox: boolean }[] = [];
  const found: { start: number; end: number }[] = [];
  for (const { index, 0: mark } of text.matchAll(/\\(?:boxed|fbox)\s{0,9}\{|[{}]/g)) {
    if (mark !== "}") open.push({ start: index + mark.length, isBox: mark !== "{" });
    else {
      // One that is never closed was cut off: what it holds so far is no answer.
      const last = open.pop();
      if (last?.isBox) found.push({ start: last.start, end: index });
    }
  }
  found.sort((a, b) => a.start - b.start);
  return found.slice(-MAX_BOXES).map(({ start, end }) => text.slice(start, end));
}

/** Full-width forms and LaTeX's as their plain ones. */
function plain(text: string): string {
  return text
    .replace(/[０-９．＋－％／＄]/g, (char) => String.fromCharCode(char.charCodeAt(0) - 0xfee0))
    .replace(/[\u2212\u2013]/g, "-")
    .replace(/(?<=\d)(?:\{,\}|\\,|\\!|,\\!|[\u2009\u202f\u00a0])(?=\d{3}(?!\d))/g, ",")
    .replace(/\\[dt]?frac\s?(\d)\s?(\d)(?!\d)/g, "\\frac{$1}{$2}")
    .replace(
      MIXED,
      (_, whole: string, above: string, below: string) =>
        `${whole === "" ? above : BigInt(whole) * BigInt(below) + BigInt(above)}/${below}`,
    )
    .replace(/\^\{\s?([-+]?\d{1,3})\s?\}/g, "^$1")
    .replace(/\\[$%]/g, (escaped) => escaped.charAt(1));
}

/** \\frac{1}{2}, or 3\\frac{1}{2} for 7/2. */
const MIXED = /(\d{0,100}) ?\\[dt]?frac\s?\{\s?(-?\d{1,100})\s?\}\s?\{\s?(\d{1,100})\s?\}/g;

// Sign, currency, digits with marks between them; an exponent; a power of ten. No part of it can be matched in
// two ways, so that it takes no more than linear time.
const TOKEN =
  /(?<![A-Za-z_^\d.]|\^[-+])(?:(?<![\dA-Za-z)\]])([-+])(?!\s))?[$€£¥]?((?:\d|\.\d)[\d.,]*)(?:[eE]([-+]?\d{1,3})(?![\w.]))?(?:\s?(?:[x×*]|\\times|\\cdot)\s?10\^([-+]?\d{1,3})|\^([-+]?\d{1,2})(?!\d))?/gu;

function* findNumbers(text: string): Generator<FoundNumber> {
  const tokens = [...text.matchAll(TOKEN)];
  for (let index = 0; index < tokens.length; index++) {
    const found = readToken(tokens[index]!);
    if (!found) continue;
    const next = tokens[index + 1];
    const fraction =
      next && readFraction(text, { token: tokens[index]!, found, next, before: tokens[index - 1] });
    if (fraction) index++;
    yield fraction ?? found;
  }
}

function lastNumber(text: string): FoundNumber | undefined {
  let last: FoundNumber | undefined;
  for (const found of findNumbers(text)) last = found;
  return last;
}

const GROUPED = /^(?:\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3})(?:\.\d+)?$/;

function readToken(token: RegExpExecArray): FoundNumber | undefined {
  const [, sign = "", run, exponent, ofTen, power] = token;
  const digits = run!.replace(/[.,]+$/, "");
  // A list such as "1,2,3" or "1...5": its last number.
  const parts = GROUPED.test(digits) ? [digits.replaceAll(",", "")] : digits.split(/,|\.{2,}/);
  const last = parts.at(-1)!;
  const plainText = `${parts.length === 1 && sign === "-" ? "-" : ""}${last}`;
  if (power !== undefined) return powerOf(plainText, power);
  const shift = exponent ?? ofTen;
  const text = shift === undefined ? plainText : `${plainText}e${shift}`;
  const value = parseDecimal(text);
  return value && { value, text: text.startsWith(".") ? `0${text}` : text };
}

/** 10^-3, 2^10: of whole numbers. -2^2 is -4. */
function powerOf(base: string, power: string): FoundNumber | undefined {
  if (!/^-?\d{1,4}$/.test(base)) return undefined;
  const size = BigInt(base.replace("-", "")) ** BigInt(Math.abs(Number(power)));
  const signed = base.startsWith("-") ? -size : size;
  const one: Rational = { numerator: 1n, denominator: 1n };
  const value = { numerator: signed, denominator: 1n };
  const result = power.startsWith("-") ? divide(one, value) : value;
  return result && { value: result, text: `${base}^${power}` };
}

interface Slash {
  token: RegExpExecArray;
  found: FoundNumber;
  next: RegExpExecArray;
  before: RegExpExecArray | undefined;
}

/** "3/4" where both are whole; not the parts of a date: 12/25/2024. */
function readFraction(text: string, { token, found, next, before }: Slash): FoundNumber | undefined {
  const end = token.index + token[0].length;
  const isSlash = text[end] === "/" && next.index === end + 1;
  const isDate =
    text[next.index + next[0].length] === "/" ||
    (before !== undefined && text[token.index - 1] === "/" && before.index < token.index);
  const below = readToken(next);
  if (!isSlash || isDate || !below || !/^-?\d+$/.test(found.text) || !/^\d+$/.test(below.text))
    return undefined;
  const value = divide(found.value, below.value);
  return value && { value, text: `${found.text}/${below.text}` };
}
