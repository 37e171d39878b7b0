# SPDX-License-Identifier: Apache-2.0
"""A stand-in for vfkit 0.6.4, as strict about its arguments as the real one, with the same RESTful service.

Run as a program. What the real one does in code is done here too: it makes a terminal of its stdin, binds a socket
beside gvproxy's and says "VFKT", refuses compressed arm64 kernels, listens for requests, ends with its machine. What
only macOS can do, the machine, is a few lines on the console.

From vfkit's doc/usage.md, pkg/cmdline/cmdline.go, pkg/cmdline/string_slice.go, pkg/config/virtio.go,
pkg/config/bootloader.go, pkg/rest/rest.go and pkg/vf/virtionet.go; messages are in its words.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import termios
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any
from urllib.parse import unquote, urlsplit

Options = list[tuple[str, str]]

SUN_PATH = 104
"""Bytes of a unix socket's path on macOS, with the final NUL."""

FLAGS = {
    "--kernel", "--kernel-cmdline", "--initrd", "--bootloader", "--cpus", "--memory", "--timesync", "--device",
    "--log-level", "--restful-uri", "--ignition", "--cloud-init", "--pidfile",
}  # fmt: skip
SWITCHES = {"--gui", "--nested"}
SHORT = {"-k": "--kernel", "-C": "--kernel-cmdline", "-i": "--initrd", "-b": "--bootloader", "-c": "--cpus",
         "-m": "--memory", "-t": "--timesync", "-d": "--device"}  # fmt: skip
STAGES = ("kernel", "root", "disk", "network", "agent", "engine")


class VfkitError(Exception):
    """What vfkit would print and end with code 1 for."""


def parse_flags(argv: list[str]) -> dict[str, list[str]]:
    """Cobra's rules: every flag is known, has its value, and there are no further words."""
    found: dict[str, list[str]] = {}
    words = iter(argv)
    for word in words:
        name, given, value = word.partition("=") if word.startswith("--") else (SHORT.get(word, word), "", "")
        if name in SWITCHES:
            continue
        if name not in FLAGS:
            raise VfkitError(f"unknown flag: {name}" if name.startswith("-") else f'unknown command "{name}"')
        if not given:
            try:
                value = next(words)
            except StopIteration:
                raise VfkitError(f"flag needs an argument: {name}") from None
        if name in found and name not in ("--device", "--bootloader", "--cloud-init"):
            found[name] = []
        found.setdefault(name, []).append(value)
    if "--bootloader" in found and {"--kernel", "--initrd", "--kernel-cmdline"} & set(found):
        raise VfkitError("if any flags in the group [kernel bootloader] are set none of the others can be")
    return found


def string_slice(text: str) -> list[str]:
    """pkg/cmdline/string_slice.go: commas separate, but not in double quotes; a part loses its own quotes."""
    parts, current, quoted = [], "", False
    for character in text:
        if character == '"':
            quoted = not quoted
        if character == "," and not quoted:
            parts.append(trim(current))
            current = ""
        else:
            current += character
    if quoted:
        raise VfkitError('mismatched "')
    return [*parts, trim(current)] if parts or current else []


