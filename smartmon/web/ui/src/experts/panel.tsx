/** How a mixture of experts spreads its tokens; nothing at all for a model without experts. */
import type { JSX } from "preact";

import type { Experts as ExpertsAnswer } from "../api";
import { useAsk } from "../ask";
import { grouped, plural, step } from "../format";
import { Icon } from "../icons";
import { Panel, Empty } from "../panel";
import { stats } from "../store";
import { row } from "./heat";
import { HeatMap } from "./map";
import "./experts.css";

/** The panel of a run. */
export function Experts({ run }: { run: string }): JSX.Element | null {
  if (!stats.value?.has_experts) return null;
  return (
    <Panel title="Experts" id="experts" aside="share of each layer's tokens">
      {() => <Usage run={run} />}
    </Panel>
  );
}

function Usage({ run }: { run: string }): JSX.Element {
  const { answer, trouble } = useAsk<ExpertsAnswer>("experts", { run }, { every: 5_000 });
  if (answer === null) return <Empty>{trouble || "Asking…"}</Empty>;
  if (answer.layers.length === 0) return <Empty>Their usage has not been told yet.</Empty>;
  return (
    <>
      <p class={answer.dead > 0 ? "red" : "muted"}>
        {answer.dead > 0 ? (
          <>
            <Icon name="critical" /> {plural(answer.dead, "expert is", "experts are")} dead
          </>
        ) : (
          "No expert is dead"
        )}
        {answer.step !== null && `, counted at step ${step(answer.step)}`}.
      </p>
      {answer.most !== null && (
        <p class="muted">
          Of each count smartmon reads the first {grouped(answer.most)} experts, in whole layers. Layers beyond that, if
          there are any, are not shown.
        </p>
      )}
      <HeatMap rows={answer.layers.map(row)} />
    </>
  );
}
