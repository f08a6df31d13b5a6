/** The trainer's log on the run's page: its last 200 lines. */
import type { JSX } from "preact";

import type { Log as LogAnswer } from "../api";
import { useAsk } from "../ask";
import { Empty, Panel } from "../panel";
import { link } from "../router";
import { live } from "../store";
import { Shown } from "../text/shown";
import { Lines } from "./lines";
import "./log.css";

const LAST = 200;

/** The panel of a run: folded until somebody wants it. */
export function Log({ run }: { run: string }): JSX.Element {
  return (
    <Panel title="Log" id="log" open={false} tools={<a href={link("run", run, "log")}>The whole log</a>}>
      {() => <Tail run={run} />}
    </Panel>
  );
}

function Tail({ run }: { run: string }): JSX.Element {
  const { answer, trouble } = useAsk<LogAnswer>(
    "log",
    { run, limit: LAST },
    { every: 2_000, poll: live.value ? 3_000 : 0 },
  );
  if (answer === null) return <Empty>{trouble || "Asking…"}</Empty>;
  if (answer.lines.length === 0) return <NoLog answer={answer} />;
  return <Lines lines={answer.lines} />;
}

/** Why there is nothing to read. */
export function NoLog({ answer }: { answer: LogAnswer }): JSX.Element {
  return (
    <Empty>
      {answer.source ? (
        <>
          <Shown text={answer.source} limit={120} /> is empty so far.
        </>
      ) : (
        <>
          <p>This run has no log of its own.</p>
          <p>
            <code>smartmon exec -- COMMAND</code> keeps everything that a training prints.
          </p>
        </>
      )}
    </Empty>
  );
}
