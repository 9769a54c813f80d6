/**
 * Which tensor holds the block scales of which weight.
 *
 * DeepSeek and transformers put `_scale_inv` behind the weight's name; DeepSeek's inference code and some
 * converters have a sibling `scale` instead. Either way the scale multiplies (model.md section 12.1).
 */

const SUFFIX = "_scale_inv";
const WEIGHT = ".weight";
const SIBLING = ".scale";

/** Names under which the scale of a weight may lie, the usual one first. */
export function scaleNameOf(weightName: string): string[] {
  const names = [weightName + SUFFIX];
  if (endsAfterStem(weightName, WEIGHT)) names.push(weightName.slice(0, -WEIGHT.length) + SIBLING);
  return names;
}

/**
 * The weight that a scale of this name belongs to; undefined when the name is not a scale's. A parameter
 * may be called "scale" for other reasons: it is one only if the weight exists.
 */
export function weightNameOf(scaleName: string): string | undefined {
  if (endsAfterStem(scaleName, SUFFIX)) return scaleName.slice(0, -SUFFIX.length);
  if (endsAfterStem(scaleName, SIBLING)) return scaleName.slice(0, -SIBLING.length) + WEIGHT;
  return undefined;
}

function endsAfterStem(name: string, suffix: string): boolean {
  return name.length > suffix.length && name.endsWith(suffix);
}
