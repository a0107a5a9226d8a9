"""The token that guards the HTTP door: whoever connects must know it, also on the same machine."""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from mendel.campaign.config import ConfigError

VARIABLE = "MENDEL_MCP_TOKEN"
SHORTEST = 16
"""Characters of a token."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class RequireToken:
    """An ASGI application that answers 401 to every request without the token, and passes on the others."""

    def __init__(self, app: App, token: str) -> None:
        self.app, self._wanted = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = [value for name, value in scope.get("headers", ()) if name.lower() == b"authorization"]
        known = len(given) == 1 and hmac.compare_digest(given[0], self._wanted)
        if scope["type"] == "lifespan" or (scope["type"] == "http" and known):
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b"401: a bearer token is required\n"})


def read_token(file: Path | None) -> tuple[str, bool]:
    """The token from a file, else from the environment, else a new one; and whether it is new.

    ConfigError for a file that cannot be read or that others can, and for a token that is too short.
    """
    if file is not None:
        try:
            text, mode = file.read_text().strip(), file.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: the token cannot be read: {error}") from None
        if mode & 0o077:
            raise ConfigError(f"{file}: others may read it; chmod 600 {file}")
        return _long_enough(text, str(file)), False
    if VARIABLE in os.environ:
        return _long_enough(os.environ[VARIABLE].strip(), f"environment: {VARIABLE}"), False
    return secrets.token_urlsafe(32), True


def read_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`. ConfigError unless the host is this machine's own loopback."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"command line: http: {text!r:.80} is not HOST:PORT, such as 127.0.0.1:8765")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(
            f"command line: http: {host!r:.80} is not on this machine alone; allowed are 127.0.0.1, ::1 and "
            "localhost (from elsewhere: an SSH tunnel)"
        )
    return host, int(port)


def _long_enough(token: str, where: str) -> str:
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"{where}: a token is at least {SHORTEST} printable characters without spaces")
    return token
