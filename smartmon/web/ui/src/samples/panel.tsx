/** What the model answers while it trains: one sample at a time, and the way back through the steps. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";

import type { Sample, Samples as SamplesAnswer } from "../api";
import { useAsk } from "../ask";
import { exact, moment, step, value } from "../format";
import { Icon } from "../icons";
import { Empty, Panel } from "../panel";
import { live } from "../store";
import { Shown } from "../text/shown";
import { Across } from "./across";
import { Conversation } from "./conversation";
import { save } from "./save";
import { Tokens } from "./tokens";
import "./samples.css";

/** The panel of a run. */
export function Samples({ run }: { run: string }): JSX.Element {
  return (
    <Panel title="Samples" id="samples" aside="what the model answers, beside the golden answer">
      {() => <Viewer run={run} />}
    </Panel>
  );
}

/** Follows the newest sample until somebody walks back, and then stays where they are. */
function Viewer({ run }: { run: string }): JSX.Element {
  const held = useSignal<number | null>(null);
  const generating = useSignal(false);
  // A training stands still while it is asked: its answer grows without any other news.
  const poll = live.value ? (generating.value ? 500 : 2_000) : 0;
  const newest = useAsk<SamplesAnswer>("samples", { run, limit: 1 }, { every: 500, poll, patient: true });
  useEffect(() => {
    generating.value = newest.answer?.samples[0]?.generating ?? false;
  }, [newest.answer]);
  const chosen = useAsk<SamplesAnswer>(held.value === null ? null : "samples", { run, limit: 1, step: held.value });
  const last = useSignal<Sample | null>(null);
  const shown = (held.value === null ? newest : chosen).answer?.samples[0] ?? null;
  // While the next one is on its way the one before stays, so that nothing jumps.
  if (shown !== null) last.value = shown;
  const sample = shown ?? last.value;
  if (newest.answer === null) return <Empty>{newest.trouble || "Asking…"}</Empty>;
  if (sample === null) {
    return (
      <Empty>
        <p>This trainer tells no samples.</p>
        <p>
          <code>smartmon train</code> does, and so does any trainer with smartmon&apos;s callback.
        </p>
      </Empty>
    );
  }
  const { steps } = newest.answer;
  const place = Math.max(0, held.value === null ? 0 : steps.indexOf(held.value));
  const go = (to: number) => {
    const next = Math.max(0, Math.min(steps.length - 1, to));
    held.value = next === 0 ? null : (steps[next] ?? null);
  };
  return (
    <div
      class="samples"
      onKeyDown={(event) => {
        if (event.target instanceof HTMLInputElement) return;
        if (event.key === "ArrowLeft") go(place + 1);
        else if (event.key === "ArrowRight") go(place - 1);
      }}
    >
      <Walk steps={steps} place={place} onGo={go} onSave={() => save(run, sample)} />
      <Conversation sample={sample} />
      {sample.error !== null && (
        <p class="red">
          <Icon name="warning" /> This look failed: <Shown text={sample.error} limit={300} />
        </p>
      )}
      {sample.compared !== null && <Tokens sample={sample} />}
      <details>
        <summary>About this sample</summary>
        <About sample={sample} source={newest.answer.source} />
      </details>
      <h3 class="subtitle">The same prompt across steps</h3>
      <Across run={run} chosen={sample} onChoose={(at) => go(steps.indexOf(at))} />
    </div>
  );
}

interface WalkProps {
  /** The newest first. */
  steps: readonly number[];
  place: number;
  onGo: (place: number) => void;
  onSave: () => void;
}

/** The way through the steps: older to the left. */
function Walk({ steps, place, onGo, onSave }: WalkProps): JSX.Element {
  const last = Math.max(0, steps.length - 1);
  const at = steps[place];
  return (
    <div class="walk" role="group" aria-label="Walk through the steps">
      <button type="button" class="button" disabled={place >= last} onClick={() => onGo(place + 1)}>
        <Icon name="arrow" class="back" label="Older sample" />
      </button>
      <input
        type="range"
        min={0}
        max={last}
        value={last - place}
        disabled={last === 0}
        aria-label="Sample"
        aria-valuetext={at === undefined ? "step unknown" : `step ${at}`}
        onInput={(event) => onGo(last - Number(event.currentTarget.value))}
      />
      <button type="button" class="button" disabled={place === 0} onClick={() => onGo(place - 1)}>
        <Icon name="arrow" label="Newer sample" />
      </button>
      <span class="place">
        step {step(at)} <span class="muted">({place === 0 ? "newest" : `${place + 1} of ${last + 1}`})</span>
      </span>
      <button type="button" class="button" disabled={place === 0} onClick={() => onGo(0)}>
        Newest
      </button>
      <button type="button" class="button" onClick={onSave}>
        <Icon name="download" />
        <span class="save">Save as JSON</span>
      </button>
    </div>
  );
}

const ENDINGS: Record<string, string> = {
  end: "the model ended it",
  length: "cut: it grew too long",
  time: "cut: it took too long",
  error: "an error ended it",
};

function About({ sample, source }: { sample: Sample; source: string }): JSX.Element {
  const facts: [string, string | null][] = [
    ["Step", sample.step === null ? null : step(sample.step)],
    ["Epoch", sample.epoch === null ? null : value(sample.epoch)],
    ["Written", sample.at === null ? null : `${moment(sample.at)} (${exact(sample.at)})`],
    ["Loss of the golden answer", sample.golden_loss === null ? null : `${value(sample.golden_loss)} nats a token`],
    ["Training loss", sample.train_loss === null ? null : value(sample.train_loss)],
    ["Evaluation loss", sample.eval_loss === null ? null : value(sample.eval_loss)],
    ["Learning rate", sample.learning_rate === null ? null : value(sample.learning_rate)],
    ["Exactly the golden answer", sample.exact === null ? null : sample.exact ? "yes" : "no"],
    ["End of the answer", sample.ended === null ? null : (ENDINGS[sample.ended] ?? sample.ended)],
    ["Row of the data", sample.row === null ? null : step(sample.row)],
    ["GPU memory", sample.gpu_memory],
    ["From", source || null],
  ];
  return (
    <dl class="facts">
      {facts.map(([name, told]) =>
        told === null ? null : (
          <>
            <dt>{name}</dt>
            <dd>
              <Shown text={told} limit={200} />
            </dd>
          </>
        ),
      )}
    </dl>
  );
}
