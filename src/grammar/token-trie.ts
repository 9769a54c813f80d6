/**
 * The bytes of a vocabulary as a trie, flat: nodes in the order of a walk that goes deep first, so that walking is
 * a loop and leaving out what lies under a node is a jump. Made once for a tokenizer: 129,280 tokens take about
 * 400,000 nodes and 7 MB.
 */

export interface Vocabulary {
  /** One more than the largest id. */
  size: number;
  /** What a token adds to the output; undefined for special tokens and for ids without a token. */
  bytesOf(id: number): Uint8Array | undefined;
}

/** A bit beside those of the groups. */
export const ILL_FORMED: number = 1 << 29;
const NOTHING = new Uint8Array();

export class TokenTrie {
  readonly size: number;
  /** Nodes without the root, which reads nothing. */
  readonly numNodes: number;
  /** By node: the byte that leads to it. */
  readonly bytes: Uint8Array;
  /** By node: how many bytes lead to it; 1 under the root. */
  readonly depths: Uint16Array;
  /** By node: the first that does not lie under it. */
  readonly ends: Int32Array;
  /** By node, and one more: where its tokens begin in `tokens`. They are followed by those of what lies under it. */
  readonly firstTokens: Int32Array;
  /** Ids with bytes, in the order of their bytes. */
  readonly tokens: Int32Array;
  /**
   * By node: a bit for each group of bytes (see groupOf()) that occurs under it, and ILL_FORMED where what lies under
   * it is not all UTF-8, read from there and perhaps cut off at the end.
   */
  readonly groupsUnder: Int32Array;
  /** By node: how many bytes the longest token has from there on. */
  readonly heights: Uint16Array;
  readonly longest: number;
  readonly #bytesOf: Vocabulary["bytesOf"];

  /** Tokens without bytes and tokens of no bytes are not in it. Throws RangeError for one of over 65,535 bytes. */
  constructor({ size, bytesOf }: Vocabulary) {
    const spelled: { id: number; bytes: Uint8Array; text: string }[] = [];
    let total = 0;
    for (let id = 0; id < size; id++) {
      const bytes = bytesOf(id);
      if (!bytes || bytes.length === 0) continue;
      if (bytes.length > 0xffff)
        throw new RangeError(`Cannot use token ${id}: it has ${bytes.length} bytes, wanted at most 65535`);
      total += bytes.length;
      spelled.push({ id, bytes, text: String.fromCharCode(...bytes) }); // strings of bytes are quick to sort
    }
    spelled.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.id - b.id));

    const bytes = new Uint8Array(total);
    const depths = new Uint16Array(total);
    const ends = new Int32Array(total);
    const firstTokens = new Int32Array(total + 1);
    const groupsUnder = new Int32Array(total);
    const heights = new Uint16Array(total);
    const path: number[] = []; // nodes that lead to the token before
    let node = 0;
    let longest = 0;
    const leave = (depth: number): void => {
      while (path.length > depth) {
        const left = path.pop()!;
        ends[left] = node;
        const above = path.at(-1);
        if (above === undefined) continue;
        groupsUnder[above]! |= (groupsUnder[left]! & ~ILL_FORMED) | (1 << groupOf(bytes[left]!));
        heights[above] = Math.max(heights[above]!, heights[left]! + 1);
      }
    };
    let before = "";
    for (const [at, token] of spelled.entries()) {
      let shared = 0;
      while (shared < path.length && before.charCodeAt(shared) === token.bytes[shared]) shared++;
      leave(shared);
      for (let depth = shared; depth < token.bytes.length; depth++) {
        bytes[node] = token.bytes[depth]!;
        depths[node] = depth + 1;
        firstTokens[node] = at;
        path.push(node++);
      }
      const rest = wellFormedFrom(token.bytes);
      for (const [depth, above] of path.entries()) if (!rest[depth + 1]) groupsUnder[above]! |= ILL_FORMED;
      before = token.text;
      longest = Math.max(longest, token.bytes.length);
    }
    leave(0);
    firstTokens[node] = spelled.length;

    this.size = size;
    this.#bytesOf = bytesOf;
    this.numNodes = node;
    this.bytes = bytes.slice(0, node);
    this.depths = depths.slice(0, node);
    this.ends = ends.slice(0, node);
    this.firstTokens = firstTokens.slice(0, node + 1);
    this.groupsUnder = groupsUnder.slice(0, node);
    this.heights = heights.slice(0, node);
    this.tokens = Int32Array.from(spelled, ({ id }) => id);
    this.longest = longest;
  }

  /** What a token adds to the output; nothing for those that are not in the trie. */
  bytesOf(id: number): Uint8Array {
    return this.#bytesOf(id) ?? NOTHING;
  }
}

/** By number of bytes that are left out at the front, whether the others are UTF-8, perhaps cut off at the end. */
function wellFormedFrom(bytes: Uint8Array): boolean[] {
  const isWell = new Array<boolean>(bytes.length + 1).fill(true);
  for (let at = bytes.length - 1; at >= 0; at--) {
    const lead = bytes[at]!;
    const length =
      lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    // Some leads forbid second bytes that others allow: what is too long, surrogates, what is beyond 10FFFF.
    const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    const end = Math.min(at + length, bytes.length);
    let isGood = length > 0 && isWell[end]!;
    for (let i = at + 1; i < end; i++) {
      const byte = bytes[i]!;
      isGood &&= i === at + 1 ? byte >= least && byte <= most : byte >= 0x80 && byte <= 0xbf;
    }
    isWell[at] = isGood;
  }
  return isWell;
}

/** Those of bytes that are not ASCII: the parts of longer characters. */
export const WIDE_GROUPS: number = 0b1111 << 25;

/** 29 groups of bytes that grammars of text tend to treat alike, from 0 to 28. */
export function groupOf(byte: number): number {
  return GROUP_OF[byte]!;
}

const GROUP_OF: Uint8Array = (() => {
  const groups = [
    "\t",
    "\n",
    "\r",
    " ",
    '"',
    "\\",
    "'",
    ",",
    ":",
    "[]",
    "{}",
    "-+",
    ".",
    "/",
    "_",
    "0",
    "123456789",
  ];
  groups.push("eE", "abcdfABCDF", "u", "nrtb");
  const groupOfByte = new Uint8Array(256);
  for (let byte = 0; byte < 256; byte++) {
    const named = groups.findIndex((group) => group.includes(String.fromCharCode(byte)));
    if (named >= 0) groupOfByte[byte] = named;
    else if (byte < 0x20) groupOfByte[byte] = 21;
    else if (/[a-z]/.test(String.fromCharCode(byte))) groupOfByte[byte] = 22;
    else if (/[A-Z]/.test(String.fromCharCode(byte))) groupOfByte[byte] = 23;
    else if (byte < 0x80) groupOfByte[byte] = 24;
    else if (byte < 0xc0) groupOfByte[byte] = 25;
    else groupOfByte[byte] = byte < 0xe0 ? 26 : byte < 0xf0 ? 27 : 28;
  }
  return groupOfByte;
})();
