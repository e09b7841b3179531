/** Servers, listeners and fetch handlers of this process. */
import type { CancelReason } from "../../types.ts";
import { AbandonedHandlers } from "../in-process/abandoned-handlers.ts";
import { editedNames } from "../edits/header-edits.ts";
import { serveInProcess } from "../in-process/serve.ts";
import { bodyFraming, RequestFields } from "../request-fields.ts";
import type { BackendFactory } from "./backend.ts";

const FALLBACK_HOST = "localhost";

export const createInProcessBackend: BackendFactory<"server" | "listener" | "fetch"> = (origin, options, context) => {
  const { connectorId, tags } = context;
  const fields = new RequestFields({
    connectorId,
    tags,
    hostHeader: options.httpHostHeader,
    fallbackHost: FALLBACK_HOST,
    edited: editedNames(options.requestHeaders),
  });
  const abandoned = new AbandonedHandlers();
  return {
    service: `in-process:${origin.kind}`,
    serve(request, connIndex, record) {
      const forwarded = fields.list(request, bodyFraming(request));
      const { stream } = request;
      record.activate({
        cancel(reason: CancelReason): void {
          const { sink } = stream;
          stream.abort();
          sink.onCancel(reason);
        },
      });
      serveInProcess(request, origin, {
        forwarded,
        connIndex,
        abandoned,
        report: (result) => {
          record.status = result.status;
          record.finish(result.class, result.phase, result.error);
        },
      });
    },
    retire() {},
  };
};
