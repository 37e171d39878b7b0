# SPDX-License-Identifier: Apache-2.0
"""The host's folders that a guest sees, each under the path that it has on the host. Pure: no folder is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from posixpath import normpath

from cove.errors import UsageError

GUEST_PLACES = (
    "/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr",
    "/var/lib/containerd", "/var/lib/cove", "/var/lib/docker", "/var/run",
)  # fmt: skip
"""What the guest needs for itself: no share may lie there, or hide one of them."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+@=")


@dataclass(frozen=True, kw_only=True)
class Share:
    """One folder.

    Args:
        path: absolute and normal ("/a/b", without "..", "//" and a last "/"); the same on host and in guest.
        writable: whether the guest may change what is below it.
    """

    path: str
    writable: bool = True

    @property
    def mode(self) -> str:
        """As mount(8) says it."""
        return "rw" if self.writable else "ro"


def parse_share(text: str) -> Share:
    """Read ``PATH``, ``PATH:rw`` or ``PATH:ro``; anything else behind a colon belongs to the path.

    Raises:
        UsageError: a guest cannot have this path; says why.
    """
    path, _, mode = text.rpartition(":")
    share = Share(path=path, writable=mode == "rw") if mode in ("ro", "rw") else Share(path=text)
    return Share(path=check_path(share.path), writable=share.writable)


def check_path(path: str) -> str:
    """The normal form of a path that can be shared.

    Raises:
        UsageError: it is not absolute, holds a control character, or is or hides a place of the guest's own.
    """
    if not path.startswith("/"):
        raise UsageError(f"a shared folder is given by its absolute path, and {path!r} is none")
    if _CONTROL.search(path):
        raise UsageError(f"the folder {path!r} cannot be shared: its name holds a character that is no text")
    normal = "/" + normpath(path).lstrip("/")
    for place in GUEST_PLACES:
        if is_below(normal, place) or is_below(place, normal):
            raise UsageError(
                f"{normal} cannot be shared: the guest has a {place} of its own",
                hint="Share a folder elsewhere, such as one below your home.",
            )
    return normal


def is_below(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or lies in it; both absolute and normal."""
    return folder in (path, "/") or path.startswith(folder + "/")


def merge(shares: Iterable[Share]) -> tuple[Share, ...]:
    """Each folder once, as it was given last, and folders before what is in them: the order to mount them in."""
    by_path = {share.path: share for share in shares}
    return tuple(by_path[path] for path in sorted(by_path))


def covering(shares: Iterable[Share], path: str) -> Share | None:
    """The innermost share that ``path`` (absolute, normal) lies in."""
    found = [share for share in shares if is_below(path, share.path)]
    return max(found, key=lambda share: len(share.path), default=None)


def tag(index: int) -> str:
    """The name by which guest and host know the share of that number."""
    return f"cove{index}"


def kernel_words(
    shares: Sequence[Share], hidden: Iterable[str], *, mount_type: str = "virtiofs"
) -> tuple[str, ...]:
    """What the guest is told on its kernel's command line: ``cove.share=TAG:MODE:PATH``, ``cove.hide=PATH``.

    And ``cove.mount=9p`` where the shares are none of virtiofs.

    Args:
        shares: in the order of their tags, which is the order to mount them in.
        hidden: folders in the shares to lay something empty over.
        mount_type: how they are mounted.
    """
    mounts = [f"cove.share={tag(i)}:{one.mode}:{escape(one.path)}" for i, one in enumerate(shares)]
    way = [f"cove.mount={mount_type}"] if mounts and mount_type != "virtiofs" else []
    return (*way, *mounts, *(f"cove.hide={escape(path)}" for path in hidden))


def escape(path: str) -> str:
    """A path as one word for the kernel and the guest's shell: other bytes than the usual become %OCT (octal)."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:03o}" for byte in path.encode())


def read_shares(value: object) -> tuple[Share, ...]:
    """The recorded form: a list of objects with ``path`` and ``writable``.

    Raises:
        UsageError: it has another shape.
    """
    if not isinstance(value, list):
        raise UsageError(f"shares: it is {value!r}, not a list")
    found = []
    for one in value:
        if not isinstance(one, Mapping) or set(one) != {"path", "writable"}:
            raise UsageError(f"shares: {one!r} is not a path with writable")
        path, writable = one["path"], one["writable"]
        if not isinstance(path, str) or not isinstance(writable, bool):
            raise UsageError(f"shares: {one!r} is not a path with writable")
        found.append(Share(path=check_path(path), writable=writable))
    return merge(found)
