/** Folders that live as long as a test. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What a test's context and node:test itself have in common: `temporaryFolder(t)`, `temporaryFolder({ after })`. */
export interface Ends {
  after(remove: () => void): void;
}

/** A new empty folder, removed with all in it when the test (or the suite) ends. */
export function temporaryFolder(ends: Ends): string {
  const folder = mkdtempSync(join(tmpdir(), "chimera-test-"));
  ends.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
