/** Ingress rules as a test writes them. */
import {
  type IngressContext,
  type IngressSource,
  type ParsedIngress,
  parseIngress,
} from "../../../src/proxy/ingress/parse.ts";
import type { IngressRule, OriginRequestOptions, Service } from "../../../src/types.ts";

const noFiles: IngressContext = {
  readFile(path) {
    throw new Error(`there is no file ${path}`);
  },
};

export function parse(source: unknown, context: Partial<IngressContext> = {}): ParsedIngress {
  return parseIngress(source as IngressSource, { ...noFiles, ...context });
}

/** Where and what, one line a problem. */
export function linesOf(findings: ParsedIngress["problems"]): string[] {
  return findings.map(({ path, text }) => `${path.join(".")}: ${text}`);
}

export function problemsOf(source: unknown, context?: Partial<IngressContext>): string[] {
  return linesOf(parse(source, context).problems);
}

export function warningsOf(source: unknown, context?: Partial<IngressContext>): string[] {
  return linesOf(parse(source, context).warnings);
}

/** The rules; throws on problems. */
export function rulesOf(source: unknown, context?: Partial<IngressContext>): readonly IngressRule[] {
  const { ingress, problems } = parse(source, context);
  if (ingress === undefined) throw new Error(linesOf(problems).join("\n"));
  return ingress.rules;
}

/** The service of a single rule. */
export function serviceOf(service: unknown, context?: Partial<IngressContext>): Service | undefined {
  return rulesOf({ ingress: [{ service }] }, context)[0]?.service;
}

/** What a single rule's options are, given its own and the top level's. */
export function optionsOf(
  own: unknown,
  top?: unknown,
  service: unknown = "http://localhost",
): OriginRequestOptions | undefined {
  return rulesOf({ originRequest: top, ingress: [{ service, originRequest: own }] })[0]?.originRequest;
}
