/**
 * A treemap whose tiles are as square as they get (Bruls, Huizing and van Wijk, 2000): the largest first, row by row along
 * the shorter side of what is left, a tile going to the row as long as that makes its worst tile no longer.
 */
export interface Tile {
  index: number;
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Tiles of the sizes above 0, with their areas in proportion; in no particular order. */
export function squarify(sizes: readonly number[], width: number, height: number): Tile[] {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (!(total > 0)) return [];
  const scale = (width * height) / total;
  const left = sizes
    .map((size, index) => ({ index, area: size * scale }))
    .filter(({ area }) => area > 0)
    .sort((a, b) => b.area - a.area);
  const tiles: Tile[] = [];
  let [x, y, w, h] = [0, 0, width, height];
  let from = 0;
  while (from < left.length) {
    const side = Math.min(w, h);
    let to = from + 1;
    let sum = left[from]!.area;
    while (to < left.length) {
      const next = sum + left[to]!.area;
      const [most, least] = [left[from]!.area, left[to]!.area];
      if (worst(side, next, most, least) > worst(side, sum, most, left[to - 1]!.area)) break;
      sum = next;
      to++;
    }
    const thick = sum / side;
    let along = 0;
    for (const { index, area } of left.slice(from, to)) {
      const long = area / thick;
      tiles.push(
        w >= h
          ? { index, x, y: y + along, width: thick, height: long }
          : { index, x: x + along, y, width: long, height: thick },
      );
      along += long;
    }
    if (w >= h) [x, w] = [x + thick, w - thick];
    else [y, h] = [y + thick, h - thick];
    from = to;
  }
  return tiles;
}

/** Longest ratio of sides in a row of this sum along this side. */
function worst(side: number, sum: number, most: number, least: number): number {
  return Math.max((side * side * most) / (sum * sum), (sum * sum) / (side * side * least));
}
