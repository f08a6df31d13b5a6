/** A made-up run for `npm run dev`: a spike, a NaN, a resume, checkpoints. Never shipped. */

export interface Row {
  step: number;
  attempt: number;
  at: number;
  values: Record<string, number>;
}

/** The same numbers each time: a page that changes by itself cannot be looked at. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function rowAt(step: number, attempt: number, at: number, noise: () => number, total: number): Row {
  const level = 0.55 + 1.9 * Math.exp(-step / 2500) + (noise() - 0.5) * 0.12;
  const spike = step >= 9_200 && step < 9_230 ? 1.4 : 0;
  const values: Record<string, number> = {
    loss: step % 7_900 === 0 && step > 0 ? NaN : level + spike,
    learning_rate: (2e-4 * Math.min(1, step / 600) * (1 + Math.cos((Math.PI * step) / total))) / 2,
    grad_norm: 0.8 + noise() * 0.5 + spike * 4,
    accuracy: 88 - 45 * Math.exp(-step / 3000) + (noise() - 0.5) * 6 - spike * 12,
    steps_per_sec: 2.1 + (noise() - 0.5) * 0.2,
    tokens_per_sec: 8600 + (noise() - 0.5) * 700,
    samples_per_sec: 16.8 + (noise() - 0.5) * 1.4,
    gpu_memory_mb: 19_430 + Math.round(noise() * 300),
    "rewards/margins": 0.4 * (1 - Math.exp(-step / 4000)) + noise() * 0.05,
    entropy: 1.4 * Math.exp(-step / 6000) + 0.3 + noise() * 0.03,
    eta_seconds: (total - step) / 2.1,
  };
  if (step % 500 === 0) values.eval_loss = 0.62 + 1.8 * Math.exp(-step / 2600) + (noise() - 0.5) * 0.02;
  return { step, attempt, at, values };
}

export function rows(seed: number, upTo: number, total: number, end: number): Row[] {
  const noise = random(seed);
  const every = 5;
  const list: Row[] = [];
  const back = Math.min(6000, Math.floor(upTo / 1000) * 500);
  const broke = back + 800;
  for (let step = 0; step <= Math.min(broke, upTo); step += every) list.push(rowAt(step, 1, 0, noise, total));
  if (upTo > broke) for (let step = back + every; step <= upTo; step += every) list.push(rowAt(step, 2, 0, noise, total));
  list.forEach((row, index) => (row.at = end - (list.length - 1 - index) * (every / 2.1) - (row.attempt === 1 ? 1800 : 0)));
  return list;
}
