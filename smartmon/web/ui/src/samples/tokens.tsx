/** Golden against predicted, place by place: each verdict has a sign and a line of its own, besides its colour. */
import { useState } from "preact/hooks";
import { inert } from "../text/inert";
import { Pieces } from "../text/shown";
import type { Comparison, Place, Verdict } from "./words";

const FIRST = 400;

const SIGNS: Record<Verdict, { sign: string; word: string }> = {
  match: { sign: "✓", word: "match" },
  mismatch: { sign: "✗", word: "mismatch" },
  missing: { sign: "∅", word: "missing" },
  extra: { sign: "+", word: "too many" },
};

/** `Accuracy 85.7 % | Matches 6/7 | Diff 1` */
export function scoreText({ accuracy, matches, total }: Comparison): string {
  const shown = accuracy === null ? "-" : `${accuracy.toFixed(1)} %`;
  return `Accuracy ${shown} | Matches ${matches}/${total} | Diff ${total - matches}`;
}

/** The places of a comparison, with the score above and what the signs mean below. */
export function Tokens({ comparison }: { comparison: Comparison }) {
  const [most, setMost] = useState(FIRST);
  const { places, unit } = comparison;
  const present = (Object.keys(SIGNS) as Verdict[]).filter((verdict) => places.some((one) => one.verdict === verdict));
  return (
    <div class="comparison">
      <p class="score">
        {scoreText(comparison)} <span class="quiet">by {unit}</span>
      </p>
      <ol class="tokens" aria-label={`Golden and predicted ${unit}`}>
        {places.slice(0, most).map((place, index) => (
          <Token key={index} place={place} />
        ))}
      </ol>
      {places.length > most && (
        <button type="button" class="more" onClick={() => setMost(most + 4 * FIRST)}>
          … {(places.length - most).toLocaleString("en-US")} more {unit}
        </button>
      )}
      <p class="legend quiet">
        {present.map((verdict) => (
          <span key={verdict}>
            <span class={`key ${verdict}`}>{SIGNS[verdict].sign}</span> {SIGNS[verdict].word}
          </span>
        ))}
        <span>above: golden, below: predicted</span>
      </p>
    </div>
  );
}

function Token({ place }: { place: Place }) {
  const { golden, predicted, verdict } = place;
  const wanted = golden === null ? "nothing" : `“${inert(golden)}”`;
  const said = predicted === null ? "nothing" : `“${inert(predicted)}”`;
  const told = verdict === "match" ? `match: ${wanted}` : `${SIGNS[verdict].word}: golden ${wanted}, predicted ${said}`;
  return (
    <li class={`token ${verdict}`} title={told}>
      <span class="offscreen">{told}</span>
      <span class="golden" aria-hidden="true">
        {golden === null ? "∅" : <Visible text={golden} />}
      </span>
      {verdict !== "match" && (
        <span class="predicted" aria-hidden="true">
          {predicted === null ? "∅" : <Visible text={predicted} />}
        </span>
      )}
      <span class="sign" aria-hidden="true">
        {SIGNS[verdict].sign}
      </span>
    </li>
  );
}

/** A token with its spaces to be seen: a token is often nothing else. */
function Visible({ text }: { text: string }) {
  const shown = text.slice(0, 80).replaceAll(" ", "·").replaceAll("\n", "↵").replaceAll("\t", "⇥");
  return <bdi>{shown === "" ? "" : <Pieces text={shown} />}</bdi>;
}
