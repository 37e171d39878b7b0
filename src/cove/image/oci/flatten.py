# SPDX-License-Identifier: Apache-2.0
"""An image's layers as one stream of files, none of them unpacked anywhere.

The top layer comes first and each path once, so what lies below is known to be hidden when it comes; this is also
the order of LinuxKit (go-containerregistry, pkg/v1/mutate). Whiteouts are those of layer.md of
opencontainers/image-spec: they hide what lower layers have, never what stands in their own layer; opaque ones,
which LinuxKit 1.8 overlooks, count too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cove.errors import ArchiveError
from cove.image.oci.model import Image
from cove.image.tar.header import DIRECTORY, WITHOUT_DATA, Header, clean
from cove.image.tar.reader import Data, read_tar

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_AUFS = ".wh..wh."
_KINDS = frozenset(("0", *WITHOUT_DATA))


def flatten(image: Image) -> Iterator[tuple[Header, Data]]:
    """All files of an image: paths cleaned, the rest as the layers have it.

    Yields:
        each entry, and its contents, to be read before the next entry.

    Raises:
        IntegrityError, ArchiveError, NotFoundError: a layer is damaged, leads out of the image, or is missing.
    """
    seen = _Seen()
    for layer in reversed(image.layers):
        with layer.open() as stream:
            for header, data in read_tar(stream):
                name = _checked(header, image)
                if not seen.whiteout(name) and seen.first(name, folder=header.kind == DIRECTORY):
                    yield replace(header, name=name), data
        seen.end_layer()


class _Seen:
    """What upper layers had, and what they have taken away."""

    def __init__(self) -> None:
        self._kinds: dict[str, bool] = {}  # path -> whether it is a folder
        self._gone: set[str] = set()  # paths that lower layers may not show
        self._emptied: set[str] = set()  # folders below which lower layers may not show anything
        self._whiteouts: list[str] = []
        self._opaque: list[str] = []

    def whiteout(self, name: str) -> bool:
        """Whether ``name`` is a whiteout; takes note of it."""
        folder, slash, base = name.rpartition("/")
        if not base.startswith(_WHITEOUT):
            return False
        if base == _OPAQUE:
            self._opaque.append(folder or ".")
        elif not base.startswith(_AUFS):
            self._whiteouts.append(folder + slash + base.removeprefix(_WHITEOUT))
        return True

    def first(self, name: str, *, folder: bool) -> bool:
        """Whether ``name`` is seen for the first time and not hidden; takes note of it."""
        if name in self._kinds or name in self._gone or self._below_nothing(name):
            return False
        self._kinds[name] = folder
        return True

    def end_layer(self) -> None:
        """The whiteouts of this layer count from here on."""
        self._gone.update(self._whiteouts)
        self._emptied.update(self._whiteouts, self._opaque)
        self._whiteouts, self._opaque = [], []

    def _below_nothing(self, name: str) -> bool:
        if "." in self._emptied:
            return True
        at = name.rfind("/")
        while at > 0:
            name = name[:at]
            if not self._kinds.get(name, True) or name in self._emptied:
                return True
            at = name.rfind("/")
        return False


def _checked(header: Header, image: Image) -> str:
    name = clean(header.name)
    if name == ".." or name.startswith("../"):
        raise ArchiveError(f"{image.reference} has a file that leads out of it", details=header.name)
    if header.kind not in _KINDS:
        raise ArchiveError(
            f"{image.reference} has a file of an unknown type", details=f"{header.kind} {name}"
        )
    return name
