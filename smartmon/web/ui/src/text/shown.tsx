/** A stranger's text on the page: text nodes only, cut when it is long, with a button for more. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import { grouped } from "../format";
import { cut, pieces } from "./inert";
import "./text.css";

const MORE = 20_000;

interface ShownProps {
  text: string;
  /** Characters to show at first. */
  limit?: number;
  /** Whether line feeds and runs of spaces are kept. */
  lines?: boolean;
}

/** The text, its own direction kept to itself, hidden characters spelled out. */
export function Shown({ text, limit = 1_000, lines = false }: ShownProps): JSX.Element {
  const extra = useSignal(0);
  const most = limit + extra.value;
  return (
    <>
      <bdi class={lines ? "shown lines" : "shown"}>
        <Pieces text={cut(text, most)} />
      </bdi>
      {text.length > most && (
        <button type="button" class="more" onClick={() => (extra.value += MORE)}>
          … {grouped(text.length - most)} more characters
        </button>
      )}
    </>
  );
}

/** The pieces of a text, each escape in an element of its own. */
export function Pieces({ text }: { text: string }): JSX.Element {
  return (
    <>
      {pieces(text).map((piece) =>
        piece.escape ? (
          <span class="escape" title="a character that does not show">
            {piece.text}
          </span>
        ) : (
          piece.text
        ),
      )}
    </>
  );
}
