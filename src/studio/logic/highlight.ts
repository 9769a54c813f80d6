/** YAML in colours: comments, keys, strings and numbers. A look, not a grammar: what it does not know stays plain. */
export interface Span {
  kind: "plain" | "comment" | "key" | "string" | "number";
  text: string;
}

const TOKENS =
  /(?<comment>(?:^|(?<=\s))#.*$)|(?<key>[\w.-]+(?=\s*:(?:\s|$)))|(?<string>"(?:[^"\\]|\\.)*"|'[^']*')|(?<number>(?<![\w.-])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.-]))/gi;

export function highlightLine(line: string): Span[] {
  const spans: Span[] = [];
  let at = 0;
  for (const match of line.matchAll(TOKENS)) {
    if (match.index > at) spans.push({ kind: "plain", text: line.slice(at, match.index) });
    const kind = Object.entries(match.groups!).find(([, text]) => text !== undefined)![0] as Span["kind"];
    spans.push({ kind, text: match[0] });
    at = match.index + match[0].length;
  }
  if (at < line.length) spans.push({ kind: "plain", text: line.slice(at) });
  return spans;
}
