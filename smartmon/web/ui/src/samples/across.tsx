/** The same prompt across steps: what the model answered to it each time. */
import type { JSX } from "preact";

import type { Sample, Samples } from "../api";
import { useAsk } from "../ask";
import { grouped, percentage, step } from "../format";
import { live } from "../store";
import { inert } from "../text/inert";
import { scoreText } from "./tokens";

interface AcrossProps {
  run: string;
  chosen: Sample;
  onChoose: (step: number) => void;
}

const MOST = 100;

/** A table of the answers, the newest first; a press on a step shows that sample whole. */
export function Across({ run, chosen, onChoose }: AcrossProps): JSX.Element {
  const { answer, trouble } = useAsk<Samples>(
    "samples",
    { run, prompt: chosen.prompt_id, limit: MOST },
    { every: 5_000 },
  );
  if (answer === null) return <p class="muted">{trouble || "Asking…"}</p>;
  if (answer.samples.length < 2) {
    return <p class="muted">It was asked once{live.value && " so far; what later steps answer will stand here"}.</p>;
  }
  return (
    <div class="scroll across">
      <table class="listing">
        <caption class="visually-hidden">Answers to the same prompt, the newest first</caption>
        <thead>
          <tr>
            <th scope="col" class="num">
              Step
            </th>
            <th scope="col" class="num">
              Accuracy
            </th>
            <th scope="col">Answer</th>
          </tr>
        </thead>
        <tbody>
          {answer.samples.map((sample, index) => (
            <tr key={index} class={sample.step === chosen.step ? "chosen" : ""}>
              <th scope="row" class="num">
                {sample.step === null ? (
                  grouped(null)
                ) : (
                  <button
                    type="button"
                    class="as-link"
                    aria-pressed={sample.step === chosen.step}
                    onClick={() => onChoose(sample.step!)}
                  >
                    {step(sample.step)}
                  </button>
                )}
              </th>
              <td class="num" title={scoreText(sample)}>
                {percentage(sample.accuracy)}
              </td>
              <td class="answer">
                <bdi>{inert(sample.predicted ?? "", { limit: 160 }) || "nothing"}</bdi>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
