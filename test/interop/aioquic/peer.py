"""An independent QUIC peer for the tests: aioquic, as a server that does what streams ask of it and as a client that asks.

The commands of streams and the lines of JSON on stdout are those of ../quic-go/main.go.
"""

import argparse
import asyncio
import hashlib
import json
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import CipherSuite

PATTERN = bytes(i % 251 for i in range(251 * 256))


def tell(**event):
    print(json.dumps(event), flush=True)


def pattern(length):
    return (PATTERN * (length // len(PATTERN) + 1))[:length]


def ended(event):
    """Why a connection ended, as the Go peer tells it."""
    if event.frame_type is None and event.error_code == 0 and event.reason_phrase == "Idle timeout":
        return {"kind": "idle"}
    kind = "application" if event.frame_type is None else "transport"
    if event.reason_phrase == "Idle timeout":
        return {"kind": "idle"}
    return {"kind": kind, "code": event.error_code, "reason": event.reason_phrase}


class Peer(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.commands = {}
        self.received = {}
        self.finished = {}
        self.seen_datagrams = asyncio.Queue()
        self.connected = asyncio.get_running_loop().create_future()
        self.end = asyncio.get_running_loop().create_future()
        self.stops = {}

    def quic_event_received(self, event):
        if isinstance(event, events.HandshakeCompleted):
            suite = self._quic.tls.key_schedule.cipher_suite.name
            tell(event="connected", suite="TLS_" + suite if not suite.startswith("TLS_") else suite, alpn=event.alpn_protocol)
            if not self.connected.done():
                self.connected.set_result(None)
        elif isinstance(event, events.ConnectionTerminated):
            tell(event="closed", **ended(event))
            if not self.end.done():
                self.end.set_result(ended(event))
            for future in self.finished.values():
                if not future.done():
                    future.set_result({"kind": "closed"})
        elif isinstance(event, events.DatagramFrameReceived):
            if self._quic.configuration.is_client:
                self.seen_datagrams.put_nowait(event.data)
            else:
                self._quic.send_datagram_frame(event.data)
        elif isinstance(event, events.StreamDataReceived):
            self.stream_data(event.stream_id, event.data, event.end_stream)
        elif isinstance(event, events.StreamReset):
            future = self.finished.get(event.stream_id)
            if future is not None and not future.done():
                future.set_result({"kind": "stream", "code": event.error_code})
            elif future is None and self.commands.get(event.stream_id, {}).get("name") != "stop":
                tell(event="stream", end={"kind": "stream", "code": event.error_code})
        elif isinstance(event, events.StopSendingReceived):
            self.stops[event.stream_id] = event.error_code

    def stream_data(self, stream, data, fin):
        if stream in self.finished:
            self.received[stream] += data
            if fin and not self.finished[stream].done():
                self.finished[stream].set_result({"kind": "none"})
            return
        if stream not in self.commands:
            buffered = self.received.get(stream, b"") + data
            line, newline, rest = buffered.partition(b"\n")
            if not newline:
                self.received[stream] = buffered
                return
            self.received.pop(stream, None)
            words = line.decode().split(" ", 2)
            self.commands[stream] = {"name": words[0], "hash": hashlib.sha256(), "bytes": 0}
            self.begin(stream, words)
            data = rest
        self.go_on(stream, data, fin)

    def begin(self, stream, words):
        quic = self._quic
        if words[0] == "source":
            quic.send_stream_data(stream, pattern(int(words[1])), True)
        elif words[0] == "reset":
            quic.reset_stream(stream, int(words[1]))
        elif words[0] == "stop":
            quic.stop_stream(stream, int(words[1]))
            quic.send_stream_data(stream, b"stopped", True)
        elif words[0] == "close":
            quic.close(error_code=int(words[1]), reason_phrase=words[2])
        elif words[0] == "key-update":
            quic.request_key_update()
            quic.send_stream_data(stream, b"updated", True)

    def go_on(self, stream, data, fin):
        command = self.commands[stream]
        if command["name"] == "echo":
            self._quic.send_stream_data(stream, data, fin)
        elif command["name"] == "sink":
            command["hash"].update(data)
            command["bytes"] += len(data)
            if fin:
                answer = f"{command['bytes']} {command['hash'].hexdigest()}\n"
                self._quic.send_stream_data(stream, answer.encode(), True)

    def ask(self, command, payload=b"", fin=True):
        stream = self._quic.get_next_available_stream_id()
        self.received[stream] = bytearray()
        self.finished[stream] = asyncio.get_running_loop().create_future()
        self._quic.send_stream_data(stream, command.encode() + b"\n" + payload, fin)
        self.transmit()
        return stream

    async def answer(self, stream):
        end = await self.finished[stream]
        return self.received.pop(stream), end


async def upload(peer, n):
    content = pattern(n)
    answer, _ = await peer.answer(peer.ask("sink", content))
    return {"ok": answer.decode() == f"{n} {hashlib.sha256(content).hexdigest()}\n"}


async def download(peer, n):
    answer, _ = await peer.answer(peer.ask(f"source {n}"))
    return {"ok": answer == pattern(n), "bytes": len(answer)}


async def streams(peer, n):
    turns = asyncio.Semaphore(50)
    payload = PATTERN[:200]

    async def one():
        async with turns:
            answer, _ = await peer.answer(peer.ask("echo", payload))
            return answer == payload

    good = sum(await asyncio.gather(*(one() for _ in range(n))))
    return {"ok": good == n, "streams": good}


async def datagrams(peer, n):
    seen = set()
    for i in range(n):
        sent = f"{i}:".encode() + PATTERN[:1000]
        for _ in range(10):
            if sent in seen:
                break
            peer._quic.send_datagram_frame(sent)
            peer.transmit()
            try:
                seen.add(await asyncio.wait_for(peer.seen_datagrams.get(), 0.5))
            except asyncio.TimeoutError:
                pass
    return {"ok": len(seen) == n, "datagrams": len(seen)}


async def reset_and_stop(peer, _n):
    _, reset = await peer.answer(peer.ask("reset 41"))
    stream = peer.ask("stop 42", fin=False)
    answer, _ = await peer.answer(stream)
    code = peer.stops.get(stream)
    # And ours: what the other side is told of is its own to report.
    stream = peer.ask("echo", fin=False)
    peer._quic.reset_stream(stream, 43)
    peer._quic.stop_stream(stream, 44)
    peer.transmit()
    await asyncio.sleep(0.1)
    return {"ok": answer == b"stopped", "reset": reset, "stop": {"kind": "stream", "code": code}}


async def key_update(peer, n):
    results = []
    for _ in range(3):
        peer._quic.request_key_update()
        results.append((await download(peer, n))["ok"])
    return {"ok": all(results)}


async def closed(peer, _n):
    peer.ask("close 77 enough of it")
    return {"ok": True, "end": await peer.end}


async def idle(peer, _n):
    return {"ok": True, "end": await peer.end}


TASKS = {
    "download": download,
    "upload": upload,
    "streams": streams,
    "datagrams": datagrams,
    "reset": reset_and_stop,
    "key-update": key_update,
    "closed": closed,
    "idle": idle,
}


def configuration(options, is_client):
    result = QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[options.alpn],
        idle_timeout=options.idle,
        max_datagram_frame_size=65536,
        max_data=16 << 20,
        max_stream_data=8 << 20,
    )
    if options.suite:
        result.cipher_suites = [CipherSuite[options.suite.removeprefix("TLS_")]]
    return result


async def run_server(options):
    config = configuration(options, False)
    config.load_cert_chain(options.cert, options.key)
    server = await serve("127.0.0.1", 0, configuration=config, create_protocol=Peer, retry=options.retry)
    tell(event="listening", port=server._transport.get_extra_info("sockname")[1])
    # Its stdin closed: so did the test.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def run_client(options):
    config = configuration(options, True)
    config.load_verify_locations(options.ca)
    config.server_name = options.name
    host, port = options.address.rsplit(":", 1)
    try:
        async with connect(host, int(port), configuration=config, create_protocol=Peer, wait_connected=True) as peer:
            result = await TASKS[options.do](peer, options.n)
            tell(event="result", **result)
            peer._quic.close(error_code=options.n % 1000, reason_phrase="done")
            peer.transmit()
    except ConnectionError as error:
        tell(event="refused", error=str(error))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["client", "server"])
    parser.add_argument("--alpn", default="interop")
    parser.add_argument("--idle", type=float, default=30)
    parser.add_argument("--suite")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--retry", action="store_true")
    parser.add_argument("--address")
    parser.add_argument("--ca")
    parser.add_argument("--name")
    parser.add_argument("--do", choices=sorted(TASKS))
    parser.add_argument("--n", type=int, default=0)
    options = parser.parse_args()
    asyncio.run(run_server(options) if options.role == "server" else run_client(options))


main()
