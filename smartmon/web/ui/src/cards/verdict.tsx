/** The top of the page: is it fine, what happened, what was kept, when will it be done. Read in five seconds. */
import type { ComponentChildren, JSX } from "preact";

import type { Incidents, Snapshots, Stats } from "../api";
import { useAsk } from "../ask";
import { approximate, percent, plural, step, value, words } from "../format";
import { Icon, type IconName } from "../icons";
import { severityLook, stateLook, type Colour } from "../looks";
import { isLost, isStale } from "../notices";
import { Progress } from "../runs/row";
import { daemon, incidentNews, stats } from "../store";
import { useCalm } from "./calm";
import { Done, Fresh, Happened } from "./answers";
import { Kept } from "./kept";
import "./cards.css";

const ESTIMATED = "No file tells how many steps there are: estimated from the time that its rows say is left.";

interface Judgement {
  colour: Colour;
  icon: IconName;
  /** One or two words: the answer to "is it fine?". */
  word: string;
  /** The rest of the sentence. */
  rest: string;
}

function at(one: Stats): string {
  if (one.step === null) return "";
  const total = one.total_steps ? ` of ${step(one.total_steps)}` : one.estimated_total ? ` of about ${approximate(one.estimated_total)}` : "";
  return `step ${step(one.step)}${total}`;
}

/** Whether it is fine. Trouble outranks state, and what nobody watches is not called fine. */
export function judge(one: Stats, watched: boolean, stale: boolean, lost = false): Judgement {
  const state = stateLook(one.state);
  const open = one.open_incidents;
  const critical = open.find((incident) => incident.severity === "critical");
  const worst = critical ?? open[0];
  const where = at(one);
  if (one.state === "failed") return { ...state, word: "Failed", rest: where && `at ${where}` };
  if (worst && worst.kind !== one.state) {
    const look = severityLook(worst.severity);
    const more = open.length > 1 ? ` and ${plural(open.length - 1, "other incident")}` : "";
    const running = lost || !watched ? "last seen at" : stale ? "nothing new since" : "training goes on,";
    const still = `; ${one.state === "running" ? running : `${words(one.state)} at`} ${where}`;
    return { ...look, word: critical ? "In trouble" : "Needs a look", rest: `${words(worst.kind)}${more}${where && still}` };
  }
  if (one.state === "stalled") return { ...state, word: "Stalled", rest: `no new step since ${where}` };
  if (one.state === "completed") return { ...state, word: "Done", rest: where };
  if (one.state === "stopped") return { ...state, word: "Stopped", rest: where && `at ${where}` };
  if (one.state === "paused") return { ...state, word: "Paused", rest: where && `at ${where}` };
  if (one.state === "pending") return { ...state, word: "Waiting", rest: "training has not begun" };
  if (lost) return { colour: "orange", icon: "plug", word: "Not known", rest: where && `last seen at ${where}` };
  if (!watched) return { colour: "orange", icon: "plug", word: "Not watched", rest: where && `last seen at ${where}` };
  if (stale) return { colour: "yellow", icon: "clock", word: "Silent", rest: where && `nothing new since ${where}` };
  return { ...state, icon: "check", word: "Fine", rest: `training, ${where}` };
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
  const told = one && judge(one, daemon.value?.running ?? true, isStale(), isLost());
  const answers = useCalm<HTMLDListElement>(told?.word ?? "");
  if (!one || !told) return <section class="verdict loading" aria-busy="true" />;
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
          {one.estimated_total !== null && <span title={ESTIMATED}>about </span>}
          {percent(one.progress, one.estimated_total === null ? 1 : 0)}
          {one.epoch !== null && <span class="muted"> &middot; epoch {value(one.epoch, 3)}</span>}
          {one.attempt > 1 && <span class="muted"> &middot; attempt {one.attempt}</span>}
        </span>
      </div>
      <dl ref={answers}>
        <Answer question="What happened" icon="flag">
          <Happened one={one} incidents={incidents.answer?.incidents ?? []} />
        </Answer>
        <Answer question="What was kept" icon="box">
          <Kept one={one} incidents={incidents.answer?.incidents ?? []} snapshots={snapshots.answer} />
        </Answer>
        <Answer question={one.live ? "When it will be done" : "When it was done"} icon="clock">
          <Done one={one} />
        </Answer>
        <Answer question="How fresh this is" icon="gauge">
          <Fresh one={one} />
        </Answer>
      </dl>
    </section>
  );
}
