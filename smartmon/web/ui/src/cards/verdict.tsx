/** The top of the page: is it fine, what happened, what was kept, when will it be done. Read in five seconds. */
import type { ComponentChildren, JSX } from "preact";

import type { Incident, Incidents, SnapshotOne, Snapshots, Stats } from "../api";
import { useAsk } from "../ask";
import { age, bytes, duration, exact, moment, percent, plural, step, value, visible, words } from "../format";
import { Icon, type IconName } from "../icons";
import { severityLook, stateLook, type Colour } from "../looks";
import { link } from "../router";
import { Progress } from "../runs/row";
import { answeredAt, daemon, dataAge, incidentNews, now, stats } from "../store";
import { isLost, isStale } from "../notices";
import "./cards.css";

interface Judgement {
  colour: Colour;
  icon: IconName;
  /** One or two words: the answer to "is it fine?". */
  word: string;
  /** The rest of the sentence. */
  rest: string;
}

const at = (one: Stats): string =>
  one.step === null ? "" : one.total_steps ? `step ${step(one.step)} of ${step(one.total_steps)}` : `step ${step(one.step)}`;

/** Whether it is fine. Trouble outranks state, and what nobody watches is not called fine. */
export function judge(one: Stats, watched: boolean, stale: boolean, lost = false): Judgement {
  const state = stateLook(one.state);
  const open = one.open_incidents;
  const critical = open.find((incident) => incident.severity === "critical");
  const worst = critical ?? open[0];
  const where = at(one);
  if (one.state === "failed") return { ...state, word: "Failed", rest: where && `at ${where}` };
  if (worst) {
    const look = severityLook(worst.severity);
    const more = open.length > 1 ? ` and ${plural(open.length - 1, "other incident")}` : "";
    const still = one.state === "running" ? `; training goes on, ${where}` : `; ${words(one.state)} at ${where}`;
    return { ...look, word: critical ? "In trouble" : "Needs a look", rest: `${words(worst.kind)}${more}${where && still}` };
  }
  if (one.state === "stalled") return { ...state, word: "Stalled", rest: `no new step since ${where}` };
  if (one.state === "completed") return { ...state, word: "Done", rest: where };
  if (one.state === "stopped") return { ...state, word: "Stopped", rest: where && `at ${where}` };
  if (one.state === "paused") return { ...state, word: "Paused", rest: where && `at ${where}` };
  if (one.state === "pending") return { ...state, word: "Waiting", rest: "training has not begun" };
  if (lost) return { colour: "orange", icon: "plug", word: "Not known", rest: where && `last seen at ${where}` };
  if (!watched) return { colour: "orange", icon: "plug", word: "Not watched", rest: where && `last seen at ${where}` };
  if (stale) return { colour: "yellow", icon: "clock", word: "Quiet", rest: where && `nothing new since ${where}` };
  return { ...state, icon: "check", word: "Fine", rest: `training, ${where}` };
}

function Happened({ one, incidents }: { one: Stats; incidents: Incident[] }): JSX.Element {
  const incidentLink = (id: number, text: string) => <a href={link("run", one.run, "incident", id)}>{visible(text)}</a>;
  if (one.error && one.state === "failed") return <>{visible(one.error)}</>;
  if (one.open_incidents.length) {
    const worst = one.open_incidents.find((incident) => incident.severity === "critical") ?? one.open_incidents[0]!;
    return (
      <>
        {incidentLink(worst.id, worst.message)}, since {moment(worst.opened_at)}
      </>
    );
  }
  const past = incidents[0];
  if (!past) return <>Nothing out of the ordinary</>;
  return (
    <>
      {incidentLink(past.id, words(past.kind))} at step {step(past.start_step)}, {visible(past.resolution) || "over"}
      {incidents.length > 1 && ` (${plural(incidents.length, "incident")} in all)`}
    </>
  );
}

const holds = (one: SnapshotOne): boolean => one.state === "ok" && one.checkpoint_step !== null;

