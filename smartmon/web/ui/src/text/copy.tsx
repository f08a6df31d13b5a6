/** A command to run next, and a button that copies it. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";

import { Icon } from "../icons";
import { Pieces } from "./shown";
import "./text.css";

const SAID_FOR = 2_000;

/** A command in a line of its own. What is copied is the text as it is; what is shown has its escapes spelled out. */
export function Command({ text, label = "Command" }: { text: string; label?: string }): JSX.Element {
  const said = useSignal("");
  useEffect(() => {
    if (!said.value) return undefined;
    const timer = setTimeout(() => (said.value = ""), SAID_FOR);
    return () => clearTimeout(timer);
  }, [said.value]);
  return (
    <div class="command">
      <code tabIndex={0} aria-label={label}>
        <Pieces text={text} />
      </code>
      <button
        type="button"
        class="button"
        aria-label={`Copy: ${label}`}
        onClick={() => void copied(text).then((done) => (said.value = done ? "copied" : "select it, then Ctrl-C"))}
      >
        <Icon name={said.value === "copied" ? "check" : "copy"} />
      </button>
      <span class="muted" role="status">
        {said.value}
      </span>
    </div>
  );
}

/** Over plain http from another machine a page gets no clipboard: then a hidden field does it the old way. */
async function copied(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedByField(text);
  }
}

function copiedByField(text: string): boolean {
  const field = document.createElement("textarea");
  const before = document.activeElement;
  field.value = text;
  field.className = "visually-hidden";
  document.body.append(field);
  field.select();
  try {
    return document.execCommand("copy");
  } finally {
    field.remove();
    if (before instanceof HTMLElement) before.focus();
  }
}
