# SPDX-License-Identifier: Apache-2.0
"""Build a guest image: recipes and the signed archive in, kernel, initramfs and root out."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

from cove.debian.archive import Archive
from cove.debian.lock import Lock
from cove.errors import NotFoundError, UsageError
from cove.events import Report, stage
from cove.image import busybox
from cove.image.entries import Entry, Piece, file
from cove.image.erofs import make_erofs
from cove.image.guest_image import (
    ABOUT,
    BUILDER_VERSION,
    CMDLINE,
    INITRD,
    KERNEL,
    LOCK,
    ROOT,
    GuestImage,
    hash_file,
    request_key,
)
from cove.image.initrd import cpio, guest_nodes
from cove.image.kernel import (
    KernelParts,
    kernel_packages,
    module_lists,
    needed_modules,
    read_modules,
    take_kernel,
)
from cove.image.recipe import INIT, Kind, Recipe, load_recipes
from cove.image.rootfs import LOCK_IN_IMAGE, add_applets, add_files, add_packages, add_skeleton, source_files
from cove.image.spool import Written, sweep, unpack_all, write_tar
from cove.image.tree import Dropper, Tree
from cove.system.files import building, locked, remove_tree, storage_errors, write_json
from cove.system.process import Command


def build_guest(
    *,
    recipes: Sequence[Path],
    sources: Path,
    archive: Archive,
    mkfs_erofs: Command,
    images: Path,
    report: Report,
) -> GuestImage:
    """Build the image that ``recipes`` describe, unless it exists already.

    Args:
        recipes: YAML files, merged in this order.
        sources: the folder below which the recipes' sources lie.
        archive: where packages come from; its architecture is the guest's.
        mkfs_erofs: the program.
        images: the folder of all images.
        report: is told of the stages.

    Returns:
        the image, in ``images/ID``; ``images/REQUEST.json`` points to it for :func:`find_guest`.

    Raises:
        UsageError: a recipe is wrong; lists every problem.
        ResolveError, NetworkError, IntegrityError: the packages cannot be had.
        StorageError: the disk is full.

    After an error no image was made; what was downloaded stays in the archive's cache.
    """
    # before anything is read: a source that changes meanwhile must not be found under its new request
    request = request_key(recipes, sources, archive.architecture)
    recipe = _load(recipes, sources)
    with stage(report, "resolve", "Finding the guest's packages"):
        plan = _plan(recipe, sources, archive)
    folder = images / plan.id
    with locked(images / ".lock", waiting_for="building a guest image"):
        sweep(images)
        try:
            image = GuestImage.load(folder)
        except NotFoundError:
            remove_tree(folder)
            debs = archive.fetch(plan.all)
            with stage(report, "image", "Building the guest's image"), building(folder) as scratch:
                _build(plan, debs, mkfs_erofs, scratch)
            image = GuestImage.load(folder)
        write_json(images / f"{request}.json", {"id": image.id})
    return image


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Everything that decides the image's contents."""

    id: str
    recipe: Recipe
    sources: Path
    root: Lock  # what the root is made of
    kernel: Lock  # the kernel's package, with the meta package if there is one
    all: Lock


def _load(recipes: Sequence[Path], sources: Path) -> Recipe:
    with storage_errors("reading the recipe"):
        recipe = load_recipes([(path.name, path.read_text()) for path in recipes])
    if not recipe.kernel.package:
        raise UsageError("the recipe has no kernel.package", details=", ".join(map(str, recipes)))
    init = sources / (recipe.kernel.init or INIT)
    if not init.is_file():
        raise UsageError("the initramfs has no init script", details=str(init), hint="Set kernel.init.")
    return recipe


