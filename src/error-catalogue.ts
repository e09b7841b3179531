/** Cause and remedy of each stable code. Written by scripts/error-catalogue.mjs from docs/errors.md: edit that page. */
export interface CatalogueEntry {
  readonly cause: string;
  readonly remedy: string;
}

export const errorCatalogue: Readonly<Record<string, CatalogueEntry>> = {
  ERR_UNDERPASS_CONFIG: {
    cause:
      "an option, flag, variable or key of a file is wrong (ConfigError). problems has each one with where it stands and its text; all are told at once",
    remedy: "correct what the message names; underpass config check shows what is in effect",
  },
  ERR_UNDERPASS_CREDENTIALS: {
    cause:
      "the token or the credentials are not whole (CredentialsError): not base64, not JSON, a field missing or wrong; or something else was given for it",
    remedy:
      "copy the token again, all of it: it stands in the command by which the dashboard has a connector installed, begins with eyJ, and is what cloudflared tunnel token NAME prints; for a file, the field that the message names",
  },
  ERR_UNDERPASS_USAGE: {
    cause: "the command line asks for something that can't be, such as run without a token",
    remedy: "add what the message names; underpass run --help",
  },
  ERR_UNDERPASS_SERVICE: {
    cause:
      "a service can't be installed or removed: it is there already, or is not; neither systemd nor launchd runs here; its files can't be written; what it runs is among temporary files, where a service finds nothing; the tunnel is none that a service can run",
    remedy:
      "there already: underpass service uninstall first, or another --name; not there: the --name and the user (sudo) that it was installed with; can't be written: sudo, and nothing else where its files are to stand; temporary files: npm install -g underpass, or another place for the file; no systemd or launchd: what starts services there can run underpass run --token-file FILE; no tunnel for a service: a named one, by its token",
  },
  ERR_UNDERPASS_NOT_YET: {
    cause: "a command or feature of cloudflared that Underpass does not have yet, or that cloudflared has removed",
    remedy: "leave it out; the status table of the README says what is there",
  },
  ERR_UNDERPASS_EDGE_TLS: {
    cause:
      "the TLS settings for the edge can't be used: cacert holds no readable certificate, or post-quantum key exchange was asked of a Node.js without it",
    remedy: "give PEM text with BEGIN CERTIFICATE blocks; use Node.js 24, or leave post-quantum off",
  },
  ERR_UNDERPASS_ORIGIN_SCHEME: {
    cause: "the origin's URL has a scheme that no request can be sent to",
    remedy: "an http:// or https:// URL, or another form of origin (docs/library.md)",
  },
  ERR_UNDERPASS_DNS_RESOLVER: {
    cause: "a resolver for the private network's virtual DNS address is no ip:port",
    remedy: "192.0.2.53:53, or [2001:db8::53]:53",
  },
  ERR_UNDERPASS_METRICS_LISTEN: {
    cause: "the metrics server can't listen on its address (MetricsListenError)",
    remedy: "an address of this machine and a free port of it; 0 leaves the port to the system",
  },
  ERR_UNDERPASS_NO_INSTANCE: {
    cause: "ready or healthcheck found no tunnel that runs on this machine; the message has what was found instead",
    remedy:
      "where nobody listens, start it, or give the --metrics (TUNNEL_METRICS) here that it was started with; where no answer comes, it hangs: underpass diag, then start it anew; where another program answers, give its own address",
  },
  ERR_UNDERPASS_DIAG_FILE: {
    cause: "diag can't write its file",
    remedy:
      "underpass diag FILE.zip with a name that is not taken, in a directory of yours with room for some megabytes",
  },
  ERR_UNDERPASS_ORIGIN_CERT: {
    cause: "tail found a cert.pem that holds no token, or an incomplete one",
    remedy: "run cloudflared login again, name the right file by --origincert, or give an access token by --token",
  },
  ERR_UNDERPASS_API: {
    cause: "Cloudflare's API did not answer, or gave no access token; the message has its words",
    remedy: "check the network and HTTPS_PROXY; the tunnel must belong to the account of cert.pem",
  },
  ERR_UNDERPASS_TAIL_UNREACHABLE: {
    cause:
      "tail reaches no connector: none runs, --connector-id names one that is gone, or the management host does not answer",
    remedy:
      "see whether the tunnel runs (underpass healthcheck on its machine); leave --connector-id out; check the network, HTTPS_PROXY and SSL_CERT_FILE",
  },
  ERR_UNDERPASS_TAIL_REFUSED: {
    cause: "the access token is not accepted, the filters are not, or somebody else follows the log of this connector",
    remedy:
      "a new access token for this tunnel (they last an hour); end the other session, or choose another connector by --connector-id",
  },
  ERR_UNDERPASS_TAIL_ENDED: {
    cause:
      "the log that tail followed has ended: the connector did, the connection broke off, or a newer session of yours took over",
    remedy: "start tail again",
  },
  ERR_UNDERPASS_OUTPUT: {
    cause:
      "stdout can't be written, such as a file on a full disk; a reader that goes away is none of that. A tunnel goes on, and ends with status 1",
    remedy: "make room, or write elsewhere, and run it again",
  },
  ERR_UNDERPASS_ABORTED: {
    cause:
      "the tunnel was closed, by its signal or by close, before it was registered (AbortError). cause is the signal's reason",
    remedy: "nothing: the program asked for it",
  },
  ERR_UNDERPASS_QUICK_TUNNEL_RATE_LIMITED: {
    cause: "status 429, or Cloudflare's error 1015: too many quick tunnels from this address",
    remedy: "wait for retryAfterMs, or use a named tunnel",
  },
  ERR_UNDERPASS_QUICK_TUNNEL_UNREACHABLE: {
    cause:
      "no answer: DNS, connection, TLS or time-out. It is asked again until it answers, so connect never rejects with it",
    remedy: "check the network and HTTPS_PROXY; port 443 must be open",
  },
  ERR_UNDERPASS_QUICK_TUNNEL_REFUSED: {
    cause: "the service said no; the message has its words",
    remedy: "read them; a named tunnel does not need this service",
  },
  ERR_UNDERPASS_QUICK_TUNNEL_INVALID: {
    cause: "the answer is not what the service should give: no JSON, too long, a field missing",
    remedy:
      "something in between answers in its place (a proxy, a captive portal), or quickService names the wrong address",
  },
  ERR_UNDERPASS_EDGE_DISCOVERY: {
    cause:
      "the edge's names can't be resolved, by the system's resolver or by DNS over TLS; or none of the edge entries can",
    remedy: "check DNS on this machine, region, edge; see underpass check",
  },
  ERR_UNDERPASS_DNS_OVER_TLS: {
    cause: "the second try, DNS over TLS to 1.1.1.1, failed as well",
    remedy:
      "let TCP port 853 through, or mend the resolver of this machine: this matters only where the system's resolver does not work",
  },
  ERR_UNDERPASS_DNS_MESSAGE: {
    cause: "a DNS answer was not well-formed; the cause of ERR_UNDERPASS_EDGE_DISCOVERY or ERR_UNDERPASS_DNS_OVER_TLS",
    remedy: "something on the way answers DNS badly",
  },
  ERR_UNDERPASS_NO_EDGE_ADDRESS: {
    cause: "no address of the wanted IP version is known, or all are in use",
    remedy: 'edgeIpVersion: "auto", or more edge entries',
  },
  ERR_UNDERPASS_EDGE_TCP: {
    cause: "no TCP connection to the edge; the message says why",
    remedy: "open outgoing TCP port 7844 in the firewall; see underpass check",
  },
  ERR_UNDERPASS_EDGE_HANDSHAKE: {
    cause: "TCP worked, TLS did not",
    remedy:
      "if something intercepts TLS here, let port 7844 through or name its authority by cacert; check the machine's clock",
  },
  ERR_UNDERPASS_EDGE_PROXY: {
    cause: "the proxy does not lead to the edge; the message has what it said",
    remedy: "check --edge-proxy, its user and password, and that it allows CONNECT to port 7844",
  },
  ERR_UNDERPASS_EDGE_UDP: {
    cause: "no UDP socket for the edge could be opened; the message says why",
    remedy: "check edgeBindAddress, and whether this machine has an address of the edge's family",
  },
  ERR_UNDERPASS_EDGE_QUIC: {
    cause: "the QUIC handshake with the edge failed: no answer by UDP, or a certificate that is not the edge's",
    remedy:
      "open outgoing UDP port 7844 in the firewall, or set protocol: http2; if a certificate was refused, check what intercepts TLS here and the machine's clock",
  },
  ERR_UNDERPASS_EDGE_UNREACHABLE: {
    cause: "neither HTTP/2 nor QUIC reaches the edge; the message has both reasons",
    remedy: "open outgoing TCP and UDP port 7844 in the firewall; underpass check tells which of them gets through",
  },
  ERR_UNDERPASS_EDGE_CONNECTION: {
    cause: "the connection ended before the edge had opened its control stream",
    remedy: "nothing, if it passes; else look at what stands between this machine and port 7844: underpass check",
  },
  ERR_UNDERPASS_CONTROL_STREAM_TIMEOUT: {
    cause: "the edge accepted the connection but never opened its control stream (ControlStreamTimeoutError)",
    remedy: "nothing, if it passes; something that only accepts connections may listen there",
  },
  ERR_UNDERPASS_CONNECTION_LOST: {
    cause: "a registered connection, or its control stream, ended (ConnectionLostError)",
    remedy: "nothing: it is replaced",
  },
  ERR_UNDERPASS_HTTP2_CONNECTION: {
    cause:
      "the edge broke HTTP/2, or did not answer a PING in time; http2Code is the code of RFC 9113 § 7 that went out in the GOAWAY",
    remedy: "nothing, if it is rare; else report it with the log",
  },
  ERR_UNDERPASS_HPACK: {
    cause: "a header block from the edge can't be decoded; the cause of ERR_UNDERPASS_HTTP2_CONNECTION",
    remedy: "nothing, if it is rare; else report it with the log",
  },
  ERR_UNDERPASS_QUIC_TRANSPORT: {
    cause:
      "the edge broke QUIC or TLS; transportCode is the code of RFC 9000 § 20.1 that went out in the CONNECTION_CLOSE",
    remedy: "nothing, if it is rare; else report it with the log",
  },
  ERR_UNDERPASS_QUIC_PEER_CLOSED: {
    cause: "the edge closed the QUIC connection; errorCode and reason have what it said",
    remedy: "nothing: it is replaced",
  },
  ERR_UNDERPASS_QUIC_CLOSED: {
    cause: "this side closed the QUIC connection",
    remedy: "nothing: the program asked for it",
  },
  ERR_UNDERPASS_QUIC_IDLE_TIMEOUT: {
    cause: "nothing came from the edge for as long as both sides had agreed on",
    remedy: "nothing, if it passes; else something on the way drops UDP: open outgoing UDP port 7844, or use HTTP/2",
  },
  ERR_UNDERPASS_QUIC_HANDSHAKE_TIMEOUT: {
    cause: "the QUIC handshake did not complete in time",
    remedy: "nothing, if it passes; else something on the way drops UDP: open outgoing UDP port 7844, or use HTTP/2",
  },
  ERR_UNDERPASS_QUIC_STATELESS_RESET: {
    cause: "the edge has lost the state of the QUIC connection, as after a restart",
    remedy: "nothing: it is replaced",
  },
  ERR_UNDERPASS_QUIC_VERSION: {
    cause: "the other side speaks no QUIC version that this one does",
    remedy: "something other than the edge answers at that address",
  },
  ERR_UNDERPASS_TLS_ALERT: {
    cause: "the TLS handshake of a QUIC connection failed; alert is what the edge was told (RFC 8446 § 6)",
    remedy:
      "if something intercepts TLS here, let UDP port 7844 through or name its authority by cacert; check the machine's clock",
  },
  ERR_UNDERPASS_REGISTRATION_REFUSED: {
    cause:
      "the edge refused the tunnel (RegistrationRefusedError): reason has its words, shouldRetry and retryAfterMs what it asked for. With shouldRetry false, on a tunnel that never registered, connect rejects with it, for a quick tunnel only when a second one, with another URL, was refused too; else it is retried",
    remedy: "the token was rotated, or the tunnel deleted: get a new one from the dashboard",
  },
  ERR_UNDERPASS_RPC_EXCEPTION: {
    cause:
      "the edge answered a call with an exception (RpcError, as all of ERR_UNDERPASS_RPC_…). Unauthorized here may pass: a new token takes a moment to spread",
    remedy: "wait; if it stays, look at the token",
  },
  ERR_UNDERPASS_RPC_TIMEOUT: {
    cause: "no answer within rpcTimeout",
    remedy: "nothing, if it passes; a longer rpcTimeout on slow lines",
  },
  ERR_UNDERPASS_RPC_MALFORMED: {
    cause: "an answer that makes no sense",
    remedy: "report it with the log",
  },
  ERR_UNDERPASS_RPC_LIMIT: {
    cause: "more at once than an RPC connection carries",
    remedy: "report it with the log",
  },
  ERR_UNDERPASS_RPC_ABORTED: {
    cause: "the edge ended the RPC connection with a reason",
    remedy: "nothing: it is retried",
  },
  ERR_UNDERPASS_RPC_CLOSED: {
    cause: "the connection went away during a call",
    remedy: "nothing: it is retried",
  },
  ERR_UNDERPASS_RPC_CANCELLED: {
    cause: "the call was cancelled from this side, as when the tunnel is closed",
    remedy: "nothing",
  },
  ERR_UNDERPASS_RPC_ARGUMENT: {
    cause: "a value that can't be sent, such as a text that is too long",
    remedy: "look at what tags and features hold",
  },
  ERR_UNDERPASS_CAPNP_MALFORMED: {
    cause:
      "bytes on the control stream that are no Cap'n Proto message; usually the cause of ERR_UNDERPASS_RPC_MALFORMED",
    remedy: "report it with the log",
  },
  ERR_UNDERPASS_CAPNP_LIMIT: {
    cause: "a message larger, or costlier to read, than any real one",
    remedy: "report it with the log",
  },
  ERR_UNDERPASS_STREAM_HEAD: {
    cause:
      "a stream of the QUIC transport that does not begin as one, or asks for what can't be; the stream alone is refused",
    remedy: "report it with the log",
  },
  ERR_UNDERPASS_HEALTH_CHECK: {
    cause:
      "so many checks in a row failed that the tunnel is restarted (HealthCheckError, with the event restarting). The new connections are opened before the old ones are closed",
    remedy: "see whether the public hostname is routed to this tunnel, and whether this machine can reach it",
  },
  ERR_UNDERPASS_ORIGIN_REFUSED: {
    cause:
      "no connection to the origin: nothing listens, no such socket, no permission, no route; or the environment's proxy refuses",
    remedy: "start the service; check host, port and path; NO_PROXY",
  },
  ERR_UNDERPASS_ORIGIN_TIMEOUT: {
    cause: "the origin did not take the connection, finish TLS, or stopped answering, in time",
    remedy: "look at the service's load; connectTimeoutMs, tlsTimeoutMs",
  },
  ERR_UNDERPASS_ORIGIN_RESET: {
    cause: "the origin broke the connection off before its answer was complete",
    remedy: "look into the service's own log at that time",
  },
  ERR_UNDERPASS_ORIGIN_TLS: {
    cause: "the origin's TLS failed: plain HTTP on that port, an unknown authority, another name",
    remedy: "http:// if it is plain; originServerName, caPool, or noTLSVerify",
  },
  ERR_UNDERPASS_ORIGIN_DNS: {
    cause: "the origin's name can't be resolved",
    remedy: "correct it, or the resolver of this machine",
  },
  ERR_UNDERPASS_ORIGIN_PROTOCOL: {
    cause: "the origin's answer can't be taken as HTTP/1.1; cause says what was wrong",
    remedy: "correct the service; it may speak another protocol on that port",
  },
  ERR_UNDERPASS_HTTP1_MALFORMED: {
    cause: "cause of ERR_UNDERPASS_ORIGIN_PROTOCOL: an answer that could be read in two ways, such as two lengths",
    remedy: "correct the service; it may speak another protocol on that port",
  },
  ERR_UNDERPASS_HTTP1_LIMIT: {
    cause: "cause of ERR_UNDERPASS_ORIGIN_PROTOCOL: a head, field or chunk line longer than the limits",
    remedy: "have the service answer with shorter headers",
  },
  ERR_UNDERPASS_HTTP1_TRUNCATED: {
    cause: "cause of ERR_UNDERPASS_ORIGIN_RESET: the connection ended in the middle of the answer",
    remedy: "look into the service's own log at that time",
  },
  ERR_UNDERPASS_HTTP1_REQUEST: {
    cause: "the visitor's request can't be written as HTTP/1.1, or as a Request, without changing its meaning",
    remedy: "nothing: the visitor is at fault",
  },
  ERR_UNDERPASS_BAD_REQUEST: {
    cause: "the edge asks for something that no origin can be asked, such as a TCP stream to no literal ip:port",
    remedy: "nothing; report it if it is frequent",
  },
  ERR_UNDERPASS_WEBSOCKET: {
    cause:
      "the visitor of a TCP service broke the WebSocket protocol: frames without a mask, reserved bits, a bad Close. It gets the close code that fits, mostly 1002",
    remedy: "correct the visitor's client",
  },
  ERR_UNDERPASS_SOCKS5: {
    cause:
      "the client of socks-proxy, or of a service with proxyType: socks, does not speak SOCKS5, wants authentication, or asks for something other than CONNECT",
    remedy: "point the client's SOCKS5 setting, without a password, at the local end",
  },
  ERR_UNDERPASS_IP_RULES: {
    cause:
      "ipRules do not allow the destination that a client of socks-proxy asked for. Without any rule nothing is allowed",
    remedy: "if it should be, add a rule with allow: true before those that deny it",
  },
  ERR_UNDERPASS_FLOW_LIMIT: {
    cause: "as many TCP streams of the private network are open as maxActiveFlows allows",
    remedy: "a higher limit, or 0 for none",
  },
  ERR_UNDERPASS_UDP_SESSION: {
    cause:
      "a UDP session of the private network did not come about or broke off: the system refused the socket, nothing listens there, or maxActiveFlows is reached. The message is what the edge is told",
    remedy: "look at the address in the log line; a higher limit, or 0 for none",
  },
  ERR_UNDERPASS_ACCESS_DENIED: {
    cause:
      "the rule requires a token of Cloudflare Access, and this request has none that lets it pass; reason, in the log too, says why: missing, malformed, algorithm, issuer, audience, expired, not-yet-valid, unknown-key, signature, keys-unavailable, not-configured. The visitor got 403",
    remedy:
      "missing: the hostname needs an Access application at Cloudflare; issuer, audience: teamName and audTag as that application has them; not-yet-valid, expired: look at this machine's clock",
  },
  ERR_UNDERPASS_ACCESS_KEYS: {
    cause: "cause of ERR_UNDERPASS_ACCESS_DENIED: the team's keys can't be fetched",
    remedy:
      "let this machine reach https://<team>.cloudflareaccess.com, if need be through HTTPS_PROXY; see whether teamName is right",
  },
  ERR_UNDERPASS_HANDLER: {
    cause: "the listener, fetch handler or server in this process threw, or gave no Response; cause is what it threw",
    remedy: "correct the handler",
  },
  ERR_UNDERPASS_ABANDONED_HANDLERS: {
    cause:
      "so many calls of a handler in this process go on though their visitors have left that no other is started; the visitor got 503 with Retry-After",
    remedy: "stop at request.signal, or at the response's close (docs/library.md)",
  },
  ERR_UNDERPASS_NO_UPGRADE_HANDLER: {
    cause: "a WebSocket was asked of a handler without upgrade; the visitor got 501",
    remedy: "give upgrade(req, socket, head), or an http.Server with an upgrade listener",
  },
  ERR_UNDERPASS_DATAGRAM: {
    cause: "a datagram was to be sent that can't be: more than 1280 bytes of payload, or an address that is none",
    remedy: "send less at once; what comes in is never an error, but dropped",
  },
  ERR_UNDERPASS_MOCK_EDGE: {
    cause: "no connection could take the stream, or what was asked of the mock edge can't be",
    remedy: "wait for edge.registered(1); read the message",
  },
  ERR_UNDERPASS_MOCK_EDGE_ANSWER: {
    cause: "the connector's answer is not in the form that the edge understands",
    remedy: "the connector is at fault",
  },
  ERR_UNDERPASS_MOCK_EDGE_STREAM: {
    cause: "a visitor's stream ended before its time; resetCode is the HTTP/2 code where the connector reset it",
    remedy: "look at the request's outcome on the connector's side",
  },
};

/** What to do about an error that carries a stable code. */
export function remedyOf(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
  if (typeof code !== "string" || !Object.hasOwn(errorCatalogue, code)) return undefined;
  return errorCatalogue[code]?.remedy;
}
