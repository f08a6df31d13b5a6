/** Every other number that the trainer writes, each with its chart: asked for and drawn only when it comes in sight. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";

import type { Event, Incident } from "../api";
import { plural, visible } from "../format";
import { Panel } from "../panel";
import { ChartCard } from "./card";
import { plain } from "./defs";

interface OthersProps {
  run: string;
  metrics: readonly string[];
  events: readonly Event[];
  incidents: readonly Incident[];
}

function OnSight(props: OthersProps & { metric: string }): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const seen = useSignal(false);
  const def = useMemo(() => plain(props.metric), [props.metric]);
  useEffect(() => {
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) {
          seen.value = true;
          observer.disconnect();
        }
      },
      { rootMargin: "200px" },
    );
    if (host.current) observer.observe(host.current);
    return () => observer.disconnect();
  }, []);
  return (
    <div ref={host} class="on-sight">
      {seen.value && <ChartCard def={def} run={props.run} events={props.events} incidents={props.incidents} bare />}
    </div>
  );
}

export function Others(props: OthersProps): JSX.Element | null {
  const search = useSignal("");
  if (props.metrics.length === 0) return null;
  const found = props.metrics.filter((metric) => metric.toLowerCase().includes(search.value.toLowerCase()));
  const tools =
    props.metrics.length > 8 ? (
      <input
        class="field"
        type="search"
        placeholder="Search metrics"
        aria-label="Search metrics"
        value={search.value}
        onInput={(event) => (search.value = event.currentTarget.value)}
      />
    ) : null;
  return (
    <Panel title="Other metrics" id="charts.others" open={false} aside={plural(props.metrics.length, "metric")} tools={tools} class="whole">
      {() => (
        <div class="charts-grid">
          {found.map((metric) => (
            <OnSight key={metric} metric={metric} {...props} />
          ))}
          {found.length === 0 && <p class="empty whole">No metric matches &ldquo;{visible(search.value)}&rdquo;.</p>}
        </div>
      )}
    </Panel>
  );
}
