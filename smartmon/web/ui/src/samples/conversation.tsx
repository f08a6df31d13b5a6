/** A conversation by role: system purple, user blue, assistant green, each named as well. */
import type { JSX } from "preact";

import type { Sample } from "../api";
import { inert } from "../text/inert";
import { Shown } from "../text/shown";

const ROLES: Record<string, string> = {
  system: "system",
  developer: "system",
  user: "user",
  human: "user",
  assistant: "assistant",
  gpt: "assistant",
  model: "assistant",
};
const CHARACTERS = 1_500;

/** What was asked, what should have been said, and what was said so far. */
export function Conversation({ sample }: { sample: Sample }): JSX.Element {
  const { messages, text, golden, predicted, generating } = sample;
  return (
    <div class="conversation">
      {messages.map((message, index) => (
        <Turn key={index} role={message.role} text={message.content} />
      ))}
      {messages.length === 0 && text !== null && <Turn role="user" name="prompt" text={text} />}
      {messages.length === 0 && text === null && <p class="muted">The file does not tell what was asked.</p>}
      {golden !== null && <Turn role="assistant" name="golden" text={golden} />}
      {(predicted !== null || generating) && (
        <Turn
          role="assistant"
          name={generating ? "answer so far" : "answer"}
          text={predicted ?? ""}
          coming={generating}
        />
      )}
    </div>
  );
}

interface TurnProps {
  role: string;
  text: string;
  /** What it is called, where its role does not say enough. */
  name?: string;
  /** Whether more of it is to come. */
  coming?: boolean;
}

function Turn({ role, text, name, coming = false }: TurnProps): JSX.Element {
  const known = Object.hasOwn(ROLES, role) ? ROLES[role]! : "other";
  return (
    <div class={`turn ${known}`}>
      <span class="role">
        <bdi>{name ?? (inert(role, { limit: 40 }) || "no role")}</bdi>
      </span>
      <div class="said" aria-busy={coming}>
        {text === "" && !coming ? <span class="muted">nothing</span> : <Shown text={text} lines limit={CHARACTERS} />}
        {coming && <span class="caret" role="img" aria-label="still coming" />}
      </div>
    </div>
  );
}
