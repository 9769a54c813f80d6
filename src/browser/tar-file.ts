/**
 * A folder as one file to download: POSIX tar (ustar), which every system unpacks. No times and no owners, so that equal
 * children give equal archives.
 *
 * A block of 512 bytes tells of each file; its content follows, padded with zeros to whole blocks; two blocks of
 * zeros end the archive.
 */
/** Bytes of a header, and what contents are padded to. */
export const TAR_BLOCK = 512;
/** Eleven octal digits. */
const MOST_BYTES = 8 ** 11 - 1;
const MOST_NAME_BYTES = 100;

const encoder = new TextEncoder();

/** Of an archive with these files. */
export function tarBytes(files: readonly { byteLength: number }[]): number {
  return files.reduce((sum, { byteLength }) => sum + TAR_BLOCK + padded(byteLength), 2 * TAR_BLOCK);
}

/** Bytes that a file takes behind its block. */
export function padded(byteLength: number): number {
  return Math.ceil(byteLength / TAR_BLOCK) * TAR_BLOCK;
}

/** The block before a file's content. Throws RangeError for a name or a size that the format cannot say. */
export function tarHeader(name: string, byteLength: number): Uint8Array {
  const bytes = encoder.encode(name);
  if (bytes.length === 0 || bytes.length > MOST_NAME_BYTES)
    throw new RangeError(`Cannot archive "${name}": its name has ${bytes.length} bytes, wanted 1 to 100`);
  if (byteLength > MOST_BYTES)
    throw new RangeError(
      `Cannot archive "${name}": it holds ${byteLength} bytes, wanted at most ${MOST_BYTES}`,
    );
  const header = new Uint8Array(TAR_BLOCK);
  const put = (at: number, text: string) => header.set(encoder.encode(text), at);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0");
  header.set(bytes, 0);
  put(100, `${octal(0o644, 7)}\0`); // mode
  put(108, `${octal(0, 7)}\0`); // owner
  put(116, `${octal(0, 7)}\0`); // group
  put(124, `${octal(byteLength, 11)}\0`);
  put(136, `${octal(0, 11)}\0`); // time
  put(148, " ".repeat(8)); // the sum is taken with blanks in its own place
  put(156, "0"); // a regular file
  put(257, "ustar\x0000");
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(148, `${octal(sum, 6)}\0 `);
  return header;
}
