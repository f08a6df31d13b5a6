/** The settings in which runs differ. */
import type { JSX } from "preact";

import type { Compared, Difference } from "../api";
import { Shown } from "../text/shown";
import { RunKey } from "./key";

interface DifferencesProps {
  runs: readonly Compared[];
  differences: readonly Difference[];
}

/** A row for each setting, a column for each run; what a run does not have is left empty. */
export function Differences({ runs, differences }: DifferencesProps): JSX.Element {
  const unknown = runs.filter((one) => one.config_source === "");
  return (
    <>
      {unknown.length > 0 && (
        <p class="muted">
          No settings were found of{" "}
          {unknown.map((one, index) => (
            <>
              {index > 0 && ", "}
              <Shown text={one.card.run} limit={60} />
            </>
          ))}
          .
        </p>
      )}
      {differences.length === 0 ? (
        unknown.length < runs.length && <p class="muted">None that is known.</p>
      ) : (
        <div class="scroll" role="group" aria-label="Settings that differ" tabIndex={0}>
          <table class="listing differences">
            <caption class="visually-hidden">Settings that differ</caption>
            <thead>
              <tr>
                <th scope="col">Setting</th>
                {runs.map((one, place) => (
                  <th key={one.card.run} scope="col" title={one.config_source}>
                    <RunKey run={one.card.run} place={place} />
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {differences.map((one) => (
                <tr key={one.key}>
                  <th scope="row">
                    <code>
                      {one.key.split(/(?<=[._])/u).map((part) => (
                        <>
                          <Shown text={part} limit={120} />
                          <wbr />
                        </>
                      ))}
                    </code>
                  </th>
                  {runs.map((run, place) => (
                    <td key={run.card.run}>
                      <Setting value={one.values[place]} known={run.config_source !== ""} />
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}

function Setting({ value, known }: { value: unknown; known: boolean }): JSX.Element {
  if (value === null || value === undefined) return <span class="muted">{known ? "not set" : "not known"}</span>;
  return (
    <code>
      <Shown text={typeof value === "string" ? value : JSON.stringify(value)} limit={200} />
    </code>
  );
}
