"""A container engine for tests: understands the commands that Mendel gives to docker and to apptainer, and
really executes them, with bubblewrap. Its one image, `image`, has this machine's system and interpreter."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

STATE = Path(__file__).parent
SINGLE = {
    "--rm",
    "--interactive",
    "--init",
    "--read-only",
    "--containall",
    "--cleanenv",
    "--no-home",
    "--no-privs",
}
SINGLE |= {"--net"}
SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", sys.prefix, sys.base_prefix)


def options(words):
    """(options as pairs, image and the rest)."""
    found = []
    while words[0].startswith("-"):
        name = words.pop(0)
        found.append((name, "" if name in SINGLE else words.pop(0)))
    return found, words


def binds(found):
    for name, value in found:
        if name == "--mount":
            fields = dict(part.partition("=")[::2] for part in value.split(","))
            yield fields["source"], fields["target"], "readonly" in fields
        elif name == "--bind":
            source, target, *mode = value.split(":")
            yield source, target, mode == ["ro"]


def run(words):
    found, (image, program, *arguments) = options(words)
    assert image == "image" and program == "python3"
    given = dict(found)
    assert given.get("--network") == "none"
    command = [
        "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--clearenv",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]
    for path in map(Path, SYSTEM):
        link = path.is_symlink()
        command += ["--symlink", str(path.readlink()), path] if link else ["--ro-bind", path, path]
    for source, target, readonly in binds(found):
        command += ["--ro-bind" if readonly else "--bind", source, target]
    for name, value in found:
        if name == "--env":
            command += ["--setenv", *value.split("=", 1)]
    reader, writer = os.pipe()
    command += ["--remount-ro", "/proc", "--remount-ro", "/", "--info-fd", str(writer)]
    command += ["--chdir", given.get("--workdir") or given["--pwd"], sys.executable, *arguments]
    process = subprocess.Popen(command, pass_fds=[writer])
    os.close(writer)
    name = given.get("--name")
    if name:
        text = b""
        while b"}" not in text:
            text += os.read(reader, 1024) or b"}"
        (STATE / name).write_text(str(json.loads(text)["child-pid"]))
    code = process.wait()
    return code if code >= 0 else 128 - code


def main():
    words = sys.argv[1:]
    match words:
        case ["image", "inspect", *_, image] | ["inspect", image]:
            print("sha256:0" if image == "image" else f"no such image: {image}")
            return 0 if image == "image" else 1
        case ["run" | "exec", *rest]:
            return run(rest)
        case ["inspect", "--format", "{{.State.Pid}}", name]:
            print((STATE / name).read_text() if (STATE / name).exists() else "no such container")
            return 0 if (STATE / name).exists() else 1
        case ["rm", "--force", name]:
            return end(name, signal.SIGKILL)
        case ["kill", "--signal", number, name]:
            pid = int((STATE / name).read_text())
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for child in children:
                os.kill(int(child), int(number))
            return 0
    raise SystemExit(f"unknown: {words}")


def end(name, number):
    if not (STATE / name).exists():
        return 1
    with contextlib.suppress(ProcessLookupError):
        os.kill(int((STATE / name).read_text()), number)
    (STATE / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
