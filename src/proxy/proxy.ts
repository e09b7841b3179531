/** What the edge asks for, on its way to the service that the ingress rules name. */
import type {
  ErrorPage,
  HttpRequest,
  Ingress,
  Logger,
  RequestObserver,
  TcpRequest,
  WebSocketRequest,
} from "../types.ts";
import { type AccessOptions, KeySets } from "./access/key-sets.ts";
import { ActiveRequests } from "./active-requests.ts";
import type { Backend, BackendContext } from "./backends/backend.ts";
import { createBackend } from "./backends/create.ts";
import { BufferPool } from "./buffer-pool.ts";
import { createDatagramProxy, type DatagramProxy, type DatagramProxyOptions } from "./datagrams.ts";
import { discardingSink } from "./direct-answers.ts";
import { withErrorPage } from "./error-page.ts";
import { failRequest } from "./failed-request.ts";
import { FlowLimiter } from "./flow-limiter.ts";
import { FlushQueue } from "./flush-queue.ts";
import { createRouter, type Router } from "./ingress/router.ts";
import { InternalBackend, type InternalOrigin, InternalRecord } from "./internal-backend.ts";
import { LocalResolvers } from "./local-resolvers.ts";
import { OpenConnections } from "./open-connections.ts";
import { PrivateNetwork } from "./private-network.ts";
import type { ProxiedRequest } from "./proxied-request.ts";
import { type LogFollowers, type Observed, RequestLog, type RequestLogMode } from "./request-log/request-log.ts";
import { type RecordContext, RequestRecord } from "./request-record.ts";

export interface ProxyOptions {
  readonly ingress: Ingress;
  /** The connector's UUID, which origins get as `Cf-Warp-Tag-Id`. */
  readonly connectorId: string;
  readonly tags: readonly { readonly name: string; readonly value: string }[];
  readonly logger: Logger;
  readonly observer: RequestObserver;
  /** PEM texts that replace Node's own roots for origins with TLS; called at the first such connection. */
  readonly originRoots?: () => readonly string[];
  readonly errorPage?: ErrorPage | undefined;
  /** Default `errors`. */
  readonly requestLog?: RequestLogMode | undefined;
  readonly logTap?: LogFollowers | undefined;
  /** `ip:port` of the resolvers behind the private network's virtual DNS address; default: this machine's. */
  readonly dnsResolvers?: readonly string[] | undefined;
  readonly access?: AccessOptions | undefined;
  readonly internal?: InternalOrigin | undefined;
}

export interface Proxy {
  /** Sets `request.stream.sink` before it returns; never throws. */
  handle(request: ProxiedRequest, connIndex: number): void;
  /** From now on requests go by these rules; those under way keep theirs. Throws, and changes nothing, when one can't be started. */
  update(ingress: Ingress): void;
  readonly activeRequests: number;
  /** UDP sessions and ICMP of the private network, under the same limit of flows as its TCP streams; `close` ends them too. */
  createDatagrams(options: Pick<DatagramProxyOptions, "observer" | "icmp">): DatagramProxy;
  /** Cancels what is under way, ends every socket, and resolves when they are gone. Idempotent. */
  close(): Promise<void>;
}

const WARP_ROUTING = "warp-routing";
/** As in cloudflared, where its own rules stand before the first. */
const INTERNAL_RULE = -1;

interface Seen<Request extends ProxiedRequest> {
  readonly request: Request;
  readonly observed: Observed;
}

/** One version of the rules, ready to serve. */
interface Routing {
  readonly router: Router;
  /** By the rule's index. */
  readonly backends: readonly Backend[];
}

class IngressProxy implements Proxy {
  readonly #context: BackendContext;
  readonly #records: RecordContext;
  readonly #connections = new OpenConnections();
  readonly #flows = new FlowLimiter();
  readonly #resolvers: LocalResolvers;
  readonly #privateNetwork: PrivateNetwork;
  readonly #datagrams: DatagramProxy[] = [];
  readonly #internal: InternalBackend | undefined;
  readonly #errorPage: ErrorPage | undefined;
  #routing: Routing;
  #closed = false;

