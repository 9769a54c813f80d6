/** A checker for well-formed XML of the plain kind: elements, attributes, text. Throws for anything else. */

export interface XmlElement {
  name: string;
  attributes: Map<string, string>;
  children: XmlElement[];
  text: string;
}

const NAME = "[A-Za-z][\\w.-]*";
const TAG = new RegExp(`<(/?)(${NAME})((?:\\s+${NAME}="[^"<]*")*)\\s*(/?)>`, "y");
const ATTRIBUTE = new RegExp(`(${NAME})="([^"<]*)"`, "g");
const ENTITY = /&(?!(amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)/;

/** The root element. */
export function parseXml(text: string): XmlElement {
  const root: XmlElement = { name: "", attributes: new Map(), children: [], text: "" };
  const open = [root];
  // XML has no place for control characters but tab and line feeds.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it looks for
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(text))
    throw new Error("a control character");
  if (ENTITY.test(text)) throw new Error(`a bare & at ${ENTITY.exec(text)!.index}`);
  for (let at = 0; at < text.length; ) {
    const next = text.indexOf("<", at);
    open.at(-1)!.text += text.slice(at, next < 0 ? undefined : next);
    if (next < 0) break;
    TAG.lastIndex = next;
    const match = TAG.exec(text);
    if (!match) throw new Error(`no tag at ${next}: ${text.slice(next, next + 60)}`);
    const [whole, closing, name, attributes, empty] = match;
    at = next + whole.length;
    if (closing) {
      if (open.pop()!.name !== name) throw new Error(`</${name}> at ${next} closes another element`);
      continue;
    }
    const element: XmlElement = { name: name!, attributes: new Map(), children: [], text: "" };
    for (const [, key, value] of attributes!.matchAll(ATTRIBUTE)) {
      if (element.attributes.has(key!)) throw new Error(`${key} twice at ${next}`);
      element.attributes.set(key!, value!);
    }
    open.at(-1)!.children.push(element);
    if (!empty) open.push(element);
  }
  if (open.length !== 1 || root.children.length !== 1) throw new Error("not one whole element");
  return root.children[0]!;
}

/** The element and all in it, in document order. */
export function* elementsOf(element: XmlElement): Generator<XmlElement> {
  yield element;
  for (const child of element.children) yield* elementsOf(child);
}
