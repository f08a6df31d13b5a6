/** A sample as a file of its own. */
import type { Sample } from "../api";

/** Hand the sample to the browser to be saved. */
export function save(run: string, sample: Sample): void {
  const text = `${JSON.stringify({ run, ...sample }, null, 2)}\n`;
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = fileName(run, sample);
  link.click();
  // Some browsers read the address only after this turn.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** `sample_my-run_step_450.json`, of letters that every file system takes. */
function fileName(run: string, sample: Sample): string {
  const plain = run.replace(/[^\w.-]+/gu, "-").slice(0, 60);
  return `sample_${plain}_step_${sample.step ?? "unknown"}.json`;
}
