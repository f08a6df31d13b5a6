/** What stands below the verdict, each in one sentence: what happened, when will it be done, how fresh that is. */
import type { ComponentChildren, JSX } from "preact";

import type { Incident, Stats } from "../api";
import { age, duration, exact, moment, plural, step, upper, visible, words } from "../format";
import { isStale } from "../notices";
import { link } from "../router";
import { answeredAt, dataAge, now } from "../store";

const worstOf = (open: Stats["open_incidents"]) => open.find((incident) => incident.severity === "critical") ?? open[0];

function IncidentLink({ one, id, children }: { one: Stats; id: number; children: ComponentChildren }): JSX.Element {
  return <a href={link("run", one.run, "incident", id)}>{children}</a>;
}

export function Happened({ one, incidents }: { one: Stats; incidents: readonly Incident[] }): JSX.Element {
  const worst = worstOf(one.open_incidents);
  if (one.error && one.state === "failed") {
    return worst ? (
      <IncidentLink one={one} id={worst.id}>
        {upper(visible(one.error))}
      </IncidentLink>
    ) : (
      <>{upper(visible(one.error))}</>
    );
  }
  if (worst) {
    return (
      <>
        <IncidentLink one={one} id={worst.id}>
          {upper(visible(worst.message))}
        </IncidentLink>
        <span class="muted">
          {/[.!?]$/.test(worst.message) ? " Since " : ", since "}
          {moment(worst.opened_at)} ({age(now.value - worst.opened_at)})
        </span>
      </>
    );
  }
  if (one.state === "stalled") return <>No row for {duration(dataAge.value)}, and the run has not said that it ended</>;
  if (isStale()) return <>No row for {duration(dataAge.value)}, though the run says that it trains</>;
  const past = incidents[0];
  if (!past) return <>{one.step === null ? "Nothing yet" : "Nothing out of the ordinary"}</>;
  return (
    <>
      {one.live ? "Nothing now. Last: " : "Nothing is open. Last: "}
      <IncidentLink one={one} id={past.id}>
        {words(past.kind)} at step {step(past.start_step)}
      </IncidentLink>
      <span class="muted">
        {" "}
        {age(now.value - past.opened_at)}
        {past.resolution && `, ${visible(past.resolution)}`}
        {incidents.length > 1 && `; ${plural(incidents.length, "incident")} in all`}
      </span>
    </>
  );
}

/** How long the rest would take as it went before it fell silent. */
function lastSpeed(one: Stats): string {
  const [total, pace] = [one.total_steps ?? one.estimated_total, one.steps_per_sec.average];
  return total && pace && one.step !== null ? `; ${duration((total - one.step) / pace)} more at its last speed` : "";
}

export function Done({ one }: { one: Stats }): JSX.Element {
  if (!one.live) {
    const ended = one.finished_at ?? one.updated_at;
    return (
      <>
        {one.state === "completed" ? "Finished" : "Ended"} {age(ended === null ? null : now.value - ended)}
        {ended !== null && <span class="muted"> ({moment(ended)})</span>}
      </>
    );
  }
  if (one.state === "pending") return <>Not known before it begins</>;
  if (one.step !== null && one.total_steps && one.step > one.total_steps) return <>Not known: it is past its {step(one.total_steps)} steps</>;
  if (one.eta_seconds === null && one.total_steps && isStale()) return <>Not known while it is silent{lastSpeed(one)}</>;
  if (one.eta_seconds === null) return <>{(one.total_steps ?? one.estimated_total) ? "Not known while it does not move" : "Not known: no total of steps is told"}</>;
  const left = Math.max(0, one.eta_seconds - Math.max(0, now.value - answeredAt.value));
  const written = one.total_steps !== null && one.step !== null && one.step >= one.total_steps;
  if (left < 1 && (written || !isStale())) return <>{isStale() ? "Overdue: its last step is written, its end is not" : "Any moment now"}</>;
  if (isStale()) return <>Not known while it is silent{lastSpeed(one)}</>;
  // By the reader's own clock.
  const done = Date.now() / 1000 + left;
  return (
    <>
      In {duration(left)}
      <span class="muted" title={exact(done)}>
        {" "}
        (about {moment(done)})
      </span>
    </>
  );
}

export function Fresh({ one }: { one: Stats }): JSX.Element {
  return (
    <>
      {dataAge.value === null ? "No row yet" : `Newest row: ${age(dataAge.value)}`}
      {one.model_name && <span class="muted"> &middot; {visible(one.model_name)}</span>}
    </>
  );
}