  constructor(options: ProxyOptions) {
    const { access = {}, connectorId, dnsResolvers = [], logger, observer, originRoots, tags } = options;
    const log = new RequestLog(options.requestLog ?? "errors", logger, options.logTap);
    const resources = { buffers: new BufferPool(), flushes: new FlushQueue() };
    const accessKeys = new KeySets(access, this.#connections, logger);
    this.#context = { connectorId, tags, resources, connections: this.#connections, logger, originRoots, accessKeys };
    this.#errorPage = options.errorPage;
    this.#records = { log, observer, active: new ActiveRequests() };
    this.#internal = options.internal && new InternalBackend(options.internal, this.#context);
    const { warpRouting } = options.ingress;
    this.#resolvers = new LocalResolvers(dnsResolvers);
    const shared = { flows: this.#flows, resolvers: this.#resolvers };
    this.#privateNetwork = new PrivateNetwork({ warpRouting, ...shared, resources, connections: this.#connections });
    this.#routing = this.#start(options.ingress);
  }

  get activeRequests(): number {
    return this.#records.active.size;
  }

  createDatagrams({ observer, icmp }: Pick<DatagramProxyOptions, "observer" | "icmp">): DatagramProxy {
    const { logger } = this.#context;
    const datagrams = createDatagramProxy({
      flows: this.#flows,
      resolvers: this.#resolvers,
      observer,
      logger,
      icmp,
    });
    this.#datagrams.push(datagrams);
    return datagrams;
  }

  update(ingress: Ingress): void {
    const old = this.#routing;
    this.#routing = this.#start(ingress);
    this.#privateNetwork.configure(ingress.warpRouting);
    for (const backend of old.backends) backend.retire();
  }

  #start({ rules }: Ingress): Routing {
    const backends: Backend[] = [];
    try {
      const router = createRouter(rules);
      for (const rule of rules) backends.push(createBackend(rule, this.#context));
      return { router, backends };
    } catch (error) {
      for (const backend of backends) backend.retire();
      throw error;
    }
  }

  handle(request: ProxiedRequest, connIndex: number): void {
    if (request.kind === "tcp") this.#handleTcp(this.#records.log.observe(request), connIndex);
    else if (this.#internal?.matches(request) === true) this.#handleInternal(this.#internal, request, connIndex);
    else this.#handleHttp(this.#records.log.observe(request), connIndex);
  }

  #handleTcp(seen: Seen<TcpRequest>, connIndex: number): void {
    const record = new RequestRecord(this.#records, seen, connIndex, WARP_ROUTING);
    this.#take(seen.request, record, () => this.#privateNetwork.serve(seen.request, record));
  }

  #handleHttp(seen: Seen<HttpRequest | WebSocketRequest>, connIndex: number): void {
    const request = withErrorPage(seen.request, this.#errorPage);
    const { backends, router } = this.#routing;
    const rule = router.match(request.authority, request.path);
    const backend = backends[rule];
    const record = new RequestRecord(this.#records, seen, connIndex, backend?.service ?? "", rule);
    this.#take(request, record, () => {
      if (backend === undefined) throw new RangeError(`there is no rule ${rule}`);
      backend.serve(request, connIndex, record);
    });
  }

  #handleInternal(internal: InternalBackend, request: HttpRequest | WebSocketRequest, connIndex: number): void {
    const seen = { request: internal.shown(request), observed: undefined };
    const record = new InternalRecord(this.#records, seen, connIndex, internal.backend.service, INTERNAL_RULE);
    this.#take(request, record, () => internal.backend.serve(request, connIndex, record));
  }

  #take(request: ProxiedRequest, record: RequestRecord, serve: () => void): void {
    try {
      if (this.#closed) this.#refuse(request, record);
      else serve();
    } catch (error) {
      failRequest(request, record, error);
    }
  }

  #refuse(request: ProxiedRequest, record: RequestRecord): void {
    request.stream.sink = discardingSink(request);
    request.stream.abort();
    record.status = 502;
    record.finish("shutdown", "match");
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const datagrams of this.#datagrams) datagrams.close();
    for (const request of this.#records.active.all()) {
      try {
        request.cancel("shutdown");
      } catch (error) {
        this.#context.logger.error("Cancelling a request failed", { error });
      }
    }
    for (const backend of this.#routing.backends) backend.retire();
    await this.#connections.none();
  }
}

/** Throws an UnderpassError when a rule can't be started. */
export function createProxy(options: ProxyOptions): Proxy {
  return new IngressProxy(options);
}
