/** Golden against predicted, place by place: each verdict has a sign and a border of its own, besides its colour. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import type { Sample, Token, Verdict } from "../api";
import { grouped, percentage } from "../format";
import { cut, inert } from "../text/inert";
import { Pieces } from "../text/shown";

const FIRST = 400;
const CHARACTERS = 80;

const SIGNS: Record<Verdict, [sign: string, word: string]> = {
  match: ["✓", "match"],
  mismatch: ["✗", "mismatch"],
  missing: ["∅", "missing"],
  extra: ["+", "too much"],
};

/** `Accuracy 85.7 % | Matches 6/7 | Diff 1` */
export function scoreText({ accuracy, matches, total }: Sample): string {
  const diff = matches === null || total === null ? null : total - matches;
  return `Accuracy ${percentage(accuracy)} | Matches ${grouped(matches)}/${grouped(total)} | Diff ${grouped(diff)}`;
}

/** The places of a comparison, with the score above and what the signs mean below. */
export function Tokens({ sample }: { sample: Sample }): JSX.Element {
  const extra = useSignal(0);
  const most = FIRST + extra.value;
  const { tokens, compared } = sample;
  const present = (Object.keys(SIGNS) as Verdict[]).filter((verdict) => tokens.some((one) => one.verdict === verdict));
  return (
    <div class="comparison">
      <p class="score">
        {scoreText(sample)} <span class="muted">by {compared}</span>
      </p>
      <ol class="tokens" aria-label={`Golden and predicted ${compared}`}>
        {tokens.slice(0, most).map((token, index) => (
          <TokenBox key={index} token={compared === "words" ? bare(token) : token} />
        ))}
      </ol>
      {tokens.length > most && (
        <button type="button" class="more" onClick={() => (extra.value += 4 * FIRST)}>
          … {grouped(tokens.length - most)} more {compared}
        </button>
      )}
      <p class="legend muted">
        {present.map((verdict) => (
          <span key={verdict}>
            <span class={`key ${verdict}`}>{SIGNS[verdict][0]}</span> {SIGNS[verdict][1]}
          </span>
        ))}
        {present.some((verdict) => verdict !== "match") && <span>above: golden, below: predicted</span>}
      </p>
    </div>
  );
}

/** Between words a space says nothing; a line end does. */
function bare({ golden, predicted, verdict }: Token): Token {
  const plain = (text: string | null) => text && text.replace(/^[^\S\n]+/u, "");
  return { golden: plain(golden), predicted: plain(predicted), verdict };
}

function TokenBox({ token }: { token: Token }): JSX.Element {
  const { golden, predicted, verdict } = token;
  const [sign, word] = SIGNS[verdict] ?? ["?", verdict];
  const wanted = golden === null ? "nothing" : `“${inert(golden)}”`;
  const said = predicted === null ? "nothing" : `“${inert(predicted)}”`;
  const told = verdict === "match" ? `match: ${wanted}` : `${word}: golden ${wanted}, predicted ${said}`;
  return (
    <li class={`token ${verdict}`} title={told}>
      <span class="visually-hidden">{told}</span>
      <span aria-hidden="true">
        <Visible text={golden} />
      </span>
      {verdict !== "match" && (
        <span class="predicted" aria-hidden="true">
          <Visible text={predicted} />
        </span>
      )}
      <span class="sign" aria-hidden="true">
        {sign}
      </span>
    </li>
  );
}

/** A token with its spaces to be seen: a token is often nothing else. */
function Visible({ text }: { text: string | null }): JSX.Element {
  if (text === null) return <span class="none">∅</span>;
  const shown = cut(text, CHARACTERS).replaceAll(" ", "·").replaceAll("\n", "↵").replaceAll("\t", "⇥");
  return (
    <bdi>
      <Pieces text={shown} />
    </bdi>
  );
}
