"""The token of the HTTP door, and where that may stand."""

from __future__ import annotations

import anyio
import pytest

from mendel.agents.token import VARIABLE, RequireToken, read_address, read_token
from mendel.campaign.config import ConfigError

TOKEN = "a-token-of-twenty-characters"


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def answered(headers: list[tuple[bytes, bytes]], kind: str = "http") -> tuple[int | None, bool]:
    """Status that the door answers with, and whether the request came through."""
    sent: list[dict] = []
    passed: list[str] = []

    async def app(scope, receive, send):
        passed.append(scope["type"])

    async def send(message):
        sent.append(message)

    anyio.run(RequireToken(app, TOKEN), {"type": kind, "headers": headers}, None, send)
    return next((message["status"] for message in sent if "status" in message), None), bool(passed)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer wrong")],
        [(b"authorization", TOKEN.encode())],
        [(b"authorization", b"Basic " + TOKEN.encode())],
        [(b"authorization", b"Bearer " + TOKEN.encode() + b"x")],
        [(b"authorization", b"Bearer wrong"), (b"authorization", b"Bearer " + TOKEN.encode())],
        [(b"cookie", TOKEN.encode())],
        [(b"authorization", b"Bearer \xff")],
    ],
)
def test_without_the_token_nothing_comes_through(headers):
    assert answered(headers) == (401, False)
    assert answered(headers, "websocket") == (None, False)


def test_with_the_token_it_does():
    assert answered([(b"Authorization", f"Bearer {TOKEN}".encode())]) == (None, True)
    assert answered([], "lifespan") == (None, True)


def test_the_token_comes_from_the_file_the_environment_or_is_new(tmp_path, monkeypatch):
    first, second = read_token(None), read_token(None)
    assert first[1] and second[1] and first[0] != second[0] and len(first[0]) >= 32
    monkeypatch.setenv(VARIABLE, f" {TOKEN}\n")
    assert read_token(None) == (TOKEN, False)
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}-of-the-file\n")
    file.chmod(0o600)
    assert read_token(file) == (f"{TOKEN}-of-the-file", False)


def test_a_token_that_anyone_knows_or_guesses_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "token"
    with pytest.raises(ConfigError, match="token: the token cannot be read"):
        read_token(file)
    file.write_text(TOKEN)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read it; chmod 600"):
        read_token(file)
    monkeypatch.setenv(VARIABLE, "short")
    with pytest.raises(ConfigError, match=f"environment: {VARIABLE}: a token is at least 16"):
        read_token(None)


@pytest.mark.parametrize(
    ("given", "read"),
    [("127.0.0.1:8765", ("127.0.0.1", 8765)), ("localhost:0", ("localhost", 0)), ("[::1]:80", ("::1", 80))],
)
def test_an_address_of_this_machine_is_read(given, read):
    assert read_address(given) == read


@pytest.mark.parametrize(
    "given", ["0.0.0.0:80", "192.168.1.2:80", "[::]:80", "example.org:80", "127.0.0.1.x:80"]
)
def test_an_address_that_others_reach_is_refused(given):
    with pytest.raises(ConfigError, match="http: .* is not on this machine alone"):
        read_address(given)


@pytest.mark.parametrize(
    "given", ["8765", ":8765", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"]
)
def test_what_is_no_address_is_refused(given):
    with pytest.raises(ConfigError, match="is not HOST:PORT, such as 127.0.0.1:8765"):
        read_address(given)
