/**
 * The number that an answer gives: the last one of the last \boxed{…} that holds one, else the last of the text.
 *
 * What counts as a number, tried on answers of reasoning models in both languages:
 * - signs "-", "+", "−" (U+2212) and "–", where nothing stands before them that could be subtracted from;
 * - digits in groups of three by commas (also the Indian 1,00,000), thin spaces, or LaTeX's "{,}" and "\,";
 *   a comma is never a decimal mark, so that "1, 2" and "1,2" are two numbers;
 * - decimals with a point, "1e3", "5 × 10^3", fractions of whole numbers "3/4" and \frac{3}{4};
 * - signs of currency and "%" are passed over: "$42" and "42%" are 42;
 * - full-width digits are digits.
 * What does not: digits behind a Latin letter (x2, CO2) or "^" (m^2), versions (1.2.3).
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

/** A wanted answer: a text that is one number and nothing else but a sign of currency, "%" or a unit's "$". */
export function parseNumber(text: string): FoundNumber | undefined {
  const [first, second] = [...findNumbers(plain(text))];
  if (!first || second || /\d,\d/.test(text) !== /\d,\d{2,3}(?!\d)/.test(text)) return undefined;
  const rest = plain(text)
    .replace(TOKEN, "")
    .replace(/[\s$€£¥%]/g, "");
  return rest === (first.text.includes("/") ? "/" : "") ? first : undefined;
}

/** Contents of \boxed{…} in the order of the text; braces within may nest. */
export function boxes(text: string): string[] {
  const found: string[] = [];
  for (const { index, 0: opening } of text.matchAll(/\\(?:boxed|fbox)\s*\{/g)) {
    let depth = 1;
    let at = index + opening.length;
    for (; at < text.length && depth > 0; at++) {
      if (text[at] === "{") depth++;
      else if (text[at] === "}") depth--;
    }
    // One that is never closed was cut off; what it holds so far is no answer.
    if (depth === 0) found.push(text.slice(index + opening.length, at - 1));
  }
  return found;
}

/** Full-width forms and LaTeX's as their plain ones. */
function plain(text: string): string {
  return text
    .replace(/[０-９．＋－％／＄]/g, (char) => String.fromCharCode(char.charCodeAt(0) - 0xfee0))
    .replace(/[\u2212\u2013]/g, "-")
    .replace(/(?<=\d)(?:\{,\}|\\,|\\!|,\\!|[\u2009\u202f\u00a0])(?=\d{3}(?!\d))/g, ",")
    .replace(/\\[dt]?frac\s*\{\s*(-?\d{1,400})\s*\}\s*\{\s*(\d{1,400})\s*\}/g, "$1/$2")
    .replace(/\\[$%]/g, (escaped) => escaped.charAt(1));
}

// Sign, currency, digits with marks between them; an exponent; a power of ten. No part of it can be matched in
// two ways, so that it takes no more than linear time.
const TOKEN =
  /(?<![A-Za-z_^\d.])(?:(?<![\dA-Za-z)\]])([-+])(?!\s))?[$€£¥]?((?:\d|\.\d)[\d.,]*)(?:[eE]([-+]?\d{1,3})(?![\w.]))?(?:\s?(?:×|\*|\\times|\\cdot)\s?10\^(?:\{([-+]?\d{1,3})\}|([-+]?\d{1,3})))?/gu;

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
  const [, sign = "", run, exponent, braced, bare] = token;
  const digits = run!.replace(/[.,]+$/, "");
  const power = exponent ?? braced ?? bare;
  // A list such as "1,2,3" or "1...5": its last number.
  const parts = GROUPED.test(digits) ? [digits.replaceAll(",", "")] : digits.split(/,|\.{2,}/);
  const last = parts.at(-1)!;
  const isSigned = parts.length === 1;
  const text = `${isSigned && sign === "-" ? "-" : ""}${last}${power === undefined ? "" : `e${power}`}`;
  const value = parseDecimal(text);
  return value && { value, text: text.startsWith(".") ? `0${text}` : text };
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