def trim(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text


def options(words: list[str]) -> Options:
    return [(key, value) for key, _, value in (word.partition("=") for word in words if word)]


def unsigned(text: str, what: str, bits: int = 64) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 1 << bits:
        raise VfkitError(f'strconv.ParseUint: parsing "{text}": invalid syntax ({what})')
    return int(text)


def bootloader(words: list[str], *, arm64: bool) -> dict[str, str]:
    if not words:
        raise VfkitError("empty option list in --bootloader command line argument")
    if words[0] != "linux":
        raise VfkitError(f"unknown bootloader type: {words[0]}")
    found: dict[str, str] = {}
    for key, value in options(words[1:]):
        if key not in ("kernel", "initrd", "cmdline"):
            raise VfkitError(f"unknown option for linux bootloaders: {key}")
        found[key] = trim(value) if key == "cmdline" else value
    for key in ("kernel", "initrd"):
        if not Path(found.get(key, "")).is_file():
            raise VfkitError(f"open {found.get(key, '')}: no such file or directory")
    # pkg/vf/bootloader.go: the magic of an uncompressed arm64 Image
    if arm64 and Path(found["kernel"]).read_bytes()[0x38:0x3C] != b"ARMd":
        raise VfkitError(f"kernel must be uncompressed, {found['kernel']} is a compressed file")
    if not found.get("cmdline"):
        raise VfkitError("missing kernel command line")
    return found


def device(text: str) -> tuple[str, dict[str, str]]:
    """One ``--device``: known options only, and all that are needed."""
    kind, *words = text.split(",")
    rules: dict[str, tuple[set[str], set[str]]] = {
        # options with a value, options without one
        "virtio-blk": ({"path", "uri", "deviceId"}, {"readonly"}),
        "virtio-net": ({"mac", "fd", "unixSocketPath"}, {"nat"}),
        "virtio-fs": ({"sharedDir", "mountTag"}, set()),
        "rosetta": ({"mountTag"}, {"install", "ignore-if-missing"}),
        "virtio-vsock": ({"port", "socketURL"}, {"listen", "connect"}),
        "virtio-serial": ({"logFilePath"}, {"stdio", "pty"}),
        "virtio-rng": (set(), set()),
        "virtio-balloon": (set(), set()),
    }
    if kind not in rules:
        raise VfkitError(f"unknown device type: {kind}")
    with_value, without = rules[kind]
    found = {}
    for key, value in options(words):
        if key not in with_value | without:
            raise VfkitError(f"unknown option for {kind} devices: {key}")
        if key in without and value:
            raise VfkitError(f"unexpected value for {kind} '{key}' option: {value}")
        if key in with_value and not value:
            raise VfkitError(f"missing value for {kind} '{key}' option")
        found[key] = value
    CHECKS.get(kind, lambda _: None)(found)
    return kind, found


def check_blk(found: dict[str, str]) -> None:
    if ("path" in found) == ("uri" in found):
        raise VfkitError("virtio-blk devices need a path to a disk image or a uri to a remote block device")
    if not Path(found["path"]).is_file():
        raise VfkitError(f"open {found['path']}: no such file or directory")
    if len(found.get("deviceId", "").encode()) > 20:
        raise VfkitError(
            "the block device identifier has at most 20 bytes"
        )  # VZVirtioBlockDeviceConfiguration


def check_net(found: dict[str, str]) -> None:
    if len({"nat", "fd", "unixSocketPath"} & set(found)) != 1:
        raise VfkitError("one of 'nat' or 'fd' or 'unixSocketPath' must be set")
    if "mac" in found:
        octets = found["mac"].split(":")
        if len(octets) != 6 or not all(len(one) == 2 and int(one, 16) >= 0 for one in octets):
            raise VfkitError(f"address {found['mac']}: invalid MAC address")


def check_fs(found: dict[str, str]) -> None:
    if not Path(found.get("sharedDir", "")).is_dir():
        raise VfkitError("missing mandatory 'sharedDir' option for virtio-fs device")
    if not 0 < len(found.get("mountTag", "").encode()) < 36:
        raise VfkitError("invalid mount tag")  # VZVirtioFileSystemDeviceConfiguration.validateTag


def check_rosetta(found: dict[str, str]) -> None:
    if not found.get("mountTag"):
        raise VfkitError("rosetta shares require a mount tag to be specified")


def check_serial(found: dict[str, str]) -> None:
    if len(found) != 1:
        raise VfkitError("one of 'logFilePath' or 'stdio' or 'pty' must be set")


CHECKS: dict[str, Callable[[dict[str, str]], None]] = {
    "virtio-blk": check_blk,
    "virtio-net": check_net,
    "virtio-fs": check_fs,
    "rosetta": check_rosetta,
    "virtio-serial": check_serial,
}


def rest_path(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("unix", "tcp", "none"):
        raise VfkitError(f"invalid scheme {parts.scheme}")
    if parts.scheme == "unix" and parts.netloc:
        raise VfkitError("invalid unix uri: host is forbidden")
    if parts.scheme == "unix" and not parts.path:
        raise VfkitError("invalid unix uri: missing path")
    return unquote(parts.path)


def check(argv: list[str], *, arm64: bool = True) -> dict[str, Any]:
    """Everything vfkit finds out from its arguments before the machine starts.

    Raises:
        VfkitError: it would end with this message.
    """
    flags = parse_flags(argv)
    words = [part for text in flags.get("--bootloader", []) for part in string_slice(text)]
    sync = options(flags.get("--timesync", ["vsockPort=1"])[-1].split(","))
    if [key for key, _ in sync] != ["vsockPort"]:
        raise VfkitError("unknown option for timesync parameter")
    unsigned(sync[0][1], "timesync", 32)
    return {
        "cpus": unsigned(flags.get("--cpus", ["1"])[-1], "cpus"),
        "memory": unsigned(flags.get("--memory", ["512"])[-1], "memory"),
        "bootloader": bootloader(words, arm64=arm64),
        "devices": [device(text) for text in flags.get("--device", [])],
        "rest": rest_path(flags["--restful-uri"][-1]) if "--restful-uri" in flags else None,
    }


def raw_mode() -> None:
    """pkg/vf/virtio.go: without a terminal the real one crashes, as it looks at no error."""
    attributes = termios.tcgetattr(0)
    attributes[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(0, termios.TCSANOW, attributes)


def connect_network(path: str) -> socket.socket:
    """pkg/vf/virtionet.go: an end of its own beside gvproxy's, and the four bytes that gvproxy waits for."""
    own = str(Path(path).parent / f"vfkit-{os.getpid():x}-1a2b.sock")
    if len(own.encode()) >= SUN_PATH:
        raise VfkitError(f"unixgram path '{own}' is too long: {len(own)} >= {SUN_PATH} bytes")
    link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    link.bind(own)
    link.connect(path)
    link.send(b"VFKT")
    return link


class Rest(BaseHTTPRequestHandler):
    """pkg/rest: two routes; a state that cannot follow is refused in the framework's words."""

    state = "VirtualMachineStateRunning"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/vm/inspect":
            return self._answer(200, {"cpus": 1, "memory": 2048, "devices": {}})
        if self.path != "/vm/state":
            return self._answer(404, None)
        return self._answer(200, {"state": Rest.state})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            wanted = json.loads(body)["state"]
        except (ValueError, KeyError, TypeError) as error:
            return self._answer(400, {"error": str(error)})
        allowed = {
            "Pause": "VirtualMachineStateRunning", "Resume": "VirtualMachineStatePaused",
            "Stop": "VirtualMachineStateRunning", "HardStop": Rest.state,
        }  # fmt: skip
        if wanted not in allowed:
            return self._answer(500, {"error": f"invalid new VMState: {wanted}"})
        if Rest.state != allowed[wanted]:
            return self._answer(500, {"error": f"Error Domain=VZErrorDomain Code=3 ({Rest.state})"})
        # before the answer, for whoever asks at once again
        Rest.state = f"VirtualMachineState{'Paused' if wanted == 'Pause' else 'Running'}"
        if wanted in ("Stop", "HardStop"):
            if wanted == "Stop":
                print("[    9.9] reboot: Power down", flush=True)
            threading.Timer(0.2, os._exit, [0]).start()
        self._answer(202, None)
        self.close_connection = True
        return None

    def _answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode() if body is not None else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if data:  # the other side may have hung up after the head
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        pass

    def address_string(self) -> str:
        return "unix"


def main(argv: list[str]) -> int:
    if argv == ["--version"]:
        print("vfkit version: 0.6.4")
        return 0
    try:
        machine = check(argv, arm64="FAKE_VFKIT_INTEL" not in os.environ)
        if ("virtio-serial", {"stdio": ""}) in machine["devices"]:
            raw_mode()
        links = [
            connect_network(found["unixSocketPath"])
            for kind, found in machine["devices"]
            if kind == "virtio-net" and "unixSocketPath" in found
        ]
    except (VfkitError, OSError, termios.error) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if machine["rest"]:
        server = UnixStreamServer(machine["rest"], Rest)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    for stage in STAGES:
        print(f"cove-stage {stage} 0.1", flush=True)
    if os.environ.get("FAKE_VFKIT_PANIC"):
        print("[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs", flush=True)
    threading.Event().wait(60)
    del links
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
