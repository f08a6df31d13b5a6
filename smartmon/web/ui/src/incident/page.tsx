/** One incident, whole: what, since when, expected, what else moved, what was kept, who was told, what to do next. */
import type { ComponentChildren, JSX } from "preact";

import type { Incident, IncidentDetail } from "../api";
import { useAsk } from "../ask";
import { Done } from "../cards/answers";
import { judge } from "../cards/verdict";
import { lookAt } from "../charts/part";
import { Empty, Nothing, Panel } from "../panel";
import { age, duration, exact, metricName, moment, plural, step, upper, value, words } from "../format";
import { Icon } from "../icons";
import { kindLook, severityLook, type Look } from "../looks";
import { isLost, isStale } from "../notices";
import { go, link, runLink } from "../router";
import { daemon, now, stats, type Place } from "../store";
import { Command } from "../text/copy";
import { Shown } from "../text/shown";
import { EventRow } from "../timeline/row";
import { Around } from "./around";
import { Deliveries } from "./deliveries";
import { KeptList } from "./kept";
import "../timeline/timeline.css";
import "./incident.css";

/** The page of an incident; every alert links to it. */
export function IncidentPage({ run, id }: { run: string; id: string }): JSX.Element {
  const { answer, trouble } = useAsk<IncidentDetail>(`incidents/${encodeURIComponent(id)}`, {}, { every: 3_000 });
  if (answer === null) {
    return trouble ? (
      <Nothing title="There is no such incident">
        <p>{trouble}</p>
        <p>
          <a href={runLink(run)}>Back to the run</a>
        </p>
      </Nothing>
    ) : (
      <Empty>Asking…</Empty>
    );
  }
  // A number alone is no address of another run: whoever typed it is taken to where it belongs.
  if (answer.incident.run !== run) go(link("run", answer.incident.run, "incident", answer.incident.id));
  return <Whole detail={answer} />;
}

function Whole({ detail }: { detail: IncidentDetail }): JSX.Element {
  const { incident } = detail;
  const toCharts = (there: Place) => {
    go(runLink(incident.run));
    lookAt(there);
  };
  return (
    <article class="incident">
      <Headline incident={incident} onLook={() => toCharts({ step: incident.start_step, at: incident.opened_at, attempt: incident.attempt })} />
      <div class="columns two">
        <div class="column">
          <Panel title="What happened">
            <What detail={detail} />
          </Panel>
          <Panel title="Around it" class="later" aside="all metrics over the same steps">
            <Around detail={detail} />
          </Panel>
          {detail.last_lines.length > 0 && (
            <Panel title="The trainer's last words" class="later">
              <pre class="last-lines" tabIndex={0}>
                <Shown text={detail.last_lines.join("\n")} lines limit={8_000} />
              </pre>
            </Panel>
          )}
          <Panel title="Its events" class="later" aside={plural(detail.events.length, "event")}>
            <ol class="events">
              {detail.events.map((event) => (
                <EventRow key={event.id} event={event} onLook={toCharts} />
              ))}
            </ol>
          </Panel>
        </div>
        <div class="column">
          <Panel title="What to do next">
            <Next detail={detail} />
          </Panel>
          <Panel title="What was kept">
            <KeptList detail={detail} />
          </Panel>
          <Panel title="Who was told">
            <Deliveries deliveries={detail.deliveries} historic={incident.historic} />
          </Panel>
        </div>
      </div>
    </article>
  );
}

function Headline({ incident, onLook }: { incident: Incident; onLook: () => void }): JSX.Element {
  const look = kindLook(incident.kind, incident.severity);
  const grave = severityLook(incident.severity);
  const end = endLook(incident);
  const open = incident.state === "open";
  return (
    <header class={`incident-head ${open ? grave.colour : end.colour}`}>
      <nav aria-label="Way back">
        <a href={runLink(incident.run)}>
          <Shown text={incident.run} limit={80} />
        </a>{" "}
        <span class="muted">/ incident {incident.id}</span>
      </nav>
      <h1>
        <Icon name={look.icon} class={look.colour} />
        <Shown text={plainTitle(incident)} limit={300} />
      </h1>
      <RunNow run={incident.run} />
      <p class="row">
        <span class={`badge ${grave.colour}`}>
          <Icon name={grave.icon} />
          {words(incident.severity)}
        </span>
        <span class={`badge ${end.colour}`}>
          <Icon name={end.icon} />
          {end.word}
        </span>
        <span class="muted">
          {open
            ? `for ${duration(now.value - incident.opened_at)}`
            : `after ${duration((incident.resolved_at ?? incident.updated_at) - incident.opened_at)}`}
          , {plural(incident.anomalies, "anomaly", "anomalies")}
        </span>
        <button type="button" class="button" onClick={onLook}>
          Show it in the charts
        </button>
      </p>
    </header>
  );
}

