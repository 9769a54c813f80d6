/**
 * The byte alphabet of byte-level BPE (GPT-2's): a printable character for each of the 256 bytes.
 *
 * Bytes 33–126, 161–172 and 174–255 are the characters of the same value; the other 68, in order, are the
 * characters from 256 on. So a space is "Ġ" and a line feed "Ċ" in tokenizer.json.
 */

/** The character of every byte. */
export const BYTE_SYMBOLS: readonly string[] = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
})();

const BYTE_OF: ReadonlyMap<string, number> = new Map(BYTE_SYMBOLS.map((symbol, byte) => [symbol, byte]));

function isPrintable(byte: number): boolean {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

/** The bytes that a token of a byte-level vocabulary stands for; its UTF-8 when it is not of the alphabet. */
export function bytesOfSymbols(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let at = 0; at < token.length; at++) {
    const byte = BYTE_OF.get(token.charAt(at));
    if (byte === undefined) return new TextEncoder().encode(token);
    bytes[at] = byte;
  }
  return bytes;
}

/** Bytes that occur in UTF-8: without a symbol for each of them, some text cannot be encoded. */
export const UTF8_BYTES: readonly number[] = Array.from({ length: 0xf5 }, (_, byte) => byte).filter(
  (byte) => byte !== 0xc0 && byte !== 0xc1,
);
