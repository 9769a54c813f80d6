/** A list as Python writes it, of texts and numbers: ['a', "b's", 3]. What templates of choices render to. */

const STRING = /'((?:[^'\\\n]|\\[\s\S])*)'|"((?:[^"\\\n]|\\[\s\S])*)"/y;
const NUMBER = /[-+]?\d+(?:\.\d+)?(?![\w.])/y;
const ESCAPES: Record<string, string> = {
  ...{ n: "\n", r: "\r", t: "\t", a: "\x07", b: "\b", f: "\f", v: "\v", "\\": "\\", "'": "'", '"': '"' },
  "\n": "",
};

/** undefined for anything else. */
export function parseList(text: string): (string | number)[] | undefined {
  const items: (string | number)[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) at += match[0].length;
    return match ?? undefined;
  };
  const skip = () => take(/\s*/y);
  skip();
  if (!take(/\[/y)) return undefined;
  for (skip(); !take(/\]/y); skip()) {
    const string = take(STRING);
    if (string) {
      items.push(unescapeText(string[1] ?? string[2] ?? ""));
    } else {
      const number = take(NUMBER);
      if (!number) return undefined;
      items.push(Number(number[0]));
    }
    skip();
    if (!take(/,/y) && text[at] !== "]") return undefined;
  }
  skip();
  return at === text.length ? items : undefined;
}

/** An escape that Python does not know stands for itself. */
function unescapeText(body: string): string {
  return body.replace(/\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[\s\S])/g, (all, code: string) =>
    code.length > 1 ? String.fromCharCode(Number.parseInt(code.slice(1), 16)) : (ESCAPES[code] ?? all),
  );
}
