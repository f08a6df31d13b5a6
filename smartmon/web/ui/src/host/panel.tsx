/** The machine that a run trains on, now: its GPUs, its disk, its memory, the process. */
import type { ComponentChildren, JSX } from "preact";

import type { Gpu, GpuOne, Process } from "../api";
import { useAsk } from "../ask";
import { age, bytes, duration, percent, plural, value } from "../format";
import { Icon } from "../icons";
import { Empty, Panel } from "../panel";
import { live, now } from "../store";
import { Shown } from "../text/shown";
import { Meter } from "./meter";
import type { PastOf } from "./past";
import "./host.css";

const DISK_SOON = 86_400;
const HOT_SHARE = 0.95;
/** More GPUs than these are a line each, until somebody opens one. */
const GPUS_WHOLE = 2;
/** Seconds of looks from which the disk's trend can be told. */
const TREND = 180;

type Tell = (name: string, whole: number | null, tell: (value: number) => string) => PastOf;

/** The panel of a run. */
export function Host({ run }: { run: string }): JSX.Element {
  return (
    <Panel title="GPU and host" id="host">
      {() => <Machine run={run} />}
    </Panel>
  );
}

function Machine({ run }: { run: string }): JSX.Element {
  const { answer, trouble } = useAsk<Gpu>("gpu", { run }, { every: 5_000, patient: true, poll: live.value ? 10_000 : 0 });
  if (answer === null) return <Empty>{trouble || "Asking…"}</Empty>;
  const past: Tell = (name, whole, tell) => {
    return { points: answer.past.find((one) => one.name === name)?.points ?? [], whole, tell };
  };
  return (
    <div class="host">
      {answer.gpus.map((gpu) => (
        <GpuCard key={gpu.index} gpu={gpu} past={past} brief={answer.gpus.length > GPUS_WHOLE} />
      ))}
      {answer.gpu_note && (
        <p class="muted">
          <Shown text={answer.gpu_note} limit={300} />
        </p>
      )}
      <Disk host={answer} past={past("disk_free", answer.disk_total, bytes)} />
      {answer.memory_total !== null && answer.memory_available !== null && (
        <Meter
          name="Memory"
          share={1 - answer.memory_available / answer.memory_total}
          told={`${bytes(answer.memory_available)} free of ${bytes(answer.memory_total)}`}
          alarm={answer.memory_available / answer.memory_total < 0.05}
          past={past("memory_available", answer.memory_total, bytes)}
        />
      )}
      {answer.process && <ProcessLine process={answer.process} />}
      <p class="muted small">looked at {age(now.value - answer.at)}</p>
    </div>
  );
}

const isFull = ({ memory_used: used, memory_total: total }: GpuOne) => used !== null && !!total && used / total > 0.98;
const isHot = ({ temperature, temperature_limit: limit }: GpuOne) =>
  temperature !== null && limit !== null && temperature >= HOT_SHARE * limit;
const alarming = (gpu: GpuOne) => isFull(gpu) || isHot(gpu);

interface GpuProps {
  gpu: GpuOne;
  past: Tell;
  brief: boolean;
}

function GpuCard({ gpu, past, brief }: GpuProps): JSX.Element {
  const title = (
    <>
      <Icon name="chip" /> GPU {gpu.index} <Shown text={gpu.name} limit={60} />
    </>
  );
  const slowed = gpu.throttled && (
    <p class="orange">
      <Icon name="warning" /> slowed down: <Shown text={gpu.throttled} limit={120} />
    </p>
  );
  if (!brief) {
    return (
      <section class="gpu">
        <h3>{title}</h3>
        {slowed}
        <GpuMeters gpu={gpu} past={past} />
      </section>
    );
  }
  const told = [
    gpu.utilization === null ? "" : percent(gpu.utilization / 100, 0),
    gpu.memory_used === null ? "" : bytes(gpu.memory_used),
    gpu.temperature === null ? "" : `${value(gpu.temperature, 3)} °C`,
  ];
  return (
    <details class="gpu">
      <summary>
        {alarming(gpu) && <Icon name="warning" class="orange" label="alarming" />} GPU {gpu.index}{" "}
        <span class="muted">{told.filter(Boolean).join(" \u00b7 ")}</span>
        {slowed}
      </summary>
      <h3>{title}</h3>
      <GpuMeters gpu={gpu} past={past} />
    </details>
  );
}

