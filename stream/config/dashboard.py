"""The configuration of the web page: where it is, who may come in, and what strangers may try."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from stream.config.types import Name, Seconds, Section

PASSWORD_HASH = r"^scrypt:[0-9]{5,6}:[0-9]{1,2}:[0-9]{1,2}:[A-Za-z0-9_-]{22}:[A-Za-z0-9_-]{43}$"
TOKEN_HASH = r"^sha256:[0-9a-f]{64}$"
HOST_NAME = r"^[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$"

Role = Literal["viewer", "operator"]


class UserConfig(Section):
    """Somebody who may log in."""

    password: str = Field(
        description="what `actionwatch password` prints; never the password itself",
        pattern=PASSWORD_HASH,
        repr=False,
    )
    role: Role = Field("viewer", description="viewers look on; operators also change things")

    @field_validator("password")
    @classmethod
    def _has_a_sane_cost(cls, password: str) -> str:
        """Neither guessed in no time, nor so dear that a login takes the machine's memory."""
        n, r, p = (int(part) for part in password.split(":")[1:4])
        is_power = n & (n - 1) == 0
        if not (is_power and 2**14 <= n <= 2**17 and 8 <= r <= 16 and 1 <= p <= 8):
            raise ValueError(
                "its cost must be N from 16384 to 131072, a power of two, r from 8 to 16 and p "
                "from 1 to 8: take what `actionwatch password` prints"
            )
        return password


class TokenConfig(Section):
    """A program that may use the API."""

    hash: str = Field(
        description="what `actionwatch token` prints besides the token",
        pattern=TOKEN_HASH,
        repr=False,
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
    names: list[Annotated[str, Field(pattern=HOST_NAME)]] = Field(
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
