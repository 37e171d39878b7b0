# SPDX-License-Identifier: Apache-2.0
"""The engine's settings that come from this host: keys of daemon.json, authorities, certificates of registries.

They are files. At a start the guest finds them on a small disk of its own (``settings.img``, a tar archive), so that
dockerd need not wait for anybody; a machine that runs gets them through its agent. They may hold passwords of proxies
and keys: so they are never words of a command line, and lie in files for their owner only.

    daemon.json             keys that are added to the image's
    ca/host.crt             authorities beside Mozilla's
    certs.d/HOST:PORT/...   as in docker's own certs.d
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cove.errors import GuestError, UsageError
from cove.events import Note, Report, stage
from cove.guest.client import GuestClient
from cove.host.authorities import added_authorities, certificates, registry_certificates
from cove.host.daemon_json import daemon_keys
from cove.host.docker_config import user_folder
from cove.host.proxies import Proxies, for_guest, from_environment
from cove.image.registry.endpoints import HUB, read_settings
from cove.machine.config import Config
from cove.spec.machine import MachineSpec
from cove.spec.registries import Registries
from cove.system.files import write_atomic
from cove.system.paths import Home, MachinePaths

SYSTEM_CERTS = Path("/etc/docker/certs.d")

_SEND_DEADLINE = 60.0
_ROOM = 768 << 10
"""Bytes of all files: they have to fit into one message to the agent."""

Files = Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What a running guest made of new settings.

    Args:
        changed: names of files that were other before.
        restart: what dockerd takes up only when it starts again.
    """

    changed: tuple[str, ...]
    restart: tuple[str, ...]


def gather(spec: MachineSpec, config: Config, home: Home, env: Mapping[str, str]) -> Files:
    """The settings of one machine, as this host and its user have them now.

    Args:
        spec: the machine.
        config: the user's settings.
        home: whose user's docker configuration counts.
        env: the environment: proxies, ``SSL_CERT_FILE``, ``DOCKER_CONFIG``.

    Raises:
        UsageError: the user's settings are wrong, or name a file without certificates.
    """
    files: dict[str, bytes] = {}
    keys = daemon_keys(config.docker, _registries(spec, config), for_guest(proxies_of(config, env)))
    files["daemon.json"] = json.dumps(keys, indent=1, sort_keys=True).encode()
    if authorities := _authorities(config, env):
        files["ca/host.crt"] = authorities
    user = user_folder(env, home.docker_config)
    folders = [*([user / "certs.d"] if user else []), SYSTEM_CERTS]
    files |= {f"certs.d/{name}": data for name, data in registry_certificates(folders).items()}
    size = sum(map(len, files.values()))
    if size > _ROOM:
        raise UsageError(
            f"the certificates of this host take {size} bytes, and a machine can be given {_ROOM}",
            details="\n".join(f"{name}: {len(data)}" for name, data in sorted(files.items())),
            hint="If SSL_CERT_FILE names a large bundle, unset it and name only what is yours in config.yml.",
        )
    return files


def proxies_of(config: Config, env: Mapping[str, str]) -> Proxies:
    """The proxies as the user set them, else as the environment says."""
    return from_environment(env) if config.proxies is None else config.proxies


def write_disk(paths: MachinePaths, files: Files) -> None:
    """Write them where the guest reads them at its start.

    Raises:
        StorageError: the disk is full or not ours.
    """
    write_atomic(paths.settings, pack(files))


def pack(files: Files) -> bytes:
    """A tar archive, whole sectors long; the same files give the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o600
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def tell_engine(paths: MachinePaths, files: Files, report: Report) -> None:
    """Give a running engine its settings where it has others, and the guest the same at its next start.

    Args:
        paths: the machine's files.
        files: all settings, from :func:`gather`.
        report: told what counts only after a restart.

    Raises:
        UsageError: dockerd does not want them; nothing is changed.
        GuestError, DeadlineError: the guest cannot be reached; nothing is changed.
        StorageError: they cannot be written for the next start.
    """
    if paths.settings.is_file() and paths.settings.read_bytes() == pack(files):
        return
    with stage(report, "engine", "Telling the engine"):
        applied = send(paths.agent_socket, files)
    write_disk(paths, files)
    if applied.restart:
        what = " and ".join(applied.restart)
        report(Note(f"The engine takes up {what} at its next start: cove restart {paths.name}"))


def send(agent: Path, files: Files, *, restart: bool = False) -> Applied:
    """Give them to a running guest; what dockerd can take up without starting again counts at once.

    Args:
        agent: the guest agent's socket.
        files: all of them; others that the guest has are removed.
        restart: start dockerd again if something needs it, which ends containers.

    Raises:
        UsageError: dockerd does not want them; nothing is changed.
        GuestError, DeadlineError: the guest cannot be reached.
    """
    texts = {name: data.decode("latin-1") for name, data in files.items()}
    try:
        said = GuestClient(agent, deadline=_SEND_DEADLINE).call("configure", files=texts, restart=restart)
    except GuestError as error:
        if error.code != "invalid":
            raise
        raise UsageError("dockerd does not take these settings", details=error.message) from error
    return Applied(changed=tuple(said["changed"]), restart=tuple(said["restart"]))


def _registries(spec: MachineSpec, config: Config) -> Registries:
    settings = read_settings(config.values)
    common = Registries(insecure=tuple(sorted(settings.insecure)), mirrors=settings.mirrors.get(HUB, ()))
    return spec.registries.plus(common)


def _authorities(config: Config, env: Mapping[str, str]) -> bytes:
    for path in config.ca_certificates:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"ca_certificates names {path}, which cannot be read: {error.strerror}"
            ) from error
        if not certificates(data):
            raise UsageError(f"ca_certificates names {path}, which holds no certificate (PEM or DER)")
    return added_authorities(env, config.ca_certificates)
