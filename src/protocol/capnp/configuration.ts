/**
 * What ConfigurationManager's method carries (wire § 9.2, § 9.3); on HTTP/2 a configuration comes as a request instead:
 *
 *     updateConfiguration params 1/1    i32@0 version │ p0 config Data
 *     updateConfiguration results 0/1   p0 result UpdateConfigurationResponse
 *     UpdateConfigurationResponse 1/1   i32@0 latestAppliedVersion │ p0 err Text
 */
import type { StructType } from "./struct-type.ts";

export interface UpdateConfigurationParams {
  readonly version: number;
  readonly config: Uint8Array;
}

export interface UpdateConfigurationResponse {
  readonly latestAppliedVersion: number;
  /** Empty when the configuration was applied. */
  readonly err: string;
}

export interface UpdateConfigurationResults {
  readonly result: UpdateConfigurationResponse;
}

export const updateConfigurationParamsType: StructType<UpdateConfigurationParams> = {
  dataWords: 1,
  pointers: 1,
  read: (struct) => ({ version: struct.int32(0), config: struct.data(0) }),
  write(struct, value) {
    struct.int32(0, value.version);
    struct.data(0, value.config);
  },
};

export const updateConfigurationResponseType: StructType<UpdateConfigurationResponse> = {
  dataWords: 1,
  pointers: 1,
  read: (struct) => ({ latestAppliedVersion: struct.int32(0), err: struct.text(0) }),
  write(struct, value) {
    struct.int32(0, value.latestAppliedVersion);
    struct.text(0, value.err);
  },
};

export const updateConfigurationResultsType: StructType<UpdateConfigurationResults> = {
  dataWords: 0,
  pointers: 1,
  read: (struct) => ({ result: updateConfigurationResponseType.read(struct.struct(0)) }),
  write: (struct, value) => struct.struct(0, updateConfigurationResponseType, value.result),
};
