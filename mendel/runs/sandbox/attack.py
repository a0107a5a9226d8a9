"""What the self-check runs as if it were a patch: it tries to get out, and takes along what it can read.

    attack.py PLAN OUT

PLAN is JSON (selfcheck.py writes it). Bytes that it got at go to OUT/loot; OUT/said.json tells what became of
each attempt. The program is honest, but what counts is what is found outside. Standard library only.
"""

# ruff: noqa: PTH101, PTH112, PTH118, PTH122, PTH123, PTH202, PTH207, PTH208
from __future__ import annotations

import contextlib
import ctypes
import glob
import json
import os
import signal
import socket
import sys
from typing import Any

_SECONDS = 0.5
"""Patience with a network that does not answer."""
_MOST = 1 << 20
_PTRACE_SEIZE = 0x4206  # unlike attaching, it does not stop the process
_PROCESS_VM = {"x86_64": (310, 311), "aarch64": (270, 271)}


class Attack:
    """One method per attempt; each returns what it achieved, or raises OSError where it was stopped."""

    def __init__(self, plan: dict[str, Any], out: str) -> None:
        self.plan = plan
        self.loot = open(os.path.join(out, "loot"), "wb")  # noqa: SIM115

    def take(self, path: str) -> str:
        """Carries a file away, or the names in a folder and the files there."""
        if os.path.isdir(path):
            names = os.listdir(path)
            self.loot.write(("\n".join(names) + "\n").encode("utf-8", "replace"))
            for name in names:
                with contextlib.suppress(OSError), open(os.path.join(path, name), "rb") as file:
                    self.loot.write(file.read(_MOST))
            return f"listed {len(names)} entries"
        with open(path, "rb") as file:
            return f"read {self.loot.write(file.read(_MOST))} bytes"

    def control(self) -> str:
        """What a run may do; without it nothing else would mean anything."""
        return self.take(self.plan["control"])

    def sibling(self) -> str:
        self._write(os.path.join(self.plan["sibling"], "planted"))
        return self.take(self.plan["sibling"])

    def database(self) -> str:
        self._write(self.plan["database"])
        return self.take(self.plan["database"])

    def home(self) -> str:
        return self.take(self.plan["home"])

    def held_out(self) -> str:
        return self.take(self.plan["held_out"])

    def hidden(self) -> str:
        """Hidden modules, their folders and their compiled copies."""
        taken = 0
        for path in self.plan["hidden"]:
            folder, name = os.path.split(path)
            compiled = glob.glob(os.path.join(folder, "__pycache__", os.path.splitext(name)[0] + ".*"))
            for one in (path, *compiled):
                with contextlib.suppress(OSError):
                    taken += os.path.getsize(one) > 0 and self.take(one) != ""
        return f"opened {taken} files"

    def environment(self) -> str:
        for name, text in os.environ.items():
            self.loot.write(f"\0{name}={text}\0".encode("utf-8", "replace"))
        for pid in ("self", os.getppid(), self.plan["lab"], 1):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
                self.loot.write(b"\0" + file.read(_MOST) + b"\0")
        return f"saw {len(os.environ)} variables"

    def writes(self) -> str:
        for path in self.plan["writes"]:
            self._write(path)
        with contextlib.suppress(OSError):
            os.chmod(self.plan["held_out"], 0o777)
        return "tried"

    def tcp(self) -> str:
        for address in self.plan["tcp"]:
            with contextlib.suppress(OSError), socket.create_connection(tuple(address), _SECONDS) as sock:
                sock.sendall(b"tcp")
        return "tried"

    def udp(self) -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for address in self.plan["udp"]:
                with contextlib.suppress(OSError):
                    sock.sendto(b"udp", tuple(address))
            sock.connect(("192.0.2.1", 53))  # a documentation address (RFC 5737): nothing is sent
        return "a route leads out"

    def names(self) -> str:
        """Asks this machine's name server for an address (RFC 1035)."""
        with open("/etc/resolv.conf") as file:
            servers = [line.split()[1] for line in file if line.startswith("nameserver")]
        query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01"
        for server in servers:
            family = socket.AF_INET6 if ":" in server else socket.AF_INET
            with contextlib.suppress(TimeoutError), socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_SECONDS)
                sock.sendto(query, (server, 53))
                return f"a name server answered with {len(sock.recv(512))} bytes"
        raise OSError("no name server answered")

    def local_sockets(self) -> str:
        for address in self.plan["local"]:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(_SECONDS)
                sock.connect(address)
                sock.sendall(b"local")
        return "tried"

    def memory(self) -> str:
        """Reads and overwrites the lab's memory by its address, and traces its own parent."""
        pid, address, size = self.plan["lab"], self.plan["address"], self.plan["size"]
        libc = ctypes.CDLL(None, use_errno=True)
        block = ctypes.create_string_buffer(size)
        mine = (ctypes.c_uint64 * 2)(ctypes.addressof(block), size)
        theirs = (ctypes.c_uint64 * 2)(address, size)
        read, write = _PROCESS_VM.get(os.uname().machine, (0, 0))
        if libc.syscall(read, pid, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0) > 0:
            self.loot.write(block.raw)
        block.raw = b"overwritten".ljust(size, b"!")
        libc.syscall(write, pid, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)
        with contextlib.suppress(OSError), open(f"/proc/{pid}/mem", "rb+", buffering=0) as file:
            file.seek(address)
            self.loot.write(file.read(size))
            file.seek(address)
            file.write(block.raw)
        if libc.ptrace(_PTRACE_SEIZE, os.getppid(), None, None) == 0:
            return "traced its parent"
        with contextlib.suppress(OSError), open(f"/proc/{os.getppid()}/mem", "rb+"):
            return "opened its parent's memory"
        return "stopped"

    def signals(self) -> str:
        for pid in self.plan["decoys"]:
            os.kill(pid, signal.SIGKILL)
        return "signalled"

    def _write(self, path: str) -> None:
        with contextlib.suppress(OSError), open(path, "ab") as file:
            file.write(b"planted")


def main() -> None:
    with open(sys.argv[1]) as file:
        plan = json.load(file)
    attack = Attack(plan, sys.argv[2])
    said = {}
    for name in plan["attempts"]:
        try:
            said[name] = getattr(attack, name)()
        except OSError as error:
            said[name] = f"stopped: {type(error).__name__}: {error.strerror or error}"
    attack.loot.close()
    with open(os.path.join(sys.argv[2], "said.json"), "w") as file:
        json.dump(said, file)


if __name__ == "__main__":
    main()
