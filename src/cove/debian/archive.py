# SPDX-License-Identifier: Apache-2.0
"""The signed archive: from package names to verified .deb files.

archive = Archive(cache=paths.archive)
lock = archive.resolve(["docker.io"])
debs = archive.fetch(lock)
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cove.debian.downloads import Download, Mirrors, Patience
from cove.debian.index import Index
from cove.debian.lists import Context, fresh_releases, offline_release, online_releases
from cove.debian.lock import Lock, LockedPackage
from cove.debian.mirrors import Mirror, default_mirrors
from cove.debian.release import Keyring, Release, shipped_keyring
from cove.debian.resolve import Universe, resolve
from cove.debian.store import Store, file_sha256
from cove.debian.tables import load_indexes
from cove.errors import IntegrityError, OfflineError, UsageError
from cove.events import Report, Transfer, silent
from cove.system.files import private_folder, storage_errors

__all__ = ["SUITES", "Archive", "Mirror", "default_mirrors"]

SUITES = ("trixie", "trixie-updates", "trixie-security")
"""The suites that are one archive for us; the component is always main."""

_REPORT_EVERY = 0.1


class Archive:
    """Debian trixie with its updates and security suites, verified by signature, cached by digest.

    Making one touches neither network nor disk. Its methods block, run an event loop of their own, and leave
    the cache whole whatever happens; several processes may share it.

    Args:
        cache: folder of the cache.
        mirrors: what to try, in order; by default :func:`default_mirrors` of ``env`` and this host.
        architecture: Debian's name of the architecture.
        offline: use the cache alone.
        report: told of progress.
        env: the environment, for ``COVE_DEBIAN_MIRROR``; by default the process's own. The proxy
            variables are always read from the process's own.
        keyring: who may sign which suite; by default the keys that ship with the package.
        patience: deadlines and attempts of downloads.
        now: the clock.
    """

    def __init__(
        self,
        *,
        cache: Path,
        mirrors: Sequence[Mirror] | None = None,
        architecture: str = "amd64",
        offline: bool = False,
        report: Report = silent,
        env: Mapping[str, str] | None = None,
        keyring: Keyring | None = None,
        patience: Patience | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        candidates = default_mirrors(os.environ if env is None else env, {}) if mirrors is None else mirrors
        if not candidates:
            raise UsageError("there is no Debian mirror to use")
        self._mirrors = Mirrors(candidates)
        self._offline = offline
        self._patience = patience or Patience()
        self._keyring = keyring
        self._store = Store(cache)
        self._architecture = architecture
        self._now = now or (lambda: datetime.now(UTC))
        self._report = report
        self._universe: Universe | None = None

    @property
    def architecture(self) -> str:
        """Debian's name of the architecture whose packages these are."""
        return self._architecture

    @property
    def mirror(self) -> Mirror:
        """The mirror in use: the first, until it fails and the next takes its place."""
        return self._mirrors.order[0]

    def resolve(
        self,
        wanted: Sequence[str],
        *,
        exclude: Collection[str] = (),
        essential: bool = False,
        priorities: Collection[str] = (),
    ) -> Lock:
        """Find the packages that ``wanted`` needs through Depends and Pre-Depends, at their highest versions.

        The package lists are looked up once in the life of this object; see :mod:`cove.debian.lists` for when
        the cache is believed.

        Args:
            wanted: package names.
            exclude: names that are never taken and count as satisfied.
            essential: take all Essential packages too.
            priorities: take all packages of these priorities ("required", ...) too.

        Raises:
            NotFoundError: a wanted package does not exist.
            ResolveError: dependencies cannot be satisfied.
            NetworkError, OfflineError: the package lists cannot be had.
            SignatureError, IntegrityError: they are not what Debian signed.
            StorageError: the cache cannot be written.
            CoveError: this computer's clock is far behind.
        """
        if self._universe is None:
            self._universe = Universe(self._indexes())
        return resolve(self._universe, wanted, exclude=exclude, essential=essential, priorities=priorities)

    def fetch(self, lock: Lock) -> dict[str, Path]:
        """Have every package of ``lock`` in the cache, and verify each, cached ones too.

        Returns:
            package name -> its .deb. Do not change or move it.

        Raises:
            NetworkError, OfflineError: a package cannot be had.
            IntegrityError: what came is not what was signed for; nothing of it is kept.
            StorageError: the cache cannot be written.
        """
        places = {package.name: self._store.deb(package) for package in lock.packages}
        with storage_errors("reading the package cache"):
            missing = [package for package in lock.packages if not self._have(package)]
        if missing and self._offline:
            raise OfflineError(
                f"{len(missing)} packages are not in the cache",
                details=", ".join(package.name for package in missing),
                hint="Run the same command once without --offline.",
            )
        if missing:
            private_folder(self._store.root)
            self._run("packages", "Packages", [self._download(package) for package in missing])
        return places

    def _have(self, package: LockedPackage) -> bool:
        path = self._store.deb(package)
        try:
            found = file_sha256(path)
        except FileNotFoundError:
            return False
        if found != package.sha256:
            if self._offline:
                raise IntegrityError(
                    path.name,
                    expected=f"sha256 {package.sha256}",
                    found=f"sha256 {found}",
                    hint="The cached file was altered. Run the command without --offline to fetch it again.",
                )
            path.unlink(missing_ok=True)
        return found == package.sha256

    def _download(self, package: LockedPackage) -> Download:
        return Download(
            name=package.filename.rpartition("/")[2], suite=package.suite, paths=(package.filename,),
            sha256=package.sha256, size=package.size, target=self._store.deb(package),
        )  # fmt: skip

    def _context(self) -> Context:
        self._keyring = self._keyring or shipped_keyring()
        return Context(
            store=self._store, keyring=self._keyring, architecture=self._architecture, now=self._now,
            report=self._report,
        )  # fmt: skip

    def _indexes(self) -> list[Index]:
        context = self._context()
        private_folder(self._store.root)
        with storage_errors("reading the package lists"):
            releases = self._releases(context)
            return load_indexes(context, releases, self._download_lists)

    def _releases(self, context: Context) -> dict[str, Release]:
        if self._offline:
            found = [offline_release(context, suite) for suite in SUITES]
        else:
            found = fresh_releases(context, SUITES) or self._ask_for_releases(context)
        return dict(zip(SUITES, found, strict=True))

    def _ask_for_releases(self, context: Context) -> list[Release]:
        from cove.debian.fetch import Fetcher

        async def work() -> list[Release]:
            async with Fetcher(self._mirrors, patience=self._patience, report=self._report) as fetcher:
                return await online_releases(context, SUITES, fetcher, self._mirrors)

        return asyncio.run(work())

    def _download_lists(self, wanted: list[Download]) -> None:
        if self._offline:
            raise OfflineError(
                "the package lists are not in the cache",
                details="\n".join(one.name for one in wanted),
                hint="Run the same command once without --offline.",
            )
        self._run("package-lists", "Package lists", wanted)

    def _run(self, key: str, label: str, wanted: list[Download]) -> None:
        from cove.debian.fetch import Fetcher

        bar = _Bar(self._report, key, label, sum(one.size for one in wanted))

        async def work() -> None:
            async with Fetcher(self._mirrors, patience=self._patience, report=self._report) as fetcher:
                await fetcher.all(wanted, bar.add)

        try:
            asyncio.run(work())
        finally:
            bar.close()


class _Bar:
    """Progress of a batch, told at most ten times a second."""

    def __init__(self, report: Report, key: str, label: str, total: int) -> None:
        self._report = report
        self._event = Transfer(key, label, 0, total)
        self._told = 0.0
        self._report(self._event)

    def add(self, more: int) -> None:
        self._event = replace(self._event, done=self._event.done + more)
        if time.monotonic() - self._told >= _REPORT_EVERY:
            self._told = time.monotonic()
            self._report(self._event)

    def close(self) -> None:
        self._report(replace(self._event, finished=True))
