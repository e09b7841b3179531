/**
 * A zip file in one piece (PKWARE APPNOTE 6.3.3): deflated files, no directories, no encryption, no Zip64. Numbers are little-endian.
 *
 *     for each file:  local header, 30 bytes + name | content
 *       0 "PK\3\4"  4 version  6 flags  8 method  10 time  12 date  14 crc-32  18 packed  22 size  26 name length  28 extra length
 *     for each file:  central header, 46 bytes + name
 *       0 "PK\1\2"  4 made by  6 version … as above, shifted by 2 …  34 disk  36 internal  38 external attributes  42 offset
 *     end of central directory, 22 bytes
 *       0 "PK\5\6"  8 files here  10 files  12 size of the directory  16 its offset
 */
import { crc32, deflateRawSync } from "node:zlib";

export interface ZipEntry {
  /** A file name without a path. */
  readonly name: string;
  readonly content: string;
}

const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
const END_BYTES = 22;
const VERSION = 20;
/** Names are UTF-8. */
const FLAGS = 0x0800;
const DEFLATED = 8;
/** Made on Unix, and the file's mode: its owner alone may read it. */
const MADE_BY = (3 << 8) | VERSION;
const ATTRIBUTES = 0o100600 * 0x1_0000;

export function createZip(entries: readonly ZipEntry[], now: Date): Buffer {
  const stamp = dosTime(now);
  const locals: Buffer[] = [];
  const centrals: Buffer[] = [];
  let offset = 0;
  for (const { content, name } of entries) {
    const bytes = Buffer.from(content);
    const packed = deflateRawSync(bytes);
    const file = { name: Buffer.from(name), crc: crc32(bytes), packed: packed.length, size: bytes.length, stamp };
    const local = Buffer.alloc(LOCAL_BYTES);
    local.writeUInt32LE(0x0403_4b50, 0);
    writeFile(local, 4, file);
    locals.push(local, file.name, packed);
    const central = Buffer.alloc(CENTRAL_BYTES);
    central.writeUInt32LE(0x0201_4b50, 0);
    central.writeUInt16LE(MADE_BY, 4);
    writeFile(central, 6, file);
    central.writeUInt32LE(ATTRIBUTES, 38);
    central.writeUInt32LE(offset, 42);
    centrals.push(central, file.name);
    offset += LOCAL_BYTES + file.name.length + packed.length;
  }
  const end = Buffer.alloc(END_BYTES);
  end.writeUInt32LE(0x0605_4b50, 0);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(
    centrals.reduce((sum, part) => sum + part.length, 0),
    12,
  );
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, ...centrals, end]);
}

interface FileRecord {
  readonly name: Buffer;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  readonly stamp: DosTime;
}

/** The part that both headers have. */
function writeFile(header: Buffer, at: number, { crc, name, packed, size, stamp }: FileRecord): void {
  header.writeUInt16LE(VERSION, at);
  header.writeUInt16LE(FLAGS, at + 2);
  header.writeUInt16LE(DEFLATED, at + 4);
  header.writeUInt16LE(stamp.time, at + 6);
  header.writeUInt16LE(stamp.date, at + 8);
  header.writeUInt32LE(crc, at + 10);
  header.writeUInt32LE(packed, at + 14);
  header.writeUInt32LE(size, at + 18);
  header.writeUInt16LE(name.length, at + 22);
}

interface DosTime {
  readonly time: number;
  readonly date: number;
}

/** Years from 1980, two-second steps, the reader's own time zone. */
function dosTime(now: Date): DosTime {
  const date = (Math.max(0, now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
  return { date, time };
}