def _plan(recipe: Recipe, sources: Path, archive: Archive) -> _Plan:
    root = archive.resolve(recipe.packages.include, exclude=recipe.packages.exclude)
    behind = archive.resolve([recipe.kernel.package, busybox.PACKAGE])
    kernel = Lock.of(kernel_packages(behind, recipe.kernel))
    extra = [p for p in behind.packages if p.name == busybox.PACKAGE]
    everything = Lock.of({p.name: p for p in (*kernel.packages, *extra, *root.packages)}.values())
    digest = hashlib.sha256(
        f"{BUILDER_VERSION} {archive.architecture}\n{recipe!r}\n{everything.digest}\n".encode()
    )
    for source in (recipe.kernel.init or INIT, *(f.value for f in recipe.files if f.kind is Kind.SOURCE)):
        for below, path in source_files(source, sources):
            hash_file(digest, f"{source} {below}", path)
    identity = digest.hexdigest()[:32]
    return _Plan(id=identity, recipe=recipe, sources=sources, root=root, kernel=kernel, all=everything)


def _build(plan: _Plan, debs: Mapping[str, Path], mkfs_erofs: Command, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".scratch.") as name:
        scratch = Path(name)
        unpacked = unpack_all({p.name: debs[p.name] for p in plan.all.packages}, scratch)
        kernel = take_kernel(plan.recipe.kernel, [(p, unpacked[p.name]) for p in plan.kernel.packages])
        tree = _compose(plan, unpacked, kernel)
        modules = tree.under(f"usr/lib/modules/{kernel.release}")
        known = read_modules(kernel.release, modules)
        for entry in module_lists(kernel.release, known):
            tree.add(entry)
        program = next(entry for entry in unpacked[busybox.PACKAGE] if entry.path == busybox.PATH)
        nodes = guest_nodes(
            init=(plan.sources / (plan.recipe.kernel.init or INIT)).read_bytes(),
            busybox=program.read(),
            modules=needed_modules(kernel.release, known, modules, plan.recipe.kernel.modules),
        )
        with (folder / INITRD).open("wb") as initrd:
            initrd.writelines(cpio(nodes))
        tar = scratch / "root.tar"
        write_tar(tree.sorted(), tar)
        make_erofs(mkfs_erofs, tar=tar, into=folder / ROOT, uuid=UUID(plan.id))
        if not plan.recipe.kernel.external:
            _copy(kernel.binary, folder / KERNEL)
    _describe(plan, kernel, folder)


def _compose(plan: _Plan, unpacked: Mapping[str, list[Entry]], kernel: KernelParts) -> Tree:
    drop = Dropper(plan.recipe.packages.drop)
    tree = Tree()
    # a kernel's package may stand among the root's (another's dependency): only its modules belong there
    names = [p.name for p in plan.root.packages if plan.kernel.get(p.name) is None]
    add_packages(tree, [*(unpacked[name] for name in names), list(kernel.modules)], drop=drop)
    add_skeleton(tree)
    if plan.recipe.packages.applets:
        add_applets(tree)
    tree.add(file(LOCK_IN_IMAGE, plan.all.to_json()))
    add_files(tree, plan.recipe.files, plan.sources)
    return tree


def _copy(entry: Entry, into: Path) -> None:
    assert isinstance(entry.contents, Piece)  # noqa: S101  # it came out of a package
    with entry.contents.file.open("rb") as source, into.open("wb") as out:
        source.seek(entry.contents.offset)
        out.write(source.read(entry.contents.size))


def _describe(plan: _Plan, kernel: KernelParts, folder: Path) -> None:
    cmdline = plan.recipe.kernel.cmdline
    (folder / CMDLINE).write_text(cmdline)
    (folder / LOCK).write_text(plan.all.to_json())
    external = plan.recipe.kernel.external
    names = [CMDLINE, INITRD, LOCK, ROOT, *([] if external else [KERNEL])]
    package = {
        "name": kernel.package.name,
        "version": kernel.package.version,
        "sha256": kernel.package.sha256,
    }
    write_json(
        folder / ABOUT,
        {
            "id": plan.id,
            "builder": BUILDER_VERSION,
            "cmdline": cmdline,
            "kernel": {
                "release": kernel.release,
                "path": kernel.binary.path,
                "sha256": kernel.sha256,
                "external": external,
                "package": package,
            },
            "packages": {p.name: p.version for p in plan.all.packages},
            "files": {name: asdict(_measure(folder / name)) for name in sorted(names)},
        },
    )


def _measure(path: Path) -> Written:
    with path.open("rb") as stream:
        return Written(path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())
