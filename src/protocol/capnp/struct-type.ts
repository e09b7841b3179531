import type { StructReading } from "./reader.ts";
import type { StructWriting } from "./writer.ts";

/** A struct type of a schema: its size in words and pointers, and how a value is read and written. */
export interface StructType<T> extends StructReading<T>, StructWriting<T> {}

/** Params and results without fields. */
export const emptyType: StructType<void> = {
  dataWords: 0,
  pointers: 0,
  read: () => undefined,
  write: () => undefined,
};
