/**
 * The addresses of the edge that were found last, on disk: a connector whose DNS is down starts with them. They are only ever
 * dialled, and whoever answers there must show the edge's certificate; so a file that was tampered with costs time, no more.
 *
 *   {"version":1,"savedAt":"2026-01-31T12:00:00.000Z","regions":[["198.51.100.7:7844","[2001:db8::7]:7844"],…]}
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { parseHostPort } from "../config/edge-settings.ts";
import type { EdgeAddress, Logger } from "../types.ts";
import { asError } from "./errors.ts";

const VERSION = 1;
/** Two regions of twenty addresses are below 2 KiB. */
const MAX_FILE_BYTES = 65_536;
const MAX_REGIONS = 2;
const MAX_ADDRESSES = 64;

export interface LastGood {
  readonly savedAt: string;
  readonly regions: readonly (readonly EdgeAddress[])[];
}

/** Throws on what is no such file. */
export function parseLastGood(text: string): LastGood {
  const file = JSON.parse(text) as { version?: unknown; savedAt?: unknown; regions?: unknown } | null;
  if (file?.version !== VERSION) throw new Error(`version is not ${VERSION}`);
  const { regions } = file;
  if (!Array.isArray(regions) || regions.length === 0 || regions.length > MAX_REGIONS) {
    throw new Error(`regions is no list of at most ${MAX_REGIONS}`);
  }
  const savedAt = new Date(typeof file.savedAt === "string" ? file.savedAt : Number.NaN);
  if (Number.isNaN(savedAt.getTime())) throw new Error("savedAt is no time");
  return { savedAt: savedAt.toISOString(), regions: regions.map(readRegion) };
}

function readRegion(region: unknown): readonly EdgeAddress[] {
  if (!Array.isArray(region) || region.length === 0 || region.length > MAX_ADDRESSES) {
    throw new Error(`a region is no list of at most ${MAX_ADDRESSES} addresses`);
  }
  return region.map((entry: unknown): EdgeAddress => {
    const { host, port } = (typeof entry === "string" ? parseHostPort(entry) : undefined) ?? { host: "", port: 0 };
    const family = isIP(host);
    if ((family !== 4 && family !== 6) || port === 0 || host.includes("%")) throw new Error("an entry is no ip:port");
    return { ip: host, port, family };
  });
}

export function formatLastGood(regions: readonly (readonly EdgeAddress[])[], savedAt: Date): string {
  const entries = regions.map((addresses) =>
    addresses.map(({ family, ip, port }) => (family === 6 ? `[${ip}]:${port}` : `${ip}:${port}`)),
  );
  return `${JSON.stringify({ version: VERSION, savedAt: savedAt.toISOString(), regions: entries })}\n`;
}

/** One file a region of the edge; a tunnel does without what can't be read or written. */
export class LastGoodAddresses {
  readonly #directory: string;
  readonly #path: string;
  readonly #logger: Logger;
  #writing = Promise.resolve();
  #told = false;
  /** Why it could not be read last. */
  #unread: string | undefined;

  constructor(directory: string, region: string | undefined, logger: Logger) {
    this.#directory = directory;
    // The region is the user's word, and no part of a path but a name.
    const suffix = region === undefined ? "" : `.${encodeURIComponent(region)}`;
    this.#path = join(directory, `edge-addresses${suffix}.json`);
    this.#logger = logger;
  }

  /** Never rejects. */
  async read(): Promise<LastGood | undefined> {
    try {
      return parseLastGood(await readSmallFile(this.#path));
    } catch (error) {
      const { message } = asError(error);
      // Each attempt to find the edge looks here.
      if (message !== this.#unread) {
        const fields = { file: this.#path, error: message };
        const isAbsent = error instanceof Error && "code" in error && error.code === "ENOENT";
        if (isAbsent) this.#logger.debug("There are no last good addresses of the edge", fields);
        else this.#logger.warn("The last good addresses of the edge can't be read: starting without them", fields);
      }
      this.#unread = message;
      return undefined;
    }
  }

  /** Whole or not at all: a machine that loses its power has the old file, or the new one. Never rejects. */
  write(regions: readonly (readonly EdgeAddress[])[]): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      const temporary = `${this.#path}.${randomBytes(6).toString("hex")}`;
      try {
        await mkdir(this.#directory, { recursive: true, mode: 0o700 });
        const file = await open(temporary, "wx", 0o600);
        await writeAndClose(file, formatLastGood(regions.slice(0, MAX_REGIONS).map(upTo), new Date()));
        await rename(temporary, this.#path);
      } catch (error) {
        this.#logger[this.#told ? "debug" : "warn"]("The addresses of the edge can't be saved", {
          file: this.#path,
          error: asError(error).message,
        });
        this.#told = true;
        await rm(temporary, { force: true }).catch(() => {});
      }
    });
    return this.#writing;
  }
}

function upTo(addresses: readonly EdgeAddress[]): readonly EdgeAddress[] {
  return addresses.slice(0, MAX_ADDRESSES);
}

async function writeAndClose(file: FileHandle, text: string): Promise<void> {
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function readSmallFile(path: string): Promise<string> {
  // Opening a pipe that nobody writes to does not end otherwise.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const { size } = await file.stat().then((stat) => {
      if (!stat.isFile()) throw new Error("it is no regular file");
      return stat;
    });
    if (size > MAX_FILE_BYTES) throw new Error(`it is longer than ${MAX_FILE_BYTES} bytes`);
    const bytes = Buffer.alloc(MAX_FILE_BYTES);
    const { bytesRead } = await file.read(bytes, 0, MAX_FILE_BYTES, 0);
    return bytes.toString("utf8", 0, bytesRead);
  } finally {
    await file.close();
  }
}
