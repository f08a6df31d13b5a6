/** Usage of the experts of each layer, made ready to be drawn as a heat map. */
import type { Layer } from "../api";

export interface Cell {
  layer: string;
  expert: string;
  /** Percent of the layer's tokens; null where the log does not tell. */
  share: number | null;
  dead: boolean;
  /** 0 to 8: how far above or below an even share, as a class of experts.css; 4 is even. */
  level: number;
}

export interface Row {
  layer: string;
  cells: Cell[];
  /** Percent that each expert would have if all were used alike. */
  even: number;
  /** The largest share as a multiple of the even one. */
  peak: number;
  /** 0 (one does everything) to 1 (all alike): the entropy of the shares over that of even ones. */
  balance: number;
}

const STEPS = 4;

/** A quarter of the even share or less is the coldest, four times it the hottest; steps of the logarithm between. */
function level(share: number, even: number): number {
  if (!(even > 0) || !(share > 0)) return 0;
  const place = STEPS + (STEPS / 2) * Math.log2(share / even);
  return Math.max(0, Math.min(2 * STEPS, Math.round(place)));
}

/** One row of the map. */
export function row({ layer, experts }: Layer): Row {
  const known = experts.flatMap(({ percent }) => (percent === null ? [] : [percent]));
  const total = known.reduce((sum, share) => sum + share, 0);
  const even = known.length ? total / known.length : 0;
  const entropy = known.reduce((sum, share) => (share > 0 ? sum - (share / total) * Math.log(share / total) : sum), 0);
  return {
    layer,
    cells: experts.map(({ expert, percent, dead }) => {
      return { layer, expert, share: percent, dead, level: percent === null ? STEPS : level(percent, even) };
    }),
    even,
    peak: even > 0 ? Math.max(...known) / even : 0,
    balance: known.length > 1 && total > 0 ? entropy / Math.log(known.length) : 1,
  };
}
