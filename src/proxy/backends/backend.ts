/** What a rule's requests are handed to, once hostname and path have matched. */
import type { HttpRequest, Logger, OriginRequestOptions, Service, WebSocketRequest } from "../../types.ts";
import type { KeySets } from "../access/key-sets.ts";
import type { OpenConnections } from "../open-connections.ts";
import type { RequestRecord } from "../request-record.ts";
import type { UploadResources } from "../upload.ts";

export interface Backend {
  /** As logs name it; cloudflared's notation where it has one. */
  readonly service: string;
  /**
   * Takes the request: sets its stream's sink before it returns, activates and finishes its record. Throws a BadRequestError or
   * an OriginError for a request that it did not take.
   */
  serve(request: HttpRequest | WebSocketRequest, connIndex: number, record: RequestRecord): void;
  /** No new requests come: what is idle ends now, what is under way goes on. Idempotent. */
  retire(): void;
}

/** What the backends of one proxy share. */
export interface BackendContext {
  /** The connector's UUID, which origins get as `Cf-Warp-Tag-Id`. */
  readonly connectorId: string;
  readonly tags: readonly { readonly name: string; readonly value: string }[];
  readonly resources: UploadResources;
  readonly connections: OpenConnections;
  readonly logger: Logger;
  /** PEM texts that replace Node's own roots for origins with TLS; called at the first such connection. */
  readonly originRoots: (() => readonly string[]) | undefined;
  readonly accessKeys: KeySets;
}

export type BackendFactory<Kind extends Service["kind"]> = (
  service: Extract<Service, { kind: Kind }>,
  options: OriginRequestOptions,
  context: BackendContext,
) => Backend;
