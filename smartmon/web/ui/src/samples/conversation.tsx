/** A conversation by role: system purple, user blue, assistant green, each named as well. */
import { inert } from "../text/inert";
import { Shown } from "../text/shown";
import type { Message } from "./record";

const ROLES: Record<string, string> = {
  system: "system",
  developer: "system",
  user: "user",
  human: "user",
  assistant: "assistant",
  gpt: "assistant",
  model: "assistant",
};
const CHARACTERS = 4_000;

/** The messages that were asked. */
export function Conversation({ messages }: { messages: readonly Message[] }) {
  if (messages.length === 0) return <p class="quiet">The file does not tell what was asked.</p>;
  return (
    <div class="conversation">
      {messages.map((message, index) => (
        <Turn key={index} role={message.role} text={message.content} />
      ))}
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

/** One turn. */
export function Turn({ role, text, name, coming = false }: TurnProps) {
  const known = Object.hasOwn(ROLES, role) ? ROLES[role] : "other";
  return (
    <div class={`turn ${known}`}>
      <span class="role">
        <bdi>{name ?? (inert(role, { limit: 40 }) || "no role")}</bdi>
      </span>
      <div class="said" aria-busy={coming}>
        {text === "" && !coming ? <span class="quiet">nothing</span> : <Shown text={text} lines limit={CHARACTERS} />}
        {coming && <span class="caret" aria-label="still coming" />}
      </div>
    </div>
  );
}
