"""The configuration of the web page: where it is, who may come in, and what strangers may try."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from stream.config_types import Name, Seconds, Section

Role = Literal["viewer", "operator"]


class UserConfig(Section):
    """Somebody who may log in."""

    password: str = Field(
        description="what `actionwatch password` prints; never the password itself",
        pattern=r"^scrypt:\d+:\d+:\d+:[A-Za-z0-9_-]+:[A-Za-z0-9_-]+$",
    )
    role: Role = Field("viewer", description="viewers look on; operators also change things")


class TokenConfig(Section):
    """A program that may use the API."""

    hash: str = Field(
        description="what `actionwatch token` prints besides the token",
        pattern=r"^sha256:[0-9a-f]{64}$",
    )
    role: Role = Field("viewer", description="viewers look on; operators also change things")


class VisitorsConfig(Section):
    """Those who try the model with the webcam or a file in their own browser."""

    most: Annotated[int, Field(ge=0, le=64)] = Field(4, description="at once; 0 turns it off")
    longest: Annotated[Seconds, Field(gt=0, le=86400)] = Field(
        300.0, description="how long one of them may take"
    )
    pixels: Annotated[int, Field(ge=64 * 64, le=1920 * 1080)] = Field(
        640 * 480, description="of one picture; larger ones are refused"
    )


class DashboardConfig(Section):
    """The web page."""

    enabled: bool = True
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Annotated[int, Field(ge=1, le=65535)] = 7860
    top: Annotated[int, Field(ge=1, le=20)] = Field(3, description="labels shown as bars")
    users: dict[Name, UserConfig] = Field({}, description="who may log in, by name")
    tokens: dict[Name, TokenConfig] = Field({}, description="programs that may use the API")
    insecure: bool = Field(
        False, description="lets everybody in who reaches the address, without a password"
    )
    names: list[str] = Field(
        [], description="host names of this machine under which browsers may ask for the page"
    )
    session: Annotated[Seconds, Field(ge=60, le=365 * 86400)] = Field(
        12 * 3600.0, description="after so long one has to log in again"
    )
    certificate: Path | None = Field(None, description="file of a TLS certificate, for https")
    key: Path | None = Field(None, description="file of its private key")
    visitors: VisitorsConfig = VisitorsConfig()

    @model_validator(mode="after")
    def _certificate_and_key(self) -> DashboardConfig:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("https needs both certificate and key")
        return self
