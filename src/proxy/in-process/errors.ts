import { UnderpassError } from "../../errors.ts";

/** Code of the user that runs in this process failed; `cause` is what it threw. */
export class HandlerError extends UnderpassError {
  constructor(message: string, cause: unknown) {
    super("ERR_UNDERPASS_HANDLER", message, { cause });
  }
}

/** A WebSocket was asked of an origin that can't take one. */
export class NoUpgradeHandlerError extends UnderpassError {
  constructor() {
    super(
      "ERR_UNDERPASS_NO_UPGRADE_HANDLER",
      "the origin has no upgrade handler; an http.Server with an `upgrade` listener, or `upgrade(req, socket, head)` beside `listener` or `fetch`, would take the WebSocket",
    );
  }
}
