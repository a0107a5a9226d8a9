"""A loopback server that speaks Anthropic's Messages API, so that clients are tested without one that costs.

The `anthropic` client and pydantic-ai's `AnthropicModel` work against it unchanged: messages, streams, tools,
thinking, structured output, counting of tokens, batches, prompt caching, errors, and faults on purpose. In a
test:

    with serve(Scripted((Rule(answer=Answer.text("yes")),))) as server:
        client = anthropic.Anthropic(base_url=server.url, api_key="any")

Alone, with a folder in which a person or another model answers:

    python -m mendel.testing.messages_server --folder asked
    export ANTHROPIC_BASE_URL=http://127.0.0.1:PORT ANTHROPIC_API_KEY=any
"""

from __future__ import annotations

import argparse
import json
import logging
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

from mendel.testing.messages_api import Api, Entry, Reply, paid_twice, request_id
from mendel.testing.messages_faults import KINDS, Fault, Faults, Schedule
from mendel.testing.messages_files import (
    EXAMPLE_FAULTS,
    EXAMPLE_RULE,
    EXAMPLE_SCHEDULE,
    InputError,
    read_faults,
    read_rules,
)
from mendel.testing.messages_records import Answer, ApiError, Text, Thinking, ToolUse
from mendel.testing.messages_scripts import Folder, Match, Rule, Script, Scripted

__all__ = [
    "Answer",
    "ApiError",
    "Entry",
    "Fault",
    "Folder",
    "Match",
    "Rule",
    "Schedule",
    "Script",
    "Scripted",
    "Server",
    "Text",
    "Thinking",
    "ToolUse",
    "paid_twice",
    "serve",
]

HOST = "127.0.0.1"
HEALTH = "/health"
_log = logging.getLogger(__name__)


class Server:
    """Serves until it is closed. `port` 0: one that is free. `log_file`: entries are appended as JSON lines.

    The other arguments are those of `Api`.
    """

    def __init__(
        self,
        script: Script,
        faults: Faults = (),
        *,
        port: int = 0,
        batch_polls: int = 1,
        cache_minimum_tokens: int = 1024,
        log_file: Path | None = None,
    ) -> None:
        self.api = Api(script, faults, batch_polls=batch_polls, cache_minimum_tokens=cache_minimum_tokens)
        self._http = _Http((HOST, port), _Handler)
        self._http.owner = self
        self._log_file = log_file
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._http.server_port}"

    @property
    def log(self) -> list[Entry]:
        """What was asked so far, in the order in which it was answered."""
        return list(self.api.log)

    def close(self) -> None:
        """Ends open connections too, as a killed server would."""
        self._http.shutdown()
        self._http.server_close()
        self._http.cut_all()
        self._thread.join()

    def written(self, entry: Entry) -> None:
        if self._log_file is not None:
            with self._log_file.open("a") as lines:
                lines.write(json.dumps(entry.as_json()) + "\n")


@contextmanager
def serve(script: Script, faults: Faults = (), **settings: Any) -> Iterator[Server]:
    """A `Server` for as long as the block lasts; `settings` are its other arguments."""
    server = Server(script, faults, **settings)
    try:
        yield server
    finally:
        server.close()


# --- connections -----------------------------------------------------------------------------------------


