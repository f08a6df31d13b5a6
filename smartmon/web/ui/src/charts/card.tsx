/** A chart in its panel: folded or not, with its help, its log scale, and its ways out as PNG and CSV. */
import type { Signal } from "@preact/signals";
import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import type uPlot from "uplot";

import type { Event, Incident } from "../api";
import { Icon } from "../icons";
import { Panel } from "../panel";
import { remembered } from "../settings";
import { colour } from "../theme";
import { axis, focus, live, stats, zoom } from "../store";
import { Chart } from "./chart";
import type { ChartDef } from "./defs";
import { fileName, savePicture, saveRows, saveTable } from "./export";
import { attempts, openEnded, settled, show } from "./part";
import { Scatter, type ScatterHandle } from "./scatter";
import type { Table } from "./series";
import { helped, marked } from "./toolbar";

export interface CardProps {
  def: ChartDef;
  run: string;
  events: readonly Event[];
  incidents: readonly Incident[];
  /** Always open, without a frame of its own to fold. */
  bare?: boolean;
}

const RECENT_STEPS = 500;

type BodyProps = CardProps & { handle: Handle; dots: ScatterHandle; log: boolean };

function Body({ def, run, events, incidents, handle, dots, log }: BodyProps): JSX.Element {
  const height = def.id === "loss" ? 260 : 200;
  if (def.special === "scatter") return <Scatter run={run} handle={dots} />;
  const recent = def.special === "recent";
  const last = stats.value?.step ?? 0;
  const newest = { from: Math.max(0, last - RECENT_STEPS), to: Math.max(last, 1) };
  return (
    <Chart
      def={def}
      runs={[run]}
      axis={recent ? "step" : axis.value}
      range={recent ? newest : zoom.value}
      asked={recent ? openEnded(newest) : settled.value}
      onRange={recent ? undefined : (range) => (range ? show(range) : (zoom.value = null))}
      onAnswer={(answer) => (attempts.value = answer.attempts)}
      log={log}
      height={height}
      events={events}
      incidents={incidents}
      marked={marked.value}
      focus={focus.value}
      sync={recent ? null : "run"}
      live={live.value && (recent || goesOn())}
      handle={handle}
    />
  );
}

/** Whether what is shown reaches to the newest step: what lies behind does not change. */
function goesOn(): boolean {
  const part = zoom.value;
  return part === null || axis.value !== "step" || part.to >= (stats.value?.step ?? 0);
}

type Handle = { current: { plot: uPlot; table: Table } | null };

/** Whether a chart is open: what was chosen last, in this browser. */
export const isOpen = (def: ChartDef): Signal<boolean> => remembered(`open.chart.${def.id}`, def.open ?? false);

export function Help({ def }: { def: ChartDef }): JSX.Element | null {
  if (!helped.value) return null;
  return (
    <div class="chart-help">
      {def.help.map((line) => (
        <p key={line}>{line}</p>
      ))}
    </div>
  );
}

export function ChartCard(props: CardProps): JSX.Element {
  const { def, run } = props;
  const handle: Handle = useRef<{ plot: uPlot; table: Table } | null>(null);
  const dots: ScatterHandle = useRef<ScatterHandle["current"]>(null);
  const log = remembered(`log.${def.id}`, false);
  const plotted = def.special !== "scatter";
  const legend = (table: Table) =>
    [...new Map(table.drawn.map(({ line }) => [line.label, { label: line.label, colour: colour(line.colour) }])).values()];
  const saveImage = () => {
    const name = fileName(run, def.id, "png");
    const title = `${def.title} \u00b7 ${run}`;
    const drawn = handle.current;
    if (drawn) savePicture(drawn.plot.ctx.canvas, drawn.plot.width, title, legend(drawn.table), name);
    else if (dots.current) savePicture(dots.current.canvas, dots.current.canvas.clientWidth, title, [], name);
  };
  const saveNumbers = () => {
    const name = fileName(run, def.id, "csv");
    if (handle.current) saveTable(handle.current.table, def.special === "recent" ? "step" : axis.value, name);
    else if (dots.current) saveRows([`${axis.value},loss,accuracy`, ...dots.current.dots.map((dot) => [dot.x, dot.loss, dot.accuracy].join())], name);
  };
  const tools = (
    <>
      {plotted && (
        <button type="button" class="button plain" aria-pressed={log.value} title="Logarithmic scale" onClick={() => (log.value = !log.value)}>
          log
        </button>
      )}
      <button type="button" class="button plain" title="Save as a picture (PNG)" aria-label={`Save ${def.title} as a picture`} onClick={saveImage}>
        <Icon name="image" />
      </button>
      <button type="button" class="button plain" title="Save as a table (CSV)" aria-label={`Save ${def.title} as a table`} onClick={saveNumbers}>
        <Icon name="table" />
      </button>
    </>
  );
  return (
    <Panel title={def.title} id={`chart.${def.id}`} open={def.open ?? props.bare ?? false} tools={tools} class={def.open ? "whole" : undefined}>
      {() => (
        <>
          <Help def={def} />
          <Body {...props} handle={handle} dots={dots} log={log.value} />
        </>
      )}
    </Panel>
  );
}
