"""The API to read, check and change the configuration of the run."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from stream.config.diff import Changes
from stream.config.load import ConfigError
from ui.config_reload import MAX_TEXT_CHARS, ConfigReloader, NoConfigFileError, content_hash
from ui.web.api.errors import encodable, error_responses

CONFIG_ERRORS = error_responses(
    {
        400: "invalid; nothing was changed",
        403: "only operators are allowed to",
        409: "no file, or it was changed by somebody else",
        503: "the file can't be written",
    }
)


class StrictRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class CheckConfiguration(StrictRequest):
    """A configuration to check."""

    text: Annotated[str, Field(max_length=MAX_TEXT_CHARS)]


class SaveConfiguration(CheckConfiguration):
    """A configuration to save."""

    version: Annotated[str, Field(max_length=64, description="of the text that it replaces")]


class Configuration(BaseModel):
    """The configuration file."""

    file: str  # its name, "" where the run was started without one
    folder: str
    text: str
    version: str
    flags: list[str]  # keys that were given as CLI flags, which override the file


class ChangeResult(BaseModel):
    """The result of a change, by dotted keys."""

    applied: list[str]
    needs_restart: list[str]
    version: str  # of the current file

    @classmethod
    def of(cls, changes: Changes, reload: ConfigReloader) -> ChangeResult:
        """The API's form of `changes`."""
        try:
            version = content_hash(reload.text())
        except (ConfigError, NoConfigFileError):
            version = ""
        return cls(
            applied=[encodable(key) for key in changes.applied],
            needs_restart=[encodable(key) for key in changes.needs_restart],
            version=version,
        )


def router(reload: ConfigReloader) -> APIRouter:
    """/api/configuration."""
    api = APIRouter(prefix="/api/configuration", responses=CONFIG_ERRORS)

    @api.get("")
    def configuration(request: Request) -> Configuration:
        """The file's text; operators only, because it may contain passwords."""
        if not request.state.identity.may_change:
            raise HTTPException(
                403, "only operators may see the configuration: it may contain passwords"
            )
        if reload.file is None:
            return Configuration(file="", folder="", text="", version="", flags=reload.flags)
        text = reload.text()
        if len(text) > MAX_TEXT_CHARS:
            raise HTTPException(409, f"{reload.file} is too long to edit here")
        return Configuration(
            file=reload.file.name,
            folder=str(reload.file.parent),
            text=text,
            version=content_hash(text),
            flags=reload.flags,
        )

    @api.post("/check")
    def check(request: CheckConfiguration) -> ChangeResult:
        """The changes that a text would make, or its error. Changes nothing."""
        return ChangeResult.of(reload.check(request.text), reload)

    @api.put("")
    def save(request: SaveConfiguration) -> ChangeResult:
        """Save a text with a backup of the old file and apply it, or change nothing."""
        return ChangeResult.of(reload.save(request.text, request.version), reload)

    @api.post("/reload")
    def reload_file() -> ChangeResult:
        """Reload the file, as SIGHUP does."""
        return ChangeResult.of(reload.from_disk(), reload)

    return api
