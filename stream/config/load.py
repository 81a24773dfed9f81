"""Loads a configuration from a YAML file and flags; errors are one line that names the key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from stream.config.config import Config, InferenceConfig
from stream.config.dashboard import HOST_NAME, PASSWORD_HASH, TOKEN_HASH
from stream.runtime.errors import UserError

Schema = TypeVar("Schema", bound=BaseModel)


class ConfigError(UserError, ValueError):
    """An invalid configuration. The message is one line for a person."""


_MESSAGES = {  # by pydantic's error type, for people who write YAML
    "model_type": "must hold keys, like {source: ...} for a camera",
    "dict_type": "must hold names or keys, each with its value",
    "missing": "is missing",
    "too_short": "has too few entries: `cameras` needs at least 1, a zone two corners or the "
    "points of a polygon",
    "too_long": "has too many entries: a point is [x, y]",
}
_PATTERN_MESSAGES = {
    r"^(auto|cpu|cuda(:\d+)?)$": "must be auto, cpu, cuda or cuda:1",
    r"^(tcp|ipc)://.+": "must be an address like tcp://127.0.0.1:5555",
    r"^postgresql://.+": "must be an address like postgresql://user:${PASSWORD}@host/database",
    r"^[^#+/\s][^#+\s]*$": "must be a topic without #, + and spaces, like home/actionwatch",
    PASSWORD_HASH: "must be the hash that `actionwatch password` prints, not the password itself",
    TOKEN_HASH: "must be the hash that `actionwatch token` prints",
    HOST_NAME: "must be a host name without scheme and port, like cameras.example.org",
    r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$": "a name has letters, digits, dots, dashes, underscores",
}


_SECRET_KEYS = {"password", "hash"}


class _UniqueKeyLoader(yaml.SafeLoader):
    """Rejects duplicate keys; YAML would silently use the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f"duplicate key {key.value}", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_config(file: Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """Read a YAML file, merge `overrides` (nested, of the same shape) into it, and validate it.

    Raises ConfigError, naming the file and the key, for unreadable files and invalid values.
    """
    return parse_config(read_text(file) if file is not None else "", file, overrides)


def read_text(file: Path) -> str:
    """The text of a YAML file. Raises ConfigError if it can't be read."""
    try:
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ConfigError(f"{file} can't be read: {reason}") from error


def parse_config(text: str, file: Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """Like `load_config`, for a text that is or would be in `file`."""
    return parse(Config, text, file, overrides)


def parse(
    schema: type[Schema], text: str, file: Path | None, overrides: dict[str, Any] | None = None
) -> Schema:
    """Like `parse_config`, for any YAML file whose keys are the fields of a pydantic model."""
    try:
        values: Any = yaml.load(text, _UniqueKeyLoader) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{where} is not YAML: {_one_line(error)}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Raised by the YAML reader for impossible dates, numbers and keys.
        reason = _one_line(error)
        raise ConfigError(f"{file} holds an invalid key or value: {reason:.100}") from error
    except RecursionError as error:
        raise ConfigError(f"{file} is not YAML: too many nested brackets") from error
    if not isinstance(values, dict):
        example = next(iter(schema.model_fields))
        raise ConfigError(
            f"{file} must hold keys like `{example}:`, got {_without_address(values)!r:.40}"
        )
    try:
        return schema.model_validate(_overlay(values, overrides or {}))
    except ValidationError as error:
        raise ConfigError(f"{file or 'command line'}: {_explain(error, schema)}") from error
    except (UnicodeError, RecursionError) as error:
        raise ConfigError(f"{file} holds invalid text; rewrite it") from error


def inference(values: Mapping[str, Any]) -> InferenceConfig:
    """The inference options among the flags of a command; other keys and None are ignored.

    Raises ConfigError, naming the flag, for an invalid value.
    """
    chosen = {
        key: values[key] for key in InferenceConfig.model_fields if values.get(key) is not None
    }
    try:
        return InferenceConfig.model_validate(chosen)
    except ValidationError as error:
        key, colon, reason = _explain(error, InferenceConfig).partition(":")
        raise ConfigError(f"--{key.replace('_', '-')}{colon}{reason}") from error


def _overlay(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        section = merged.get(key, {})
        if isinstance(change, dict) and key != "cameras":
            # A value that is no section stays, so that validation reports it.
            merged[key] = _overlay(section, change) if isinstance(section, dict) else section
        else:
            merged[key] = change
    return merged


def _one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "problem", None) or error).split())


def _explain(error: ValidationError, schema: type[BaseModel]) -> str:
    """The first error in one line: key, expected value, actual value."""
    errors = error.errors(include_url=False)
    # A misspelled key is the cause if its correct spelling is also reported as missing.
    first = min(errors, key=lambda one: one["type"] != "extra_forbidden")
    *parents, key = [str(part) for part in first["loc"]] or [""]
    where = ".".join(_without_address(part) for part in (*parents, key))
    more = f"; {len(errors) - 1} more errors follow" if len(errors) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(parents, schema)) or "none"
        return f"unknown key {where!r}; known here: {known}{more}"
    reason = _MESSAGES.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    if first["type"] == "string_pattern_mismatch":
        reason = _PATTERN_MESSAGES.get(first["ctx"]["pattern"], reason)
    value = first["input"]
    is_secret = key in _SECRET_KEYS  # somebody may have written the password itself
    shown = f", got {_without_address(value)!r:.60}" if isinstance(value, (str, int, float)) else ""
    shown = "" if is_secret else shown
    return f"{where}: {reason}{shown}{more}" if where else f"{reason}{more}"


def _without_address(value: Any) -> Any:
    """The value, unless it may be a URL, which can hold a password."""
    return "(an address)" if "://" in str(value) or "@" in str(value) else value


def _known_keys(parents: list[str], schema: type[BaseModel]) -> list[str]:
    """The keys of the section at the path `parents`."""
    section: Any = schema
    for part in parents:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[part].annotation
            if isinstance(section, UnionType):  # a section, or None
                section = section.__args__[0]
        else:  # a mapping from names of the user's choice to sections
            section = section.__args__[1]
    return sorted(section.model_fields) if hasattr(section, "model_fields") else []
