/** The heat map itself: a row for each layer, a column for each expert, the dead ones with a cross. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import { inert } from "../text/inert";
import type { Cell, Row } from "./heat";

/** Past so many experts in a row, shares are told by colour, title and the line below alone. */
const NUMBERS_MOST = 16;

/** All layers; arrow keys walk from cell to cell, and the line below tells of the one that is on. */
export function HeatMap({ rows }: { rows: readonly Row[] }): JSX.Element {
  const place = useSignal<[layer: number, expert: number]>([0, 0]);
  const on = place.value;
  const width = Math.max(0, ...rows.map((row) => row.cells.length));
  const experts = rows.find((row) => row.cells.length === width)?.cells ?? [];
  const told = rows[on[0]]?.cells[on[1]];
  const dense = width > NUMBERS_MOST;
  const summary = (row: Row) => (
    <>
      <td class="num">{row.peak.toFixed(1)}×</td>
      <td class="num">{row.balance.toFixed(2)}</td>
    </>
  );
  const heads = (
    <>
      <th scope="col" class="num" title="the largest share, as a multiple of an even one">
        Peak
      </th>
      <th scope="col" class="num" title="1: all used alike; 0: one expert does everything">
        Balance
      </th>
    </>
  );
  const walk = (event: KeyboardEvent) => {
    const moved = MOVES[event.key];
    if (!moved) return;
    event.preventDefault();
    const layer = Math.max(0, Math.min(rows.length - 1, on[0] + moved[0]));
    const expert = Math.max(0, Math.min((rows[layer]?.cells.length ?? 1) - 1, on[1] + moved[1]));
    place.value = [layer, expert];
    const table = event.currentTarget as HTMLElement;
    table.querySelector<HTMLElement>(`[data-place="${layer}-${expert}"]`)?.focus();
  };
  return (
    <>
      <div class="scroll">
        <table role="grid" class={dense ? "heat dense" : "heat"} onKeyDown={walk}>
          <caption class="visually-hidden">
            Share of each layer&apos;s tokens by expert; arrow keys walk from cell to cell
          </caption>
          <thead>
            <tr>
              <th scope="col">Layer</th>
              {dense && heads}
              {experts.map((cell, index) => (
                <th key={cell.expert} scope="col" class="expert" title={inert(cell.expert)}>
                  {dense && index % 8 !== 0 ? (
                    <span class="visually-hidden">{short(cell.expert)}</span>
                  ) : (
                    short(cell.expert)
                  )}
                </th>
              ))}
              {!dense && heads}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, layer) => (
              <tr key={row.layer}>
                <th scope="row" title={inert(row.layer)}>
                  {short(row.layer)}
                </th>
                {dense && summary(row)}
                {row.cells.map((cell, expert) => (
                  <td
                    key={cell.expert}
                    class={cell.dead ? "cell dead" : `cell heat-${cell.level}`}
                    data-place={`${layer}-${expert}`}
                    tabIndex={layer === on[0] && expert === on[1] ? 0 : -1}
                    title={cellText(cell)}
                    aria-label={cellText(cell)}
                    onFocus={() => (place.value = [layer, expert])}
                    onClick={() => (place.value = [layer, expert])}
                  >
                    {cell.dead ? "✕" : dense ? "" : percent(cell.share)}
                  </td>
                ))}
                {Array.from({ length: width - row.cells.length }, (_, index) => (
                  <td key={`none-${index}`} />
                ))}
                {!dense && summary(row)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="told" aria-hidden="true">
        {told ? cellText(told) : ""}
      </p>
      <p class="legend muted">
        <span>less than an even share</span>
        {Array.from({ length: 9 }, (_, level) => (
          <span key={level} class={`swatch heat-${level}`} />
        ))}
        <span>more</span>
        <span class="swatch dead">✕</span>
        <span>dead: next to no tokens</span>
      </p>
    </>
  );
}

const MOVES: Record<string, [number, number]> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

function cellText(cell: Cell): string {
  const share = cell.share === null ? "not told" : `${percent(cell.share)} % of the tokens`;
  return `${inert(cell.layer)}, ${inert(cell.expert)}: ${share}${cell.dead ? ", dead" : ""}`;
}

function percent(share: number | null): string {
  if (share === null) return "-";
  return share >= 10 ? share.toFixed(0) : share.toFixed(1);
}

/** `layer_12` as `12`. */
function short(name: string): string {
  return /(\d+)$/.exec(name)?.[1] ?? inert(name, { limit: 8 });
}
