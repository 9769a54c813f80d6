/** A place in a file's text. Both count from 1; columns count UTF-16 units, as editors do. */
export interface Position {
  line: number;
  column: number;
}
