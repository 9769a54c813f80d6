/** Headers of an answer, as undici gives them: one that came more than once is a list. */
export type ReplyHeaders = Record<string, string | string[] | undefined>;

export function header(headers: ReplyHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}