/** How it ended. What only the end of its run ended did not recover, and is not shown as if it had. */
function endLook({ state, resolution }: Incident): Look & { word: string } {
  if (state === "open") return { colour: "red", icon: "flag", word: "open" };
  if (resolution === "the run ended") return { colour: "grey", icon: "stop", word: "ended with the run" };
  return { colour: "green", icon: "check", word: "resolved" };
}

/** How its run is by now, and when it will be done: whoever comes from an alert asks that first. */
function RunNow({ run }: { run: string }): JSX.Element | null {
  const one = stats.value;
  if (one?.run !== run) return null;
  const told = judge(one, daemon.value?.running ?? true, isStale(), isLost());
  return (
    <p class="run-now">
      <span class="muted">The run now:</span>{" "}
      <b class={told.colour}>
        <Icon name={told.icon} /> {told.word}
      </b>{" "}
      {told.rest}
      <span class="muted"> &middot; {one.live && "When it will be done: "}</span>
      <Done one={one} />
    </p>
  );
}

/** The title of its alert, without what stands beside it here: the change and the run. */
function plainTitle({ title, run }: Incident): string {
  const plain = title.replace(/^(resolved|now critical|still critical|in trouble already): /, "");
  const bare = plain.endsWith(` - ${run}`) ? plain.slice(0, -run.length - 3) : plain;
  return upper(bare);
}

function What({ detail }: { detail: IncidentDetail }): JSX.Element {
  const { incident } = detail;
  return (
    <>
      <p class="lead">
        <Shown text={upper(incident.message)} />
      </p>
      <dl class="facts">
        <Fact name="Since">
          <span title={exact(incident.opened_at)}>
            <Shown text={detail.since} />
          </span>
        </Fact>
        <Fact name="Steps">
          {step(incident.start_step)}
          {incident.end_step !== incident.start_step && ` to ${step(incident.end_step)}`}
          {incident.attempt > 1 && `, attempt ${incident.attempt}`}
        </Fact>
        {incident.last_good_step !== null && <Fact name="Last good step">{step(incident.last_good_step)}</Fact>}
        {incident.metric && incident.value !== null && (
          <Fact name="Seen">
            {metricName(incident.metric)} {value(incident.value)}
            {incident.expected !== null && `, expected about ${value(incident.expected)}`}
          </Fact>
        )}
        {detail.cause && (
          <Fact name="Likely cause">
            <Shown text={detail.cause} />
          </Fact>
        )}
        {incident.state === "resolved" && (
          <Fact name="Over">
            {moment(incident.resolved_at)} ({age(now.value - (incident.resolved_at ?? 0))})
            {incident.resolution && (
              <>
                : <Shown text={incident.resolution} />
              </>
            )}
          </Fact>
        )}
        <Fact name="Reason">
          <code>
            <Shown text={incident.reason} />
          </code>
        </Fact>
      </dl>
      {incident.historic && (
        <p class="muted">It was past already when it was first read: nobody was told and nothing was kept.</p>
      )}
    </>
  );
}

function Next({ detail }: { detail: IncidentDetail }): JSX.Element {
  const { advice, commands, base_dir } = detail;
  return (
    <>
      {advice && (
        <p>
          <Shown text={advice} />
        </p>
      )}
      {commands.length > 0 && (
        <>
          <p class="muted">
            In <Shown text={base_dir} />:
          </p>
          {commands.map((command) => (
            <Command key={command} text={command} />
          ))}
        </>
      )}
      {!advice && commands.length === 0 && <p class="muted">Nothing: it is over.</p>}
      <p>
        <a class="whole-log" href={link("run", detail.incident.run, "log")}>The trainer&apos;s log</a>
      </p>
    </>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}
