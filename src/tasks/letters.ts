/**
 * The letter that an answer chooses. Rules in order; the first that finds a letter of a choice decides:
 *
 * 1. the last \boxed{B};
 * 2. the last statement: "the answer is B", "Answer: (B)", "B is correct", "I choose B", "答案是B", "选B";
 * 3. the answer is nothing but a letter: "B", "(b)", "**B**.";
 * 4. the answer begins with one: "B) Paris", "(B) Paris", "**B.** Paris" – unless other lines begin with other
 *    letters, as where the choices are repeated;
 * 5. the last line is nothing but a letter;
 * 6. the answer, or what the last "the answer is …" says, is the text of exactly one choice.
 *
 * A bare letter within a sentence is none: "A cat" and "I think" choose nothing. Lower case counts only where
 * the letter stands alone or in brackets.
 */
import { boxes } from "./numbers.ts";

/** Index of the choice, or undefined where none is named. */
export function findChoice(answer: string, choices: readonly string[]): number | undefined {
  const text = plain(answer);
  const indexOf = (letter: string | undefined): number | undefined => {
    const index = letter === undefined ? -1 : letter.toUpperCase().charCodeAt(0) - 65;
    return index >= 0 && index < choices.length ? index : undefined;
  };
  const rules = [boxedLetter, statedLetter, loneLetter, leadingLetter, lastLineLetter];
  for (const rule of rules) {
    const index = indexOf(rule(text));
    if (index !== undefined) return index;
  }
  const stated = [...text.matchAll(STATED_TEXT)].at(-1)?.[1];
  return equalChoice(answer, choices) ?? (stated === undefined ? undefined : equalChoice(stated, choices));
}

const STATED_TEXT = /(?:[Aa]nswer(?: is|:)|答案(?:是|为|:))\s*(\S.{0,500})$/gm;

/** The choice that is this text, if exactly one is. */
function equalChoice(text: string, choices: readonly string[]): number | undefined {
  const whole = comparable(text);
  const equal = choices.flatMap((choice, index) => (comparable(choice) === whole ? [index] : []));
  return equal.length === 1 ? equal[0] : undefined;
}

/** "A" for 0. */
export function letterOf(index: number): string {
  return String.fromCharCode(65 + index);
}

/** Full-width letters and brackets as plain ones, without the marks of Markdown and LaTeX round a word. */
function plain(text: string): string {
  return text
    .replace(/[Ａ-Ｚａ-ｚ（）：．]/g, (char) => String.fromCharCode(char.charCodeAt(0) - 0xfee0))
    .replace(/\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]{0,40})\}/g, "$1")
    .replace(/[*_`$]/g, "");
}

function comparable(text: string): string {
  return text
    .replace(/[*_`"“”]/g, "")
    .trim()
    .replace(/[.。]$/, "")
    .toLowerCase();
}

function boxedLetter(text: string): string | undefined {
  const letters = boxes(text).map((box) => /^\s*\(?([A-Za-z])\)?\s*(?:[.:)、].*)?$/s.exec(box)?.[1]);
  return letters.findLast((letter) => letter !== undefined);
}

// A letter of a choice: not the beginning of a word, and not the article or the pronoun: "is A cat", "is I who".
const UPPER = `([A-Z])(?![A-Za-z0-9'’])(?!(?<=[AI]) (?!because|since|as |and |for |which|with )[a-z])`;
// In lower case only at the end of a line: "the answer is a".
const LETTER = String.raw`(?:\(\s?([A-Za-z])\s?\)|["“'「【\[]?${UPPER}|([A-Za-z])(?=[.!。\s]*$))`;
const STATEMENTS = [
  String.raw`(?:[Aa]nswer|ANSWER|[Aa]ns|[Cc]orrect|[Cc]hoice|[Oo]ption|[Ss]olution)(?: here)?(?: ?[:=]| (?:is|would be|should be|must be|has to be|will be))\s*(?:[:：]\s*)?(?:(?:most likely|likely|clearly|therefore|definitely|simply|indeed|thus) )?(?:(?:option|choice|letter|answer|Option|Choice|Letter) )?${LETTER}`,
  String.raw`\b(?:I(?:'d| would| will|'ll)? (?:choose|pick|select|go with|say)|[Cc]hoose|[Pp]ick|[Ss]elect)(?: (?:option|choice|letter|answer))? ${LETTER}`,
  String.raw`(?:^|[\s("'])\(?([A-Z])\)? (?:is|seems|appears to be) (?:clearly |definitely |therefore |thus )?(?:the )?(?:correct|right|best)(?! (?:in|about|to|that))`,
  String.raw`(?:答案|选项|结论|正确的)(?:应该|应当|应)?(?:是|为|选|:)?\s*[:：]?\s*(?:选项)?${LETTER}`,
  String.raw`(?:应选|故选|所以选|因此选|我选|选择|(?<![项不])选)\s*[:：]?\s*(?:选项|答案)?\s*${LETTER}`,
  String.raw`(?:\b[Ii]t (?:is|must be|has to be|should be)|\b(?:[Tt]herefore|[Tt]hus|[Hh]ence|[Ss]o),?) (?:option |choice )?${LETTER}(?=[.!]?\s*$)`,
  String.raw`<answer>\s*${LETTER}`,
  String.raw`(?<![A-Za-z])([A-Z])\s*(?:选项)?(?:是|为)?(?:正确|对的)`,
].map((pattern) => new RegExp(pattern, "gmu"));

function statedLetter(text: string): string | undefined {
  let best: { at: number; letter: string } | undefined;
  for (const pattern of STATEMENTS) {
    for (const match of text.matchAll(pattern)) {
      const letter = match.slice(1).find((group) => group !== undefined);
      if (letter !== undefined && (best === undefined || match.index >= best.at))
        best = { at: match.index, letter };
    }
  }
  return best?.letter;
}

function loneLetter(text: string): string | undefined {
  return /^[\s("'“「【[]{0,9}([A-Za-z])[\s)"'”」】\].,:。!]{0,9}$/.exec(text.trim())?.[1];
}

const LEADING =
  /^[\s"'“「【[]{0,9}(?:[Oo]ption |[Cc]hoice |选项)?(?:\(([A-Za-z])\)|([A-Z])(?:[).:、。!]|\s*$| [-–—] |,? (?:because|since)\b))/;

function leadingLetter(text: string): string | undefined {
  const letters = text
    .trim()
    .split("\n")
    .map((line) => LEADING.exec(line))
    .map((match) => match?.[1] ?? match?.[2]);
  const named = new Set(letters.filter((letter) => letter !== undefined));
  return named.size === 1 ? letters[0] : undefined;
}

function lastLineLetter(text: string): string | undefined {
  const lines = text.trim().split("\n").map(loneLetter);
  // A column of letters chooses nothing.
  return lines.filter((letter) => letter !== undefined).length === 1 ? lines.at(-1) : undefined;
}
