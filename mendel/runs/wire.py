"""Messages between the executor, the zygote and its guardians: length-prefixed JSON over a local socket.

JSON rather than pickle: one end of the connection may be an older interpreter, and nothing that arrives
is ever executed.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

_LENGTH = struct.Struct("<I")


def send(sock: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Sends one message, and copies of open file descriptors with it. OSError: the other end is gone."""
    body = json.dumps(message).encode()
    header = _LENGTH.pack(len(body))
    if fds:
        socket.send_fds(sock, [header], list(fds))
        sock.sendall(body)
    else:
        sock.sendall(header + body)


def receive(sock: socket.socket, max_fds: int = 0) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors; None when the other end closed, even within a message."""
    try:
        header, fds, _, _ = socket.recv_fds(sock, _LENGTH.size, max_fds)
        header += _exactly(sock, _LENGTH.size - len(header)) if header else b""
        if not header:
            return None
        return json.loads(_exactly(sock, _LENGTH.unpack(header)[0])), fds
    except (ConnectionError, EOFError):
        return None


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data
