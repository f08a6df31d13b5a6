/** What happened: the newest 50 events, older ones as one scrolls. */
import { useSignal, type Signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

import type { Event, Events, Icon as Group, Incident, Incidents } from "../api";
import { useAsk } from "../ask";
import { lookAt } from "../charts/part";
import { Empty, Panel } from "../panel";
import { EVERYTHING, GroupButtons, SeverityChoice, type Filter } from "./filter";
import { usePast } from "./past";
import { EventRow } from "./row";
import "./timeline.css";

/** As the charts ask for them: a question that is asked twice at a time is answered once. */
const INCIDENTS = 200;

/** The panel of a run. */
export function Timeline({ run }: { run: string }): JSX.Element {
  const filter = useSignal<Filter>(EVERYTHING);
  return (
    <Panel
      title="Timeline"
      id="timeline"
      tools={<SeverityChoice filter={filter.value} onChange={(next) => (filter.value = next)} />}
    >
      {() => <TimelineList run={run} filter={filter} />}
    </Panel>
  );
}

function TimelineList({ run, filter }: { run: string; filter: Signal<Filter> }): JSX.Element {
  const known = useAsk<Events>("events", { run, limit: 1 }, { live: false, patient: true });
  const incidents = useAsk<Incidents>("incidents", { run, limit: INCIDENTS }, { every: 3_000 }).answer?.incidents ?? [];
  // Detectors of other packages have kinds of their own: those are known once they were seen.
  const seen = useRef<Record<string, Group>>({});
  const past = usePast(run, filter.value, { ...known.answer?.kinds, ...seen.current });
  if (filter.value.groups.size === 0) {
    for (const event of past.events ?? []) seen.current[event.kind] = event.icon;
  }
  const end = useRef<HTMLLIElement>(null);
  const older = useRef(past.older);
  older.current = past.older;

  useEffect(() => {
    if (!end.current) return undefined;
    const watch = new IntersectionObserver(
      (seen) => {
        if (seen.some((one) => one.isIntersecting)) older.current();
      },
      { root: end.current.closest(".events"), rootMargin: "200px" },
    );
    watch.observe(end.current);
    return () => watch.disconnect();
    // A new page may still leave the end in sight: it is watched anew.
  }, [past.events?.length, past.more]);

  const filtered = filter.value.groups.size > 0 || filter.value.severity !== EVERYTHING.severity;
  return (
    <>
      <GroupButtons filter={filter.value} onChange={(next) => (filter.value = next)} />
      {past.events === null && <Empty>{past.trouble || "Asking…"}</Empty>}
      {past.events?.length === 0 && (
        <Empty>
          {filtered ? (
            <>
              <p>Nothing matched.</p>
              <button type="button" class="button" onClick={() => (filter.value = EVERYTHING)}>
                Show everything
              </button>
            </>
          ) : (
            "Nothing has happened yet."
          )}
        </Empty>
      )}
      {past.events !== null && past.events.length > 0 && (
        <ol class="events" tabIndex={0} aria-label="Events, the newest first">
          {past.events.map((event) => (
            <EventRow key={event.id} event={event} onLook={lookAt} incident={incidentOf(event, incidents)} />
          ))}
          {past.more && (
            <li class="end" ref={end}>
              <button type="button" class="more" onClick={past.older} disabled={past.asking}>
                {past.asking ? "Asking…" : "Show older events"}
              </button>
            </li>
          )}
        </ol>
      )}
    </>
  );
}

/** The incident that an event names, or else the one of its kind that its step lies in. */
function incidentOf(event: Event, incidents: readonly Incident[]): Incident | undefined {
  const key = event.data["incident"];
  if (typeof key === "string") return incidents.find((one) => one.key === key);
  const at = event.step;
  if (at === null || event.severity === "info") return undefined;
  return incidents.find((one) => {
    const within = one.start_step <= at && at <= one.end_step;
    return within && one.kind === event.kind && one.attempt === event.attempt;
  });
}
