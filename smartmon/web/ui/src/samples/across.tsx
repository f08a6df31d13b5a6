/** The same prompt across steps: what the model answered to it each time. */
import { inert } from "../text/inert";
import type { Look } from "./record";
import { scoreText } from "./tokens";

interface AcrossProps {
  looks: readonly Look[];
  chosen: Look;
  onChoose: (look: Look) => void;
}

/** A table of the answers, the newest first; a press on one shows it whole. */
export function Across({ looks, chosen, onChoose }: AcrossProps) {
  if (looks.length < 2) {
    return <p class="quiet">This was asked once so far; the answers of later steps will stand here beside it.</p>;
  }
  return (
    <div class="scroll">
      <table class="across">
        <caption class="offscreen">Answers to the same prompt, the newest first</caption>
        <thead>
          <tr>
            <th scope="col" class="number">Step</th>
            <th scope="col" class="number">Accuracy</th>
            <th scope="col">Answer</th>
          </tr>
        </thead>
        <tbody>
          {looks.map((look, index) => (
            <tr key={index} class={look === chosen ? "chosen" : ""}>
              <th scope="row" class="number">
                <button type="button" class="link" aria-pressed={look === chosen} onClick={() => onChoose(look)}>
                  {look.step?.toLocaleString("en-US") ?? "-"}
                </button>
              </th>
              <td class="number" title={scoreText(look.comparison)}>
                {look.comparison.accuracy === null ? "-" : `${look.comparison.accuracy.toFixed(1)} %`}
              </td>
              <td class="answer">
                <bdi>{inert(look.predicted, { limit: 120 }) || "nothing"}</bdi>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
