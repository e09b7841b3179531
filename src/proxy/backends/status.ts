/** A fixed empty answer. */
import { answerStatus, answerUnconfigured } from "../direct-answers.ts";
import type { BackendFactory } from "./backend.ts";

export const createStatusBackend: BackendFactory<"status"> = ({ status, unconfigured = false }) => ({
  service: `http_status:${status}`,
  serve(request, _connIndex, record) {
    if (unconfigured) answerUnconfigured(request, status, record);
    else answerStatus(request, status, record);
  },
  retire() {},
});
