/** The toolkit's version, as it stands in children, plans and `--version`. package.json has the same. */
export const VERSION: string = "0.1.0";
