"""Reloads, saves and applies the configuration of a running pipeline.

Used by SIGHUP, the page and the API. Any thread may call it; one change at a time.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

from stream.config.config import Config
from stream.config.diff import Changes, check_labels, compare
from stream.config.edit_yaml import with_events
from stream.config.events import EventsConfig
from stream.config.load import ConfigError, parse_config, read_text
from stream.pipeline import Pipeline
from stream.reconfigure import reconfigure
from stream.sources.base import SourceError, check_source
from ui.config_file_backup import replace_with_backup
from ui.web.security.access import Access, exposure_problem

MAX_TEXT_CHARS = 200_000  # of a file that may be edited on the page
_ACCESS_KEYS = ("users", "tokens", "allowed_hosts", "session_lifetime")


class NoConfigFileError(Exception):
    """The run was started without a configuration file."""


class EditConflictError(Exception):
    """The file has changed since it was read."""


class ConfigReloader:
    """Reads, checks, saves and applies the configuration of a running pipeline.

    `file` is None if the run was started without one; `overrides` are the command-line flags,
    which take precedence over the file.
    """

    def __init__(self, pipeline: Pipeline, file: Path | None, overrides: dict[str, Any]) -> None:
        self._pipeline = pipeline
        self.file = file.resolve() if file is not None else None  # a symbolic link is not replaced
        self._overrides = overrides
        self._access: Access | None = None
        self._host = ""
        self._changing = threading.Lock()

    def attach_access(self, access: Access, host: str) -> None:
        """Apply changes to `access` too; `host` is the address that the server listens on."""
        self._access, self._host = access, host

    @property
    def flags(self) -> list[str]:
        """The keys that flags override, so changes of them in the file have no effect."""
        return sorted(_dotted(self._overrides))

    def text(self) -> str:
        """The file's current text. Raises NoConfigFileError, or ConfigError if it is unreadable."""
        return read_text(self._known_file())

    def check(self, text: str) -> Changes:
        """The changes that saving a text would make. Raises ConfigError if it is invalid."""
        config = self._parsed(text)
        merged, changes = compare(self._pipeline.config, config, also=self._also())
        check_labels(merged, self._pipeline.config, self._pipeline.spec)
        for name, camera in merged.cameras.items():
            if camera != self._pipeline.config.cameras.get(name):
                try:
                    check_source(camera.source)
                except SourceError as error:
                    raise ConfigError(f"cameras.{name}: {error}") from error
        return changes

    def from_disk(self) -> Changes:
        """Reload the file and apply it.

        Raises NoConfigFileError, or ConfigError if it is invalid; then nothing was changed.
        """
        with self._changing:
            return self._apply(self._parsed(self.text()))

    def save(self, text: str, seen: str) -> Changes:
        """Write a text to the file and apply it; `seen` is the content hash of the replaced text.

        All or nothing. Raises ConfigError, NoConfigFileError, EditConflictError, or FileError of
        config_file_backup.
        """
        with self._changing:
            return self._save(text, seen)

    def save_policy(self, policy: EventsConfig) -> Changes:
        """Replace the `events:` of the file and apply it. Raises the errors of `save`."""
        with self._changing:
            text = self.text()
            try:
                new = with_events(text, policy)
                if self._parsed(new) != self._parsed(text).model_copy(update={"events": policy}):
                    raise ValueError("its YAML layout is not supported")
            except ValueError as error:
                if isinstance(error, ConfigError):
                    raise
                raise ConfigError(
                    f"{self.file}: its events can't be changed here, because {error}; edit the "
                    "file itself"
                ) from error
            return self._save(new, content_hash(text))

    def _save(self, text: str, seen: str) -> Changes:
        file, config = self._known_file(), self._parsed(text)
        if content_hash(self.text()) != seen:
            raise EditConflictError("the file has changed since it was loaded; load it again")
        with replace_with_backup(file, text):
            return self._apply(config)

    def _apply(self, config: Config) -> Changes:
        changed = {key: getattr(config.dashboard, key) for key in _ACCESS_KEYS}
        dashboard = self._pipeline.config.dashboard.model_copy(update=changed)
        if self._access is not None and (problem := exposure_problem(dashboard, self._host)):
            raise ConfigError(f"{problem}; nothing was changed")
        changes = reconfigure(self._pipeline, config, also=self._also())
        if self._access is not None:
            self._access.config = dashboard
        return changes

    def _also(self) -> tuple[str, ...]:
        return tuple(f"dashboard.{key}" for key in _ACCESS_KEYS) if self._access else ()

    def _parsed(self, text: str) -> Config:
        return parse_config(text, self._known_file(), self._overrides)

    def _known_file(self) -> Path:
        if self.file is None:
            raise NoConfigFileError(
                "this run was started without a configuration file; start it with one, like "
                "`actionwatch run config.yaml`"
            )
        return self.file


def content_hash(text: str) -> str:
    """Identifies a version of the file."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _dotted(values: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        if isinstance(value, dict) and key != "cameras":
            found += _dotted(value, f"{path}{key}.")
        else:
            found.append(f"{path}{key}")
    return found
