# SPDX-License-Identifier: Apache-2.0
"""Downloads: parallel, resumable, retried, from the next mirror when one fails, verified before they exist.

A file is named by its digest, so a half-loaded one is taken up again with ``Range`` whichever mirror answers
(``If-Range`` would add nothing: the digest decides in the end, and a mixture is loaded anew). The usual proxy
variables and ``SSL_CERT_FILE`` are honoured, by aiohttp and OpenSSL.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from importlib import metadata
from typing import Self, TypeVar

import aiohttp

from cove.debian.downloads import Download, Mirrors, Patience, Reply
from cove.debian.mirrors import Mirror
from cove.errors import CoveError, IntegrityError, NetworkError
from cove.events import Note, Report
from cove.system.files import storage_errors
from cove.system.part import Part

PARALLEL = 6
"""Connections at once."""

_CHUNK = 256 * 1024
_T = TypeVar("_T")


class _GoneError(Exception):
    """The server does not have the file."""


class _TransientError(Exception):
    """Worth another attempt."""


class Fetcher:
    """An HTTP client for one batch. Use it as an async context manager."""

    def __init__(self, mirrors: Mirrors, *, patience: Patience, report: Report) -> None:
        self._mirrors = mirrors
        self._patience = patience
        self._report = report
        self._slots = asyncio.Semaphore(PARALLEL)

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._patience.connect, sock_read=self._patience.stall
        )
        headers = {"User-Agent": _user_agent(), "Accept-Encoding": "identity"}
        self._session = aiohttp.ClientSession(
            trust_env=True, timeout=timeout, headers=headers, auto_decompress=False
        )
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._session.close()

    async def small(
        self, mirror: Mirror, suite: str, path: str, *, validators: dict[str, str], limit: int
    ) -> Reply:
        """Fetch a small file from one mirror into memory.

        Args:
            mirror: where from.
            suite: which decides between its main and security archive.
            path: below the archive's root.
            validators: the conditional headers that :class:`Reply` gave last time, or nothing.
            limit: bytes it may have.

        Raises:
            NetworkError: it cannot be had from there.
        """
        url = mirror.url(suite, path)

        async def once() -> Reply:
            async with self._session.get(url, headers=validators) as response:
                if response.status == 304 and validators:
                    return Reply(None, validators)
                _check(response, 200)
                body = bytearray()
                async for chunk in response.content.iter_chunked(_CHUNK):
                    body += chunk
                    if len(body) > limit:
                        raise NetworkError(f"{url} is larger than {limit} bytes")
                return Reply(bytes(body), _validators(response))

        try:
            return await self._patiently(url, once, lambda: 0)
        except _GoneError as error:
            raise NetworkError(f"{mirror.host} does not carry {suite}", details=str(error)) from error

    async def all(self, downloads: Sequence[Download], progress: Callable[[int], None]) -> None:
        """Fetch files; each is at its target, whole and verified, or there is an error.

        Args:
            downloads: what to fetch.
            progress: told by how many bytes the work grew, or shrank when bytes had to be thrown away.

        Raises:
            NetworkError: no mirror could deliver one of them.
            IntegrityError: a file's digest or size is wrong on every mirror that has it.
            StorageError: the disk is full or not writable.

        After an error or Ctrl-C, files that are complete are kept and parts are taken up next time.
        """
        tasks = [asyncio.create_task(self._one(download, progress)) for download in downloads]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, download: Download, progress: Callable[[int], None]) -> None:
        async with self._slots:
            errors: list[CoveError] = []
            order = self._mirrors.order
            for mirror in order:
                try:
                    await self._from(mirror, download, progress)
                except (NetworkError, IntegrityError) as error:
                    errors.append(error)
                    self._mirrors.demote(mirror)
                    if mirror is not order[-1]:
                        self._report(Note(f"{error.message} ({mirror.host}); trying the next mirror"))
                else:
                    return
            # a wrong digest says more than an unreachable mirror
            raise next((error for error in errors if isinstance(error, IntegrityError)), errors[0])

    async def _from(self, mirror: Mirror, download: Download, progress: Callable[[int], None]) -> None:
        part = Part(
            name=download.name, target=download.target, digest=download.sha256, expected=download.size,
            progress=progress,
        )  # fmt: skip
        with storage_errors(f"downloading {download.name}"), part:
            gone = ""
            for path in download.paths:
                try:
                    return await self._load(mirror.url(download.suite, path), part)
                except _GoneError as error:
                    gone = str(error)
            raise NetworkError(
                f"{download.name} is not on {mirror.host}",
                details=gone,
                hint="An update may have replaced it meanwhile: run the command again.",
            )

    async def _load(self, url: str, part: Part) -> None:
        """Load a part to its end; if what was resumed turns out wrong, once more from the beginning."""
        resumed = part.size > 0
        await self._patiently(url, lambda: self._stream(url, part), lambda: part.size)
        try:
            part.finish()
        except IntegrityError:
            if not resumed:
                raise
            await self._patiently(url, lambda: self._stream(url, part), lambda: part.size)
            part.finish()

    async def _stream(self, url: str, part: Part) -> None:
        if part.size == part.expected:
            return
        headers = {"Range": f"bytes={part.size}-"} if part.size else {}
        async with self._session.get(url, headers=headers) as response:
            if part.size and response.status in (200, 206, 416) and not _continues(response, part.size):
                part.restart()
                if response.status != 200:
                    raise _TransientError(f"HTTP {response.status} does not continue what is there")
            _check(response, 206 if part.size else 200)
            async for chunk in response.content.iter_chunked(_CHUNK):
                part.write(chunk)
        # with a length, or in chunks, the client itself sees a cut: then a short file is a wrong file
        if part.size < part.expected and response.content_length is None and not _chunked(response):
            raise _TransientError(f"the connection ended after {part.size} of {part.expected} bytes")

    async def _patiently(self, url: str, once: Callable[[], Awaitable[_T]], reached: Callable[[], int]) -> _T:
        """Try until it works; ``reached`` says how far it got: an attempt that got further is not counted."""
        failed = 0
        while True:
            before = reached()
            try:
                return await once()
            except (_TransientError, aiohttp.ClientError, TimeoutError) as error:
                failed = 1 if reached() > before else failed + 1
                if failed >= self._patience.attempts:
                    raise NetworkError(
                        f"downloading from {url.split('/')[2]} failed",
                        details=f"{url}\n{_describe(error)}",
                        hint="Check network and proxy variables; COVE_DEBIAN_MIRROR names another mirror.",
                    ) from error
            # not a wait for something of ours: a busy server is left alone, each client for a different time
            await asyncio.sleep(self._patience.backoff * 2 ** (failed - 1) * random.uniform(0.5, 1.5))  # noqa: S311


def _user_agent() -> str:
    """As "cove/0.1.0"; from the installed package, as importing the top package would import its face."""
    try:
        return f"cove/{metadata.version('cove')}"
    except metadata.PackageNotFoundError:  # run from a source tree
        return "cove/source"


def _describe(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in time ({error})" if str(error) else "no answer in time"
    return str(error) or type(error).__name__


def _check(response: aiohttp.ClientResponse, wanted: int) -> None:
    if response.status == wanted:
        return
    if response.status in (404, 410):
        raise _GoneError(f"HTTP {response.status} for {response.url}")
    if response.status >= 500 or response.status in (408, 429):
        raise _TransientError(f"HTTP {response.status} {response.reason}")
    raise NetworkError(f"HTTP {response.status} {response.reason}", details=str(response.url))


def _continues(response: aiohttp.ClientResponse, place: int) -> bool:
    """Whether the response goes on at ``place`` (RFC 9110, section 14.4)."""
    return response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {place}-")


def _chunked(response: aiohttp.ClientResponse) -> bool:
    return "chunked" in response.headers.get("Transfer-Encoding", "").lower()


def _validators(response: aiohttp.ClientResponse) -> dict[str, str]:
    found = {"If-None-Match": "ETag", "If-Modified-Since": "Last-Modified"}
    return {ask: response.headers[told] for ask, told in found.items() if told in response.headers}
