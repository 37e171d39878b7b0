# SPDX-License-Identifier: Apache-2.0
"""A LinuxKit configuration: read from one or more YAML files, checked, merged. Pure.

Merging is LinuxKit's: of each of the kernel's fields the last non-empty one wins, lists are appended. Every problem
of every file is told at once, with file, line and key; LinuxKit finds some of them only while it builds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cove.image.linuxkit import schema
from cove.image.linuxkit.gowrite import to_yaml, yaml_value
from cove.image.linuxkit.meaning import (
    SECTIONS,
    Document,
    all_problems,
    file_kinds,
    give_ids,
    volume_complaints,
)
from cove.image.linuxkit.shapes import octal
from cove.image.marked import Marked, Problem, raise_problems

_HINT = "Correct the file; DESIGN.md says where the keys are described."


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """The section ``kernel``.

    Args:
        image: name of the image, "" for none.
        cmdline: the kernel's command line.
        binary: name of the kernel in the image, its path in the package; "" for the usual one.
        tar: name of the tar in the image that is unpacked at /; "" for none.
        ucode: name of the microcode in the image; "" for none.
        package: the Debian package that it comes from instead; a meta package is followed to the real one.
        external: take only the package's modules; the kernel itself comes from elsewhere.
        init: the script that becomes ``/init`` of the initramfs before a root on a disk; "" for Cove's.
        modules: names of those that this initramfs loads, dependencies are added.
        unpacked: names of those that lie uncompressed in the root, with their dependencies; a kernel need not have
            them.
    """

    image: str = ""
    cmdline: str = ""
    binary: str = ""
    tar: str = "kernel.tar"
    ucode: str = ""
    package: str = ""
    external: bool = False
    init: str = ""
    modules: tuple[str, ...] = ()
    unpacked: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Packages:
    """The section ``packages``: Debian packages at /.

    Args:
        include: names; what they depend on is added.
        exclude: names that are never pulled in.
        drop: globs of paths of packages to leave out; ``*`` ends at a slash, ``**`` does not.
        applets: link each of busybox's applets that no package provides, in /usr/bin.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    applets: bool = False


