# SPDX-License-Identifier: Apache-2.0
"""User-Mode Linux's whole command line, as one pure function.

Options are those of ``linux --help`` (arch/um in the kernel's source), checked with Debian's 6.12. All of it
becomes the kernel's command line, which ends at spaces: so paths cannot hold any. It is started in the machine's
folder, and what lies there is named without the way there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from cove.errors import ToolError, UsageError
from cove.spec.machine import MachineSpec
from cove.system.process import Command
from cove.vmm.base import BootFiles, Runtime, unsupported
from cove.vmm.vhost_messages import BALLOON

PROGRAM = "linux.uml"

UMID = "vm"
"""The machine's name for its own folder below ``uml_dir``: each machine has a ``uml_dir`` to itself."""

CMDLINE_LIMIT = 2047
"""Bytes of the kernel's command line (COMMAND_LINE_SIZE of arch/um, with the final NUL)."""

# ubd and vec split their values at these, and have no way to escape them
_UNSAFE = re.compile(r"[\s,:\"'\x00-\x1f]")


def uml_command(
    spec: MachineSpec, boot: BootFiles, runtime: Runtime, tools: Mapping[str, Command]
) -> Command:
    """The command that runs this machine as User-Mode Linux.

    Its environment holds TMPDIR, because the guest's memory is a file there.

    Raises:
        UnsupportedError: more than one CPU, or an accelerator.
        UsageError: a path or word holds a character that the command line cannot carry.
        ToolError: linux.uml is not among ``tools``.
    """
    if spec.cpus > 1:
        hint = f"Use --driver qemu --cpus {spec.cpus}."
        raise unsupported("uml", f"give a machine {spec.cpus} CPUs, its kernel is built for one", hint=hint)
    if spec.accel != "none":
        hint = f"Use --driver qemu --accel {spec.accel}."
        raise unsupported("uml", f"use the accelerator {spec.accel}", hint=hint)
    if PROGRAM not in tools:
        raise ToolError(f"{PROGRAM} is not in the toolbox")
    words = _words(spec, boot, runtime)
    length = len(" ".join(words).encode())
    if length > CMDLINE_LIMIT:
        raise UsageError(
            f"the kernel's command line would have {length} bytes, and may have {CMDLINE_LIMIT}",
            details=" ".join(words),
        )
    tool = tools[PROGRAM].with_args(*words)
    return Command(tool.argv, {**tool.env, "TMPDIR": str(runtime.memory_dir)})


def mconsole_socket(runtime: Runtime) -> Path:
    """Where the running kernel's management console listens."""
    return runtime.uml_dir / UMID / "mconsole"


def balloon_socket(runtime: Runtime) -> Path:
    """Where we listen for the kernel's reports of free memory."""
    return runtime.uml_dir / "balloon"


def _words(spec: MachineSpec, boot: BootFiles, runtime: Runtime) -> list[str]:
    place = partial(place_in, runtime.folder)
    return [
        f"mem={spec.memory // 1024}K",
        f"initrd={place(boot.initrd)}",
        # r: read-only. d: never a copy-on-write file, even if a guest writes the header of one, which would
        # name any file of the host as its base. Discard is on unless the flag t turns it off.
        f"ubd0rd={place(boot.root)}",
        f"ubd1d={place(boot.data)}",
        f"ubd2rd={place(boot.settings)}",
        f"vec0:transport=bess,dst={place(runtime.net_socket)},depth=64,mtu={runtime.mtu},mac={runtime.mac}",
        # 26 is a virtio file system
        *(f"virtio_uml.device={place(share)}:26" for share in runtime.shares),
        # and 5 a balloon, which gives back what is free
        f"virtio_uml.device={place(balloon_socket(runtime))}:{BALLOON}",
        f"uml_dir={place(runtime.uml_dir)}",
        f"umid={UMID}",
        # a reboot ends the process: the supervisor starts it again with fresh parts
        "noreboot",
        # without a second console there are no helper programs and terminals to open
        *("con=null", "con0=null,fd:1", "console=tty0"),
        *plain_words((boot.cmdline,)),
        "panic=-1",
        *(
            "cove.root=/dev/ubda",
            "cove.data=/dev/ubdb",
            "cove.settings=/dev/ubdc",
            "cove.net=vec0",
            f"cove.mtu={runtime.mtu}",
        ),
        *plain_words(runtime.words),
    ]


def place_in(folder: Path, path: Path) -> str:
    """How the kernel, started in ``folder``, finds a file.

    Raises:
        UsageError: the name holds a character at which an option would end.
    """
    name = str(path.relative_to(folder) if path.is_relative_to(folder) else path)
    if found := _UNSAFE.search(name):
        raise UsageError(
            f"the driver uml cannot use the path {str(path)!r}: it holds {found[0]!r}",
            hint="Set COVE_HOME to a folder without spaces, commas, colons and quotes, or use --driver qemu.",
        )
    return name


def plain_words(texts: tuple[str, ...]) -> list[str]:
    """The single words of these texts; the kernel splits them at spaces anyway."""
    words = [word for text in texts for word in text.split(" ") if word]
    for word in words:
        if any(ord(character) < 32 for character in word):
            raise UsageError(
                f"{word!r} holds a control character, which a kernel's command line cannot carry"
            )
        if _is_option(word):
            raise UsageError(f"{word!r} is an option of User-Mode Linux itself, which only the driver gives")
    return words


def _is_option(word: str) -> bool:
    return (
        re.match(r"(ubd|vec|eth)[0-9]|virtio_uml[.]|(mem|initrd|uml_dir|umid|con[0-9]*|mconsole)=", word)
        is not None
    )
