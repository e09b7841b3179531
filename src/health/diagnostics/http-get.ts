/** One GET of a metrics server on this machine: bounded in time and length, past every proxy. */
import http from "node:http";

/** Metrics of thousands of label values, or the rules of a large configuration; more is not what was asked for. */
const MAX_BODY_BYTES = 8 * 1024 * 1024;

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** No whole answer came in time. */
export class NoAnswerError extends Error {}

/** Rejects where there is no answer, in time with NoAnswerError. */
export type HttpGet = (url: string, timeoutMs: number) => Promise<HttpAnswer>;

export const httpGet: HttpGet = (url, timeoutMs) =>
  new Promise((resolve, reject) => {
    const request = http.get(url, { agent: false, headers: { accept: "application/json;version=1" } }, (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        length += chunk.length;
        if (length > MAX_BODY_BYTES) response.destroy(new Error(`the answer is longer than ${MAX_BODY_BYTES} bytes`));
      });
      response.on("end", () => {
        clearTimeout(timer);
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") });
      });
      response.on("error", fail);
    });
    const fail = (error: Error): void => {
      clearTimeout(timer);
      request.destroy();
      reject(error);
    };
    const timer = setTimeout(() => fail(new NoAnswerError(`no answer within ${timeoutMs / 1000} s`)), timeoutMs);
    request.on("error", fail);
  });
