import { UnderpassError } from "../../errors.ts";

/** The rule's ipRules say no. */
export class IpRulesError extends UnderpassError {
  constructor(destination: string) {
    super(
      "ERR_UNDERPASS_IP_RULES",
      `ipRules do not allow ${destination}; a rule with allow: true for its address would`,
    );
  }
}
