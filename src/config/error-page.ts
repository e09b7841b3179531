/** The owner's page for what the tunnel itself answers: a file of HTML, or of plain text. */
import { extname } from "node:path";
import type { ErrorPage } from "../types.ts";
import { readTextFile } from "./files.ts";
import { ConfigError } from "./problem.ts";

/** It is held in memory, and sent whole whatever the visitor's window is. */
const MAX_BYTES = 256 * 1024;

/** Throws a ConfigError that names the file and what is wrong with it. */
export function readErrorPage(path: string, where: string): ErrorPage {
  const body = Buffer.from(readTextFile(path, where));
  if (body.length === 0 || body.length > MAX_BYTES) {
    const found = body.length === 0 ? "is empty" : `has ${body.length} bytes`;
    throw new ConfigError([
      { where, text: `${path} ${found}; a page of at most ${MAX_BYTES / 1024} KiB would be right` },
    ]);
  }
  const isText = extname(path).toLowerCase() === ".txt";
  return { contentType: `text/${isText ? "plain" : "html"}; charset=utf-8`, body };
}
