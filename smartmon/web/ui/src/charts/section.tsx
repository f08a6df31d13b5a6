/** The charts of a run: loss and perplexity open, the others folded until somebody opens them, all zoomed as one. */
import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";

import type { Events, Incidents } from "../api";
import { useAsk } from "../ask";
import { Empty, Panel } from "../panel";
import { incidentNews, stats } from "../store";
import { Icon } from "../icons";
import { ChartCard, isOpen } from "./card";
import { catalogue, type ChartDef } from "./defs";
import { Others } from "./others";
import { comeIntoView, wanted } from "./part";
import { marked, MarksKey, Toolbar } from "./toolbar";
import "./charts.css";

const MOST_MARKS = 200;
const PLACES = ["checkpoint_saved", "snapshot_created"];

/** What is marked: places of checkpoints and snapshots, and every anomaly, of whatever kind. */
function useMarks(run: string): { events: Events["events"]; incidents: Incidents["incidents"] } {
  void incidentNews.value;
  const slow = { every: 3000, patient: true };
  const places = useAsk<Events>("events", { run, kind: PLACES, limit: MOST_MARKS }, slow);
  const kinds = useMemo(
    () => Object.entries(places.answer?.kinds ?? {}).flatMap(([kind, icon]) => (icon === "anomaly" || icon === "best" ? [kind] : [])),
    [Object.keys(places.answer?.kinds ?? {}).join()],
  );
  const anomalies = useAsk<Events>(kinds.length ? "events" : null, { run, kind: kinds, limit: MOST_MARKS }, slow);
  const incidents = useAsk<Incidents>("incidents", { run, limit: MOST_MARKS }, slow);
  const events = useMemo(
    () => [...(places.answer?.events ?? []), ...(anomalies.answer?.events ?? [])],
    [places.answer, anomalies.answer],
  );
  const list = useMemo(() => incidents.answer?.incidents ?? [], [incidents.answer]);
  return { events, incidents: list };
}

export function Charts({ run }: { run: string }): JSX.Element {
  const { events, incidents } = useMarks(run);
  const one = stats.value;
  // New numbers in the same set of metrics change no chart's definition: plots stay as they are.
  const known = one && JSON.stringify([one.metrics, one.warmup, one.steps_per_sec.average, one.samples_per_sec.average, one.tokens_per_sec.average]);
  const all = useMemo(() => (one ? catalogue(one) : null), [known]);
  useEffect(() => {
    if (!all || !wanted.value) return;
    comeIntoView();
    wanted.value = false;
  }, [all === null]);
  if (!all) return <div class="empty plot-wait">Asking&hellip;</div>;
  if (all.charts.length + all.others.length === 0) {
    return (
      <Panel title="Charts">
        <Empty>
          <p>This run has written no numbers yet. The first chart appears with the first step.</p>
        </Empty>
      </Panel>
    );
  }
  return (
    <div class="column" id="charts">
      <Toolbar />
      {marked.value && <MarksKey />}
      <div class="charts-grid">
        {all.charts.filter((def) => isOpen(def).value).map((def) => (
          <ChartCard key={def.id} def={def} run={run} events={events} incidents={incidents} />
        ))}
      </div>
      <Folded charts={all.charts.filter((def) => !isOpen(def).value)} />
      <Others run={run} metrics={all.others} events={events} incidents={incidents} />
    </div>
  );
}

/** Folded charts as a row of buttons: a dozen closed boxes would push everything else off the screen. */
function Folded({ charts }: { charts: readonly ChartDef[] }): JSX.Element | null {
  if (charts.length === 0) return null;
  return (
    <nav class="folded" aria-label="Folded charts">
      <span class="muted">More charts</span>
      {charts.map((def) => (
        <button
          key={def.id}
          type="button"
          class="button"
          aria-expanded={false}
          data-panel={`chart.${def.id}`}
          title={def.help[0]}
          onClick={() => (isOpen(def).value = true)}
        >
          <Icon name="arrow" />
          {def.title}
        </button>
      ))}
    </nav>
  );
}
