/** A fixed empty answer. */
import { answerStatus } from "../direct-answers.ts";
import type { BackendFactory } from "./backend.ts";

export const createStatusBackend: BackendFactory<"status"> = ({ status }) => ({
  service: `http_status:${status}`,
  serve: (request, _connIndex, record) => answerStatus(request, status, record),
  retire() {},
});
