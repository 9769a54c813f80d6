/** A file on a server as a source: fetched in windows of ranges. */
import { WindowedSource, type WindowReader } from "../windowed-source.ts";
import { RangeReader, type RemoteFile } from "./range-reader.ts";

export interface RemoteSourceOptions {
  file: RemoteFile;
  identity: string;
  /** Its store tells no version. */
  isUnversioned?: boolean;
  /** Of the whole content, in hex. */
  sha256?: string | undefined;
  /** Asks the server again; throws CheckpointError when the content is another. */
  checkUnchanged?: () => Promise<void>;
  /** Other ways to the bytes than ranges. */
  reader?: WindowReader;
}

export class RemoteSource extends WindowedSource {
  readonly isUnversioned: boolean;

  constructor({ file, reader, isUnversioned = false, ...options }: RemoteSourceOptions) {
    const { name, byteLength } = file;
    super({ ...options, name, byteLength, reader: reader ?? new RangeReader(file) });
    this.isUnversioned = isUnversioned;
  }
}
