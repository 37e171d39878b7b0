# SPDX-License-Identifier: Apache-2.0
"""The contexts in a docker configuration folder, such as ``~/.docker``. Only those that are ours are changed."""

from __future__ import annotations

from pathlib import Path

from cove.errors import ConflictError, StorageError, UsageError
from cove.host.contexts import Context, current_context, folder_name, from_meta, to_meta, with_current
from cove.system.files import read_json, remove_tree, storage_errors, write_atomic


class ContextStore:
    """The contexts below one configuration folder, which need not exist.

    Args:
        config: the folder, ``$DOCKER_CONFIG`` or ``~/.docker``.
    """

    def __init__(self, config: Path) -> None:
        self.config = config
        self._meta = config / "contexts" / "meta"

    def ours(self) -> list[Context]:
        """Every context that Cove made, by name; what cannot be read is none."""
        try:
            folders = list(self._meta.iterdir())
        except OSError:
            return []
        found = (from_meta(_read(folder / "meta.json")) for folder in folders)
        return sorted((one for one in found if one is not None and one.ours), key=lambda one: one.name)

    def find(self, name: str) -> Context | None:
        """The context ``name``, whoever made it."""
        return from_meta(_read(self._file(name)))

    def write(self, context: Context) -> bool:
        """Write a context of ours; says whether anything changed.

        Raises:
            ConflictError: there is one of that name that is not ours.
            StorageError: the folder cannot be written.
        """
        file = self._file(context.name)
        found = self.find(context.name)
        if found == context:
            return False
        if file.exists() and not (found and found.ours):
            raise ConflictError(
                f"docker has a context {context.name!r} that Cove did not make",
                hint=f"Rename or remove it: docker context rm {context.name}",
            )
        with storage_errors("writing a docker context"):
            self._make_config()
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        write_atomic(file, to_meta(context), mode=0o644)
        return True

    def remove(self, name: str) -> bool:
        """Remove a context of ours; says whether it was there. One in use is not in use any more then.

        Raises:
            ConflictError: it is not ours.
            StorageError: the folder cannot be written.
        """
        found = self.find(name)
        if found is None:
            return False
        if not found.ours:
            raise ConflictError(f"the docker context {name!r} was not made by Cove")
        with storage_errors("removing a docker context"):
            remove_tree(self._file(name).parent)
        if self.current() == name:
            self.use("default")
        return True

    def current(self) -> str:
        """The context in use, without a look at the environment.

        Raises:
            UsageError: config.json is not a JSON object.
            StorageError: it may not be read.
        """
        return current_context(self._config_text())

    def use(self, name: str) -> None:
        """Make a context the one in use, ``default`` for docker's own. Nothing else in config.json changes.

        Raises:
            UsageError: config.json is not a JSON object; it is not touched.
            StorageError: it cannot be written.
        """
        self._make_config()
        # a link is followed, as docker does: people keep this file among their dotfiles
        file = (self.config / "config.json").resolve()
        text = self._config_text()
        if current_context(text) != name:
            mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
            write_atomic(file, with_current(text, name), mode=mode)

    def _make_config(self) -> None:
        """Make the folder, but not the home that it would lie in: some users have none."""
        if not self.config.parent.is_dir():
            raise StorageError(f"there is no folder {self.config.parent} for docker's configuration")
        with storage_errors("making docker's configuration"):
            # the modes are docker's own: this folder may hold secrets, a context does not
            self.config.mkdir(exist_ok=True, mode=0o700)

    def _file(self, name: str) -> Path:
        return self._meta / folder_name(name) / "meta.json"

    def _config_text(self) -> str:
        try:
            with storage_errors("reading docker's configuration"):
                return (self.config / "config.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError as error:
            raise UsageError("docker's config.json is not text", details=str(error)) from error


def _read(path: Path) -> object:
    try:
        return read_json(path)
    except OSError:  # not ours to read, so not ours
        return None
