"""Where the configuration of a run comes from, and how it is read again, saved and taken over.

The one place for SIGHUP, the page and the API. Any thread may call it; one change at a time.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream.config.config import Config
from stream.config.dashboard import DashboardConfig
from stream.config.diff import Changes, check_labels, compare
from stream.config.edit_yaml import with_events
from stream.config.events import EventsConfig
from stream.config.load import ConfigError, parse_config, read_text
from stream.pipeline import Pipeline
from stream.sources.base import check_source
from stream.sources.opencv_capture import SourceError
from ui.config_file_backup import replaced

if TYPE_CHECKING:
    from ui.web.security.access import Access

LONGEST = 200_000  # characters of a file that may be edited here
_ACCESS_KEYS = ("users", "tokens", "names", "session")


class NoFileError(Exception):
    """A run that was started by flags alone has no file to read or to write."""


class OvertakenError(Exception):
    """Somebody else has changed the file in the meantime."""


class Reload:
    """Reads, checks, saves and takes over the configuration of a running pipeline.

    `file` is None where the run was started by flags alone; `overrides` are those flags, which win
    over what the file says.
    """

    def __init__(self, pipeline: Pipeline, file: Path | None, overrides: dict[str, Any]) -> None:
        self._pipeline = pipeline
        self.file = file.resolve() if file is not None else None  # a link is not replaced
        self._overrides = overrides
        self._access: tuple[Access, str] | None = None
        self._changing = threading.Lock()

    def include(self, access: Access, host: str) -> None:
        """Who may come in is taken over, too; `host` is the address that is listened on."""
        self._access = (access, host)

    @property
    def flags(self) -> list[str]:
        """The keys that were given by flags, so that the file has no say in them."""
        return sorted(_dotted(self._overrides))

    def text(self) -> str:
        """What the file holds now. Raises NoFileError; ConfigError where it can't be read."""
        return read_text(self._known_file())

    def check(self, text: str) -> Changes:
        """What would become of a text, were it saved. Raises ConfigError for what can't work."""
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
        """Read the file again and take it over.

        Raises NoFileError, and ConfigError for what can't work; then nothing was changed.
        """
        with self._changing:
            return self._take_over(self._parsed(self.text()))

    def save(self, text: str, seen: str) -> Changes:
        """Write a text into the file and take it over; `seen` is the mark of what it replaces.

        All or nothing. Raises ConfigError, NoFileError, OvertakenError or kept_file.FileError.
        """
        with self._changing:
            return self._save(text, seen)

    def save_policy(self, policy: EventsConfig) -> Changes:
        """Write the `events:` of the file anew, and take it over. Raises as `save` does."""
        with self._changing:
            text = self.text()
            try:
                new = with_events(text, policy)
                if self._parsed(new) != self._parsed(text).model_copy(update={"events": policy}):
                    raise ValueError("it is not laid out as usual")
            except ValueError as error:
                if isinstance(error, ConfigError):
                    raise
                raise ConfigError(
                    f"{self.file}: its events can't be changed here, because {error}; edit the "
                    "file itself"
                ) from error
            return self._save(new, mark(text))

    def _save(self, text: str, seen: str) -> Changes:
        file, config = self._known_file(), self._parsed(text)
        if mark(self.text()) != seen:
            raise OvertakenError(
                "the file was changed by somebody else in the meantime; load it again"
            )
        with replaced(file, text):  # written beside it now, put in its place afterwards
            return self._take_over(config)

    def _take_over(self, config: Config) -> Changes:
        before = self._pipeline.config.dashboard
        after = before
        if self._access is not None:
            access, host = self._access
            chosen = {key: getattr(config.dashboard, key) for key in _ACCESS_KEYS}
            after = before.model_copy(update=chosen)
            if problem := _refusal(after, host):
                raise ConfigError(f"{problem}; nothing was changed")
        changes = self._pipeline.reconfigure(config, also=self._also())
        if self._access is not None:
            access.replace(after)
        return changes

    def _also(self) -> tuple[str, ...]:
        return tuple(f"dashboard.{key}" for key in _ACCESS_KEYS) if self._access else ()

    def _parsed(self, text: str) -> Config:
        return parse_config(text, self._known_file(), self._overrides)

    def _known_file(self) -> Path:
        if self.file is None:
            raise NoFileError(
                "this run was started without a configuration file; start it with one, like "
                "`actionwatch run watch.yaml`"
            )
        return self.file


def mark(text: str) -> str:
    """By which one version of the file is told from another."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _refusal(config: DashboardConfig, host: str) -> str:
    """Why nobody may be let in by this; see Access.problem."""
    from ui.web.security.access import Access

    return Access(config, b"").problem(host)


def _dotted(values: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        if isinstance(value, dict) and key != "cameras":
            found += _dotted(value, f"{path}{key}.")
        else:
            found.append(f"{path}{key}")
    return found
