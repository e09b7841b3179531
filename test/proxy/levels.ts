/** What an option does where nobody sets it, where the top level does, and where a rule says otherwise. */
import type { IngressContext } from "../../src/proxy/ingress/parse.ts";
import { type Cleanup, Harness } from "./harness.ts";
import { parse } from "./ingress/parse.ts";

/** Requests to `authority` through `harness` are served by a rule that has the option so. */
export interface Level {
  readonly harness: Harness;
  readonly authority: string;
}

/** A proxy with rules as a file has them. */
export function start(cleanup: Cleanup, source: unknown, context: Partial<IngressContext> = {}): Harness {
  const { ingress, problems } = parse(source, context);
  if (ingress === undefined) throw new Error(JSON.stringify(problems));
  return cleanup.add(new Harness({ kind: "status", status: 500 }, {}, { ingress }), ({ proxy }) => proxy.close());
}

/** What `observe` sees without the option, with the top level's, and with a rule's own. @param others options of all of them */
export async function levels<T>(
  startRules: (source: unknown) => Harness,
  service: string,
  key: string,
  [top, own]: readonly [unknown, unknown],
  observe: (level: Level) => Promise<T>,
  others: object = {},
): Promise<T[]> {
  const none = startRules({ originRequest: others, ingress: [{ service }] });
  const both = startRules({
    originRequest: { ...others, [key]: top },
    ingress: [{ hostname: "own.example", service, originRequest: { [key]: own } }, { service }],
  });
  return [
    await observe({ harness: none, authority: "any.example" }),
    await observe({ harness: both, authority: "any.example" }),
    await observe({ harness: both, authority: "own.example" }),
  ];
}