class _Http(ThreadingHTTPServer):
    owner: Server
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.open: set[socket.socket] = set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tells the errors of a script with their trace; that a client hung up is none."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def cut_all(self) -> None:
        for connection in list(self.open):
            _cut(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        if self.path == HEALTH:
            self._write([json.dumps({"status": "ok", "requests": len(self.server.owner.log)}).encode()])
        else:
            self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = self.path.partition("?")[0]
        reply = owner.api.reply(self.command, path, self.headers, body, owner.url)
        entry = reply.entry
        owner.api.record(entry)  # first: who has the answer may look into the log at once
        if not entry.paid:
            owner.api.keep(reply)
        try:
            if self._gone():
                raise ConnectionResetError
            self._send(reply)
        except (BrokenPipeError, ConnectionResetError):
            entry = replace(entry, fault="client_gone", paid=False)
            owner.api.record(entry)
            owner.api.keep(reply)
            self.close_connection = True
        owner.written(entry)

    def _gone(self) -> bool:
        """Whether the client hung up; what is written then would seem to arrive."""
        ready, _, _ = select.select([self.connection], [], [], 0)
        return bool(ready) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def _send(self, reply: Reply) -> None:
        entry = reply.entry
        if entry.fault == "drop":
            self._cut()
            return
        pieces = _encoded(reply)
        if entry.fault == "malformed":
            spoilt = len(pieces) // 2
            text = pieces[spoilt].rstrip()
            pieces[spoilt] = text[: -len(text) // 2] + b"\n\n"
        headers = {"request-id": request_id(entry.number), **reply.headers}
        if reply.stream:
            headers |= {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        elif isinstance(reply.body, list):
            headers |= {"content-type": "application/x-jsonl"}
        self._write(pieces, entry.status, headers, cut=entry.fault == "cut")

    def _write(
        self,
        pieces: list[bytes],
        status: int = 200,
        headers: dict[str, str] | None = None,
        *,
        cut: bool = False,
    ) -> None:
        headers = {"content-type": "application/json", **(headers or {})}
        chunked = "transfer-encoding" in headers
        if not chunked:
            headers["content-length"] = str(sum(map(len, pieces)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if chunked:
            pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]
        data = b"".join(pieces)
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        _cut(self.connection)

    def log_message(self, format: str, *args: object) -> None:
        _log.debug(format, *args)


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # its other end is gone already
        _log.debug("a connection was closed before it could be cut")


def _encoded(reply: Reply) -> list[bytes]:
    if isinstance(reply.body, dict):
        return [json.dumps(reply.body).encode()]
    if reply.stream:
        return [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in reply.body]
    return [json.dumps(one).encode() + b"\n" for one in reply.body]


# --- the command -----------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"messages_server: {message} (--help tells more)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m mendel.testing.messages_server",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s (--folder DIR | --script FILE) [options]",
        description="A server on this machine that speaks Anthropic's Messages API. It prints its URL and\n"
        "serves until SIGINT or SIGTERM.",
        epilog=f"rules:    [{EXAMPLE_RULE}]\n"
        f"faults:   {EXAMPLE_FAULTS}\n"
        f"or drawn: {EXAMPLE_SCHEDULE}\n"
        f"kinds:    {', '.join(KINDS)}",
    )
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--folder", type=Path, metavar="DIR", help="write requests there and wait for answers")
    who.add_argument("--script", type=Path, metavar="FILE", help="answer by the rules in this JSON file")
    parser.add_argument(
        "--port", type=_from(0, 65535), default=0, metavar="N", help="default: one that is free"
    )
    parser.add_argument("--faults", type=Path, metavar="FILE", help="what goes wrong on purpose, in JSON")
    wait = "seconds until a request in the folder ends as an error (default: %(default)s)"
    parser.add_argument("--limit", type=_from(1), default=1800, metavar="N", help=wait)
    polls = "retrieves until a batch ended (default: %(default)s)"
    parser.add_argument("--batch-polls", type=_from(1), default=1, metavar="N", help=polls)
    least = "tokens of the shortest prefix that is cached (default: %(default)s)"
    parser.add_argument("--cache-minimum", type=_from(0), default=1024, metavar="N", help=least)
    parser.add_argument("--log", type=Path, metavar="FILE", help="append what was answered, as JSON lines")
    return parser


def _script(given: argparse.Namespace) -> Script:
    if given.script:
        return Scripted(read_rules(given.script))
    try:
        given.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--folder {given.folder}: {error.strerror}") from None
    return Folder(given.folder, given.limit)


def _from(least: int, most: int = sys.maxsize) -> Callable[[str], int]:
    """Reads a whole number of an option."""

    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            above = f"from {least} to {most}" if most < sys.maxsize else f"of at least {least}"
            raise argparse.ArgumentTypeError(f"must be a whole number {above} (found {text!r})")
        return int(text)

    return number


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until SIGINT or SIGTERM. Exit codes: 0 ended by a signal, 2 bad input."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        server = Server(
            _script(given),
            read_faults(given.faults) if given.faults else (),
            port=given.port,
            batch_polls=given.batch_polls,
            cache_minimum_tokens=given.cache_minimum,
            log_file=given.log,
        )
    except InputError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"--port {given.port}: {error.strerror}")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    print(server.url, flush=True)
    ended.wait()
    server.close()
    sys.exit(0)


if __name__ == "__main__":
    main()
