# SPDX-License-Identifier: Apache-2.0
"""The releases of the suites, verified and current, from the cache or from a mirror.

When a cached InRelease counts:

* it was fetched less than :data:`FRESH` ago and its Valid-Until has not passed: it is used, nobody is asked;
* else a mirror is asked (conditionally). What it sends must be signed, of the right suite, current, and not
  older than what is cached: a mirror that lags or replays is not followed back in time;
* no mirror can be reached: the cached one is used with a note, if it is still valid (and at most
  :data:`UNREACHED` old where Debian sets no Valid-Until);
* offline: the cached one is used whatever its age, with a note if it is no longer valid.

Its signature is checked at each use, so a cache that was altered is refused like a mirror that was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cove.debian.downloads import Mirrors
from cove.debian.mirrors import Mirror
from cove.debian.release import (
    Keyring,
    Release,
    check_current,
    check_signature,
    check_suite,
    expired,
    parse_release,
)  # fmt: skip
from cove.debian.store import Store
from cove.errors import ArchiveError, CoveError, NetworkError, OfflineError, SignatureError
from cove.events import Note, Report
from cove.system.files import read_json, write_atomic, write_json

if TYPE_CHECKING:
    from cove.debian.fetch import Fetcher

FRESH = timedelta(hours=6)
"""Age up to which a cached InRelease is used without asking."""

UNREACHED = timedelta(days=7)
"""Age up to which it is used when no mirror can be reached and it has no Valid-Until."""

_MAX_INRELEASE = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Context:
    """What reading package lists depends on."""

    store: Store
    keyring: Keyring
    architecture: str
    now: Callable[[], datetime]
    report: Report


@dataclass(frozen=True)
class Cached:
    """A verified InRelease from the cache and what is known about it."""

    release: Release
    fetched: datetime
    mirror: str
    validators: dict[str, str]


def _verified(context: Context, suite: str, signed: bytes) -> Release:
    name = f"{suite}/InRelease"
    text = check_signature(name, signed, context.keyring.get(suite, ()), context.now())
    release = parse_release(name, text)
    check_suite(name, release, suite)
    return release


def cached_release(context: Context, suite: str) -> Cached | None:
    """The InRelease in the cache, verified; None if there is none.

    Raises:
        SignatureError: it was altered, or its key no longer counts.
    """
    try:
        signed = context.store.release(suite).read_bytes()
    except FileNotFoundError:
        return None
    release = _verified(context, suite, signed)
    facts: Any = read_json(context.store.release_facts(suite))
    try:
        fetched = datetime.fromtimestamp(float(facts["fetched"]), UTC)
        validators = {str(key): str(value) for key, value in facts["validators"].items()}
        return Cached(release, fetched, str(facts["mirror"]), validators)
    except (TypeError, KeyError, ValueError, AttributeError):
        return Cached(release, datetime.fromtimestamp(0, UTC), "", {})


def fresh_releases(context: Context, suites: Sequence[str]) -> list[Release] | None:
    """The cached releases, if all may be used without asking anybody."""
    cached = [_cached_or_none(context, suite) for suite in suites]
    now = context.now()
    if all(
        one and not expired(one.release, now) and timedelta(0) <= now - one.fetched < FRESH for one in cached
    ):
        return [one.release for one in cached if one]
    return None


def offline_release(context: Context, suite: str) -> Release:
    """The cached release, whatever its age.

    Raises:
        OfflineError: there is none.
        SignatureError: it was altered.
    """
    cached = cached_release(context, suite)
    if cached is None:
        raise OfflineError(
            f"the package list of {suite} is not in the cache",
            hint="Run the same command once without --offline.",
        )
    if expired(cached.release, context.now()):
        context.report(
            Note(
                f"The package list of {suite} was valid until {cached.release.valid_until:%Y-%m-%d}; "
                "working offline, it is used as it is."
            )
        )
    return cached.release


async def online_releases(
    context: Context, suites: Sequence[str], fetcher: Fetcher, mirrors: Mirrors
) -> list[Release]:
    """A current release of each suite.

    Raises:
        NetworkError: no mirror has them, and what is cached does not count any more.
        SignatureError: what came is not signed, expired or of another suite, on every mirror.
        CoveError: this computer's clock is behind.
    """
    cached = {suite: _cached_or_none(context, suite) for suite in suites}
    errors: list[CoveError] = []
    order = mirrors.order
    for mirror in order:
        try:
            asked = (_ask(context, suite, cached[suite], mirror, fetcher) for suite in suites)
            return _all_of(await asyncio.gather(*asked, return_exceptions=True))
        except (NetworkError, SignatureError, ArchiveError) as error:
            errors.append(error)
            mirrors.demote(mirror)
            if mirror is not order[-1]:
                context.report(Note(f"{error.message} ({mirror.host}); trying the next mirror"))
    refused = next((error for error in errors if not isinstance(error, NetworkError)), None)
    still = [_still_good(one, context.now()) for one in cached.values()]
    if refused is None and all(still):
        context.report(
            Note("No Debian mirror can be reached; the package lists in the cache are still valid.")
        )
        return [release for release in still if release]
    raise refused or errors[0]


def _all_of(answers: Sequence[Release | BaseException]) -> list[Release]:
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if isinstance(answer, Release)]


def _cached_or_none(context: Context, suite: str) -> Cached | None:
    """Online, a cached file that is damaged is simply fetched again."""
    try:
        return cached_release(context, suite)
    except (SignatureError, ArchiveError):
        return None


def _still_good(cached: Cached | None, now: datetime) -> Release | None:
    if cached is None or expired(cached.release, now):
        return None
    if cached.release.valid_until is None and now - cached.fetched > UNREACHED:
        return None
    return cached.release


async def _ask(
    context: Context, suite: str, cached: Cached | None, mirror: Mirror, fetcher: Fetcher
) -> Release:
    validators = cached.validators if cached and cached.mirror == mirror.main else {}
    reply = await fetcher.small(
        mirror, suite, f"dists/{suite}/InRelease", validators=validators, limit=_MAX_INRELEASE
    )
    if reply.body is None and cached:
        check_current(f"{suite}/InRelease", cached.release, context.now())
        _remember(context, suite, mirror, validators)
        return cached.release
    signed = reply.body or b""
    release = _verified(context, suite, signed)
    check_current(f"{suite}/InRelease", release, context.now())
    if cached and cached.release.date > release.date:
        raise NetworkError(
            f"{mirror.host} has an older package list of {suite} than was seen before",
            details=f"seen {cached.release.date:%Y-%m-%d %H:%M}, offered {release.date:%Y-%m-%d %H:%M} UTC",
        )
    write_atomic(context.store.release(suite), signed)
    _remember(context, suite, mirror, reply.validators)
    return release


def _remember(context: Context, suite: str, mirror: Mirror, validators: dict[str, str]) -> None:
    facts = {"fetched": context.now().timestamp(), "mirror": mirror.main, "validators": validators}
    write_json(context.store.release_facts(suite), facts)
