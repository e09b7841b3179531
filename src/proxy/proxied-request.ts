import type { HttpRequest, TcpRequest, WebSocketRequest } from "../types.ts";

export type ProxiedRequest = HttpRequest | WebSocketRequest | TcpRequest;
