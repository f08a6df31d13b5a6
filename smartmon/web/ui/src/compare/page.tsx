/** Two or more runs side by side: curves, what each came to, the best that was kept, where their settings differ. */
import type { JSX } from "preact";

import type { Compare as CompareAnswer } from "../api";
import { useAsk } from "../ask";
import { Icon } from "../icons";
import { stateLook } from "../looks";
import { Empty, Nothing, Panel } from "../panel";
import { compareLink, go, route } from "../router";
import { NoRuns } from "../runs/none";
import { run, runs } from "../store";
import { inert } from "../text/inert";
import { Curves } from "./curves";
import { Differences } from "./differences";
import { Outcomes } from "./outcomes";
import "./compare.css";

const RUNS_MOST = 8;

/** `#/compare?run=A&run=B` */
export function ComparePage(): JSX.Element {
  const asked = [...new Set(route.value.query.getAll("run"))].slice(0, RUNS_MOST);
  const chosen = asked.length === 0 && run.value !== null ? [run.value] : asked;
  if (runs.value?.length === 0) return <NoRuns />;
  if (runs.value?.length === 1) {
    return (
      <Nothing title="One run cannot be compared">
        <p>There have to be two. Point the daemon at another training, or start one, and come back.</p>
      </Nothing>
    );
  }
  return (
    <>
      <h1 class="visually-hidden">Runs side by side</h1>
      <Panel title="Compare" aside={`${chosen.length} of at most ${RUNS_MOST} runs`}>
        <Choice chosen={chosen} />
      </Panel>
      {chosen.length < 2 ? (
        <Empty>Choose {chosen.length === 1 ? "one more" : "two runs"} to compare.</Empty>
      ) : (
        <Chosen chosen={chosen} />
      )}
    </>
  );
}

/** All runs as buttons; the pressed ones are compared, and the address tells which. */
function Choice({ chosen }: { chosen: readonly string[] }): JSX.Element {
  // By name: news would move a button away from under the finger.
  const known = [...(runs.value ?? [])].sort((a, b) => a.run.localeCompare(b.run));
  const toggled = (name: string) =>
    go(compareLink(chosen.includes(name) ? chosen.filter((one) => one !== name) : [...chosen, name]));
  return (
    <div class="choice" role="group" aria-label="Runs to compare">
      {known.map((card) => {
        const place = chosen.indexOf(card.run);
        const look = stateLook(card.state);
        return (
          <button
            key={card.run}
            type="button"
            class="button chip"
            aria-pressed={place >= 0}
            disabled={place < 0 && chosen.length >= RUNS_MOST}
            onClick={() => toggled(card.run)}
          >
            <Icon name={look.icon} class={look.colour} label={card.state} />
            <bdi>{inert(card.run, { limit: 60 })}</bdi>
          </button>
        );
      })}
    </div>
  );
}

function Chosen({ chosen }: { chosen: readonly string[] }): JSX.Element {
  const { answer, trouble } = useAsk<CompareAnswer>("compare", { run: chosen }, { every: 5_000 });
  if (answer === null) return <Empty>{trouble || "Asking…"}</Empty>;
  const names = answer.runs.map((one) => one.card.run);
  return (
    <>
      <Panel title="Side by side" id="compare-outcomes">
        <Outcomes runs={answer.runs} />
      </Panel>
      <Panel title="Curves" id="compare-curves">
        {() => <Curves runs={names} metrics={answer.metrics} />}
      </Panel>
      <Panel title="Settings that differ" id="compare-settings" aside={String(answer.differences.length)}>
        <Differences runs={answer.runs} differences={answer.differences} />
      </Panel>
    </>
  );
}