@dataclass(frozen=True, kw_only=True)
class Container:
    """One entry of ``onboot``, ``onshutdown`` or ``services``.

    Args:
        name: of the container.
        image: name of its image, as it was written.
        settings: what else was said of it, by key (``schema.SETTINGS``).
        where: file and line.
    """

    name: str
    image: str
    settings: Mapping[str, Any]
    where: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One entry of ``files``.

    Args:
        path: as it was written.
        kind: the one of "directory", "symlink", "contents", "source", "metadata" that it is.
        value: what stands there; "" for a directory.
        optional: a source that is missing is left out silently.
        mode: None means 0600, 0700 for a directory.
        uid: a number or the name of a container.
        gid: a number or the name of a container.
        where: file and line.
    """

    path: str
    kind: str
    value: str = ""
    optional: bool = False
    mode: int | None = None
    uid: int | str = 0
    gid: int | str = 0
    where: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One entry of ``volumes``.

    Args:
        name: of the volume.
        image: what it holds; "" for nothing.
        readonly: containers may only read it.
        oci: it holds the image as an OCI layout, not its files.
        platforms: of an OCI layout; none means all.
    """

    name: str
    image: str = ""
    readonly: bool = False
    oci: bool = False
    platforms: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Where it lies in the image."""
        return f"containers/volumes/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole configuration.

    Args:
        kernel: the section ``kernel``.
        packages: the section ``packages``.
        init: names of images that are unpacked at /.
        onboot: containers that run one after the other at boot.
        onshutdown: containers that run at shutdown.
        services: containers that run side by side.
        files: single files.
        volumes: what containers may share.
        raw: the merged YAML, for writing it again.
        complaints: what LinuxKit's dry run lets pass, but no build.
    """

    kernel: Kernel = Kernel()
    packages: Packages = Packages()
    init: tuple[str, ...] = ()
    onboot: tuple[Container, ...] = ()
    onshutdown: tuple[Container, ...] = ()
    services: tuple[Container, ...] = ()
    files: tuple[FileEntry, ...] = ()
    volumes: tuple[Volume, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    complaints: tuple[Problem, ...] = ()

    def check(self) -> None:
        """Refuse what cannot be built.

        Raises:
            UsageError: there are complaints.
        """
        raise_problems(self.complaints, _HINT)

    def containers(self, section: str) -> tuple[Container, ...]:
        """The containers of one of :data:`SECTIONS`."""
        found: tuple[Container, ...] = getattr(self, section)
        return found

    @property
    def ids(self) -> dict[str, int]:
        """The number that belongs to each container's name."""
        return give_ids(one.name for section in SECTIONS for one in self.containers(section))

    def as_yaml(self) -> str:
        """The merged configuration, as ``linuxkit build --dry-run`` prints it."""
        return to_yaml(yaml_value(self.raw, schema.CONFIG), version=3)


def load_config(texts: Sequence[tuple[str, str]]) -> Config:
    """Read and merge configurations.

    Args:
        texts: pairs of file name and YAML, in the order in which they are merged.

    Raises:
        UsageError: the details list every problem of all of them.
    """
    documents = [Document.read(text, file) for file, text in texts]
    problems, complaints = all_problems(documents), tuple(volume_complaints(documents))
    if problems:
        raise_problems([*problems, *complaints], _HINT)
    return replace(_typed([one.marked for one in documents]), complaints=complaints)


def _typed(documents: Sequence[Marked]) -> Config:
    raw = _merged([document.value for document in documents])
    marks = {
        section: [
            f"{document.file}:{document.line((section, index))}"
            for document in documents
            for index in range(len(document.value.get(section, [])))
        ]
        for section in (*SECTIONS, "files")
    }
    sections = {
        section: tuple(
            Container(
                name=item["name"],
                image=item["image"],
                settings={key: value for key, value in item.items() if key not in ("name", "image")},
                where=where,
            )
            for item, where in zip(raw[section], marks[section], strict=True)
        )
        for section in SECTIONS
    }
    return Config(
        kernel=_kernel(raw["kernel"]),
        packages=Packages(**{key: _plain(item) for key, item in raw.get("packages", {}).items()}),
        init=tuple(raw["init"]),
        files=tuple(_file(item, where) for item, where in zip(raw["files"], marks["files"], strict=True)),
        volumes=tuple(
            Volume(
                name=item["name"],
                image=item.get("image", ""),
                readonly=item.get("readonly", False),
                oci=item.get("format") == "oci",
                platforms=tuple(item.get("platforms", ())),
            )
            for item in raw["volumes"]
        ),
        raw=raw,
        onboot=sections["onboot"],
        onshutdown=sections["onshutdown"],
        services=sections["services"],
    )


def _kernel(item: Mapping[str, Any]) -> Kernel:
    tar = item.get("tar", "kernel.tar")
    return Kernel(
        image=item.get("image", ""),
        cmdline=item.get("cmdline", ""),
        binary=item.get("binary", ""),
        tar="" if tar == "none" else tar,
        ucode=item.get("ucode", ""),
        package=item.get("package", ""),
        external=item.get("external", False),
        init=item.get("init", ""),
        modules=tuple(item.get("modules", ())),
        unpacked=tuple(item.get("unpacked", ())),
    )


def _plain(item: Any) -> Any:
    return tuple(item) if isinstance(item, list) else item


def _merged(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    kernel: dict[str, Any] = {}
    for value in values:
        mine = value.get("kernel", {})
        if mine.get("package"):  # external says whose kernel is, so it goes with the name
            kernel["external"] = mine.get("external", False)
        # tar and ucode may be set to "", which means none
        kernel |= {
            key: item for key, item in mine.items() if item or (key in ("tar", "ucode") and item is not None)
        }
    if not kernel.get("external", True):
        del kernel["external"]
    lists = ("init", *SECTIONS, "files", "volumes")
    merged: dict[str, Any] = {key: [item for value in values for item in value.get(key, [])] for key in lists}
    packages = _merged_packages([value["packages"] for value in values if "packages" in value])
    return {"kernel": kernel, **merged, **({"packages": packages} if packages else {})}


def _merged_packages(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for value in values:
        for key, item in value.items():
            known = merged.get(key)
            if isinstance(item, list):
                merged[key] = list(dict.fromkeys([*(known or []), *item]))
            else:
                merged[key] = bool(known) or item
    return merged


def _file(item: Mapping[str, Any], where: str) -> FileEntry:
    kind = file_kinds(item)[0]
    mode = octal(item.get("mode", ""))
    return FileEntry(
        path=item["path"].removeprefix("/"),
        kind=kind,
        value="" if kind == "directory" else item[kind],
        optional=item.get("optional", False),
        mode=int(mode, 8) if mode else None,
        uid=item.get("uid", 0),
        gid=item.get("gid", 0),
        where=where,
    )
