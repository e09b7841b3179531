/** `access`: who may pass (ingress § 7.7). Whatever could be meant to protect and would not is a problem. */
import type { AccessPolicy } from "../../types.ts";
import type { Scope } from "./problems.ts";
import { readBoolean, readFields, readText, readTexts } from "./values.ts";

const TEAM_DOMAIN = ".cloudflareaccess.com";
/** It becomes part of the URL that the keys come from. */
const TEAM_NAME = /^[a-z\d](?:[a-z\d-]*[a-z\d])?(?:\.[a-z\d](?:[a-z\d-]*[a-z\d])?)*$/i;

const KEYS = ["required", "teamName", "audTag", "environment"];

export function readAccess(value: unknown, scope: Scope): AccessPolicy | undefined {
  let required = false;
  let teamName = "";
  let audTag: readonly string[] = [];
  let environment = "";
  readFields(
    value,
    scope,
    {
      required: (field, at) => (required = readBoolean(field, at) ?? false),
      teamName: (field, at) => (teamName = readTeamName(field, at)),
      audTag: (field, at) => (audTag = readTexts(field, at, "a list of audience tags") ?? []),
      environment: (field, at) => (environment = readEnvironment(field, at)),
    },
    KEYS,
  );
  if (required && audTag.length > 0 && teamName === "") {
    scope.at("teamName").problem("found audTag without teamName; the team's name beside it would be right");
  } else if (required && (teamName === "" || audTag.length === 0)) {
    scope.warning("every request is refused until both teamName and audTag are there");
  }
  return { required, teamName, audTag, environment };
}

function readTeamName(value: unknown, scope: Scope): string {
  const name = readText(value, scope);
  if (name === undefined || name === "") return "";
  const domain = name.toLowerCase().endsWith(TEAM_DOMAIN);
  if (TEAM_NAME.test(name) && !domain) return name;
  scope.wrong(
    name,
    domain ? `the team's name without ${TEAM_DOMAIN}` : `the team's name, which stands before ${TEAM_DOMAIN},`,
  );
  return "";
}

function readEnvironment(value: unknown, scope: Scope): string {
  const environment = readText(value, scope) ?? "";
  if (environment !== "" && environment !== "fed") scope.wrong(environment, '"fed", or nothing,');
  return environment;
}
