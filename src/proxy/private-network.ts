/** TCP streams to addresses of the private network (wire § 4.6, ingress § 8). */
import type { OriginRequestOptions, TcpRequest, WarpRouting } from "../types.ts";
import { BadRequestError } from "./bad-request.ts";
import { discardingSink } from "./direct-answers.ts";
import { type FlowLimiter, FlowLimitError } from "./flow-limiter.ts";
import { defaultOriginRequest } from "./ingress/defaults.ts";
import { literalTarget } from "./literal-target.ts";
import { isVirtualDns, type LocalResolvers } from "./local-resolvers.ts";
import type { OpenConnections } from "./open-connections.ts";
import type { OriginTarget } from "./origin-target.ts";
import type { RequestRecord } from "./request-record.ts";
import { TcpExchange } from "./tcp-exchange.ts";
import type { UploadResources } from "./upload.ts";

export interface PrivateNetworkOptions {
  readonly warpRouting: WarpRouting;
  /** Shared with UDP sessions. */
  readonly flows: FlowLimiter;
  readonly resolvers: LocalResolvers;
  readonly connections: OpenConnections;
  readonly resources: UploadResources;
}

/** As cloudflared's for its virtual DNS service. */
const DNS_OPTIONS: OriginRequestOptions = { ...defaultOriginRequest, connectTimeoutMs: 5_000, tcpKeepAliveMs: -1 };

export class PrivateNetwork {
  readonly #options: PrivateNetworkOptions;
  readonly #flows: FlowLimiter;
  readonly #resolvers: LocalResolvers;
  #dialOptions: OriginRequestOptions = defaultOriginRequest;

  constructor(options: PrivateNetworkOptions) {
    this.#options = options;
    this.#flows = options.flows;
    this.#resolvers = options.resolvers;
    this.configure(options.warpRouting);
  }

  /** For new flows; those that are open stay as they are. */
  configure({ connectTimeoutMs, maxActiveFlows, tcpKeepAliveMs }: WarpRouting): void {
    this.#flows.limit = maxActiveFlows;
    this.#dialOptions = { ...defaultOriginRequest, connectTimeoutMs, tcpKeepAliveMs };
  }

  /** Sets the stream's sink. Throws a BadRequestError for what is no literal address. */
  serve(request: TcpRequest, record: RequestRecord): void {
    const target = literalTarget(request.destination);
    if (target === undefined) {
      throw new BadRequestError("the destination of a TCP stream must be a literal ip:port, IPv6 in brackets");
    }
    const release = this.#flows.acquire();
    if (release === undefined) {
      this.#refuse(request, record);
      return;
    }
    try {
      this.#connect(request, target, record, release);
    } catch (error) {
      release();
      throw error;
    }
  }

  #connect(request: TcpRequest, target: OriginTarget, record: RequestRecord, release: () => void): void {
    const { stream } = request;
    const isDns = isVirtualDns(target);
    const { connections, resources } = this.#options;
    const context = { options: isDns ? DNS_OPTIONS : this.#dialOptions, connections, resources };
    const exchange = new TcpExchange(context, stream, record, {
      opened() {
        record.status = 200;
        stream.respond({ status: 200, headers: [], contentLength: undefined, source: "origin" }, false);
        return "";
      },
      refused() {
        record.status = 502;
        stream.abort();
      },
      finished: release,
    });
    stream.sink = exchange;
    record.activate(exchange);
    exchange.dial(isDns ? this.#resolvers.targets(performance.now()) : [target]);
  }

  #refuse(request: TcpRequest, record: RequestRecord): void {
    const { stream } = request;
    stream.sink = discardingSink(request);
    stream.respond({ status: 502, headers: [], contentLength: 0, source: "flow-limit" }, true);
    record.status = 502;
    record.finish("flow-limit", "connect", new FlowLimitError(this.#flows.limit));
  }
}
