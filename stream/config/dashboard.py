"""The configuration of the dashboard: address, access, and limits of the Try it tab."""

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
    """A user who may log in."""

    password: str = Field(
        description="the hash that `actionwatch password` prints; never the password itself",
        pattern=PASSWORD_HASH,
        repr=False,
    )
    role: Role = Field("viewer", description="viewers only read; operators also make changes")

    @field_validator("password")
    @classmethod
    def _check_cost(cls, password: str) -> str:
        """Reject a cost that is guessed quickly, or that uses too much memory for a login."""
        n, r, p = (int(part) for part in password.split(":")[1:4])
        is_power = n & (n - 1) == 0
        if not (is_power and 2**14 <= n <= 2**17 and 8 <= r <= 16 and 1 <= p <= 8):
            raise ValueError(
                "its cost must be N from 16384 to 131072, a power of two, r from 8 to 16 and p "
                "from 1 to 8: use the hash that `actionwatch password` prints"
            )
        return password


class TokenConfig(Section):
    """An API client."""

    hash: str = Field(
        description="the hash that `actionwatch token` prints",
        pattern=TOKEN_HASH,
        repr=False,
    )
    role: Role = Field("viewer", description="viewers only read; operators also make changes")


class TryItConfig(Section):
    """Browser sessions that try the model with their own webcam or video file."""

    max_sessions: Annotated[int, Field(ge=0, le=64)] = Field(
        4, description="concurrent sessions; 0 disables the tab"
    )
    max_duration: Annotated[Seconds, Field(gt=0, le=86400)] = Field(
        300.0, description="time limit of a session"
    )
    max_pixels: Annotated[int, Field(ge=64 * 64, le=1920 * 1080)] = Field(
        640 * 480, description="pixels of one frame; larger frames are rejected"
    )


class DashboardConfig(Section):
    """The dashboard."""

    enabled: bool = True
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Annotated[int, Field(ge=1, le=65535)] = 7860
    top_k: Annotated[int, Field(ge=1, le=20)] = Field(
        3, description="number of labels shown as bars"
    )
    users: dict[Name, UserConfig] = Field({}, description="users who may log in, by name")
    tokens: dict[Name, TokenConfig] = Field({}, description="API clients, by name")
    insecure: bool = Field(
        False, description="no login: anybody who reaches the address has access"
    )
    allowed_hosts: list[Annotated[str, Field(pattern=HOST_NAME)]] = Field(
        [], description="host names of this machine that browsers may use"
    )
    session_lifetime: Annotated[Seconds, Field(ge=60, le=365 * 86400)] = Field(
        12 * 3600.0, description="time until a new login is required"
    )
    certificate: Path | None = Field(None, description="file with a TLS certificate, for https")
    key: Path | None = Field(None, description="file with its private key")
    try_it: TryItConfig = TryItConfig()

    @model_validator(mode="after")
    def _check_certificate_and_key(self) -> DashboardConfig:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("https needs both certificate and key")
        return self