function GpuMeters({ gpu, past }: { gpu: GpuOne; past: Tell }): JSX.Element {
  const {
    memory_used: used,
    memory_total: total,
    temperature,
    temperature_limit: limit,
    power,
    power_limit: cap,
  } = gpu;
  const before = (what: string, whole: number | null, tell: (value: number) => string) =>
    past(`gpu${gpu.index}/${what}`, whole, tell);
  return (
    <>
      {used !== null && total !== null && (
        <Meter
          name="Memory"
          share={used / total}
          told={`${bytes(used)} of ${bytes(total)}`}
          alarm={isFull(gpu)}
          past={before("memory_used", total, bytes)}
        />
      )}
      {gpu.utilization !== null && (
        <Meter
          name="Busy"
          share={gpu.utilization / 100}
          told={percent(gpu.utilization / 100, 0)}
          past={before("utilization", 100, (share) => percent(share / 100, 0))}
        />
      )}
      {temperature !== null && (
        <Meter
          name="Temperature"
          share={temperature / (limit ?? 100)}
          told={`${value(temperature, 3)} °C${limit === null ? "" : ` of ${value(limit, 3)} °C`}`}
          alarm={isHot(gpu)}
          past={before("temperature", limit, (degrees) => `${value(degrees, 3)} °C`)}
        />
      )}
      {power !== null && (
        <Meter
          name="Power"
          share={cap === null ? null : power / cap}
          told={`${Math.round(power)} W${cap === null ? "" : ` of ${Math.round(cap)} W`}`}
          past={before("power", cap, (watts) => `${Math.round(watts)} W`)}
        />
      )}
    </>
  );
}

function Disk({ host, past }: { host: Gpu; past: PastOf }): JSX.Element | null {
  const { disk_free: free, disk_total: total, disk_full_seconds: left } = host;
  if (free === null || total === null) return null;
  const soon = left !== null && left < DISK_SOON;
  const seen = (past.points.at(-1)?.[0] ?? 0) - (past.points[0]?.[0] ?? 0);
  const level = seen >= TREND ? "not filling up" : "too early to tell how fast it fills";
  const filling = left === null ? level : `full in ${duration(left)} at this hour's rate`;
  return (
    <>
      <Meter
        name="Disk"
        share={1 - free / total}
        told={`${bytes(free)} free of ${bytes(total)}`}
        alarm={soon || free / total < 0.05}
        past={past}
      />
      <p class={soon ? "orange small" : "muted small"}>
        {soon && <Icon name="warning" />} {filling}, <Shown text={host.disk} limit={120} />
      </p>
    </>
  );
}

function ProcessLine({ process }: { process: Process }): JSX.Element {
  const facts: ComponentChildren[] = [
    process.memory !== null && bytes(process.memory),
    process.cpu_percent !== null && `${Math.round(process.cpu_percent)} % of a core`,
    process.threads !== null && plural(process.threads, "thread"),
    process.started_at !== null && `up ${duration(now.value - process.started_at)}`,
  ];
  const [icon, colour, word] = process.alive === false && !live.value ? ENDED : STATES[String(process.alive)]!;
  return (
    <p class="process">
      <Icon name={icon} class={colour} /> Process {process.pid} {word}
      {process.host && (
        <>
          {" "}
          on <Shown text={process.host} limit={60} />
        </>
      )}
      <span class="muted">
        {facts.filter(Boolean).map((fact) => (
          <span>, {fact}</span>
        ))}
      </span>
    </p>
  );
}

type Look = ["play" | "stop" | "cross" | "info", string, string];

const STATES: Record<string, Look> = {
  true: ["play", "green", "runs"],
  false: ["cross", "red", "is gone"],
  null: ["info", "grey", ""],
};
/** Nothing is wrong with a process that is gone when its run is over. */
const ENDED: Look = ["stop", "grey", "has ended"];
