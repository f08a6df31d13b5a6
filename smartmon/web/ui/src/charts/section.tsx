import { Panel } from "../panel";
export function Charts({ run }: { run: string }) { return <Panel title="Charts" id="charts">{run}</Panel>; }
