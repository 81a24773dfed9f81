"""The API for reading, checking and changing the configuration of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from stream.config.diff import Changes
from stream.config.load import ConfigError
from ui.config_file_backup import FileError
from ui.config_reload import LONGEST, NoFileError, OvertakenError, Reload, mark
from ui.web.api.events_api import Told

REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Told, "description": "it can't be used; nothing was changed"},
    403: {"model": Told, "description": "only operators may"},
    409: {"model": Told, "description": "there is no file, or somebody else has changed it"},
    503: {"model": Told, "description": "the file can't be written now"},
}


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Checked(_Body):
    """A text that may become the configuration."""

    text: Annotated[str, Field(max_length=LONGEST)]


class Written(Checked):
    """A text that is to become the configuration."""

    version: Annotated[str, Field(max_length=64, description="of what it replaces")]


class Configuration(BaseModel):
    """The configuration's file, as it is."""

    file: str  # its name, "" where the run was started without one
    folder: str
    text: str
    version: str
    flags: list[str]  # keys that were given as flags, which win over the file


class Outcome(BaseModel):
    """What became of a change, by dotted keys."""

    applied: list[str]
    needs_restart: list[str]
    version: str  # of the file as it is now

    @classmethod
    def of(cls, changes: Changes, reload: Reload) -> Outcome:
        """As an answer."""
        try:
            version = mark(reload.text())
        except (ConfigError, NoFileError):
            version = ""
        return cls(
            applied=[plain(one) for one in changes.applied],
            needs_restart=[plain(one) for one in changes.needs_restart],
            version=version,
        )


def router(reload: Reload) -> APIRouter:
    """/api/configuration."""
    api = APIRouter(prefix="/api/configuration", responses=REFUSED)

    @api.get("")
    def configuration(request: Request) -> Configuration:
        """The file's text as it is; it may hold passwords, so operators only."""
        _only_operators(request)
        if reload.file is None:
            return Configuration(file="", folder="", text="", version="", flags=reload.flags)
        with changed():
            text = reload.text()
        if len(text) > LONGEST:
            raise HTTPException(409, f"{reload.file} is too long to be edited here")
        return Configuration(
            file=reload.file.name,
            folder=str(Path(reload.file).parent),
            text=text,
            version=mark(text),
            flags=reload.flags,
        )

    @api.post("/check")
    def check(checked: Checked) -> Outcome:
        """What would become of a text, or why it can't be used. Changes nothing."""
        with changed():
            return Outcome.of(reload.check(checked.text), reload)

    @api.put("")
    def save(written: Written) -> Outcome:
        """Save a text, keep what it replaces, and let it hold from now on, or change nothing."""
        with changed():
            return Outcome.of(reload.save(written.text, written.version), reload)

    @api.post("/reload")
    def read_again() -> Outcome:
        """Read the file again, as SIGHUP does."""
        with changed():
            return Outcome.of(reload.from_disk(), reload)

    return api


@contextmanager
def changed() -> Iterator[None]:
    """Turns what can't be done into an answer."""
    try:
        yield
    except ConfigError as error:
        raise HTTPException(400, plain(str(error))) from error
    except (NoFileError, OvertakenError) as error:
        raise HTTPException(409, str(error)) from error
    except FileError as error:
        raise HTTPException(503, str(error)) from error


def plain(text: str) -> str:
    """What can be sent as UTF-8, whatever it quotes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _only_operators(request: Request) -> None:
    if not request.state.who.may_change:
        raise HTTPException(403, "only operators may see the configuration: it may hold passwords")