function Kept({ one, snapshots }: { one: Stats; snapshots: Snapshots | null }): JSX.Element {
  const copying = one.snapshots_pending > 0 ? <> Copying {plural(one.snapshots_pending, "more", "more")}.</> : null;
  const all = snapshots?.snapshots.filter(holds) ?? [];
  const best = all.find((snapshot) => snapshot.triggers.includes("best_model"));
  const other = all.find((snapshot) => !snapshot.triggers.includes("best_model"));
  if (!best && !other) {
    const bare = snapshots?.count ? `Only what was known, in ${plural(snapshots.count, "snapshot")}: the run has saved no checkpoint` : "";
    return <>{copying ?? (bare || "Nothing yet; nothing called for it")}</>;
  }
  const parts: string[] = [];
  if (best) parts.push(`best model, step ${step(best.checkpoint_step)}`);
  if (other) parts.push(`step ${step(other.checkpoint_step)} from the ${words(other.triggers[0] ?? "anomaly")}`);
  const text = parts.join("; ");
  return (
    <>
      {text.charAt(0).toUpperCase() + text.slice(1)}
      <span class="muted">
        {" "}
        ({plural(snapshots!.count, "snapshot")}, {bytes(snapshots!.bytes)})
      </span>
      {copying}
    </>
  );
}

function Done({ one }: { one: Stats }): JSX.Element {
  if (!one.live) {
    const ended = one.finished_at ?? one.updated_at;
    return (
      <>
        {one.state === "completed" ? "Finished" : "Ended"} {age(ended === null ? null : now.value - ended)}
        {ended !== null && <span class="muted"> ({moment(ended)})</span>}
      </>
    );
  }
  if (one.eta_seconds === null) return <>{one.total_steps ? "Not known while it does not move" : "Not known: no total of steps is told"}</>;
  const left = Math.max(0, one.eta_seconds - Math.max(0, now.value - answeredAt.value));
  if (left < 1) return <>{isStale() ? "Overdue: its last step is written, its end is not" : "Any moment now"}</>;
  if (isStale()) return <>Not known while it is quiet; {duration(one.eta_seconds)} at its last speed</>;
  return (
    <>
      In {duration(left)}
      <span class="muted" title={exact(now.value + left)}>
        {" "}
        (about {moment(now.value + left)})
      </span>
    </>
  );
}

function Answer({ question, icon, children }: { question: string; icon: IconName; children: ComponentChildren }): JSX.Element {
  return (
    <div>
      <dt>
        <Icon name={icon} />
        {question}
      </dt>
      <dd>{children}</dd>
    </div>
  );
}

export function Verdict(): JSX.Element {
  const one = stats.value;
  const name = one?.run ?? null;
  void incidentNews.value;
  const incidents = useAsk<Incidents>(name === null ? null : "incidents", { run: name, limit: 200 }, { every: 5000 });
  const snapshots = useAsk<Snapshots>(name === null ? null : "snapshots", { run: name }, { every: 5000 });
  if (!one) return <section class="verdict loading" aria-busy="true" />;
  const told = judge(one, daemon.value?.running ?? true, isStale(), isLost());
  return (
    <section class={`verdict ${told.colour}`} aria-label="Verdict">
      <h1>
        <Icon name={told.icon} />
        <b>{told.word}</b>
        {told.rest && <span>{told.rest}</span>}
      </h1>
      <div class="how-far">
        <Progress share={one.progress} colour={told.colour} label="Progress" />
        <span class="num">
          {percent(one.progress)}
          {one.epoch !== null && <span class="muted"> &middot; epoch {value(one.epoch, 3)}</span>}
          {one.attempt > 1 && <span class="muted"> &middot; attempt {one.attempt}</span>}
        </span>
      </div>
      <dl>
        <Answer question="What happened" icon="flag">
          <Happened one={one} incidents={incidents.answer?.incidents ?? []} />
        </Answer>
        <Answer question="What was kept" icon="box">
          <Kept one={one} snapshots={snapshots.answer} />
        </Answer>
        <Answer question={one.live ? "When it will be done" : "When it was done"} icon="clock">
          <Done one={one} />
        </Answer>
        <Answer question="How fresh this is" icon="gauge">
          {one.live ? `Newest row ${age(dataAge.value)}` : `History; newest row ${age(dataAge.value)}`}
          {one.model_name && <span class="muted"> &middot; {visible(one.model_name)}</span>}
        </Answer>
      </dl>
    </section>
  );
}
