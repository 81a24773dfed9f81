"""A configuration from a YAML file and flags; mistakes in one line that names the key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from stream.config.config import Config, InferenceConfig
from stream.config.dashboard import HOST_NAME, PASSWORD_HASH, TOKEN_HASH

Schema = TypeVar("Schema", bound=BaseModel)


class ConfigError(ValueError):
    """A configuration that can't be used. The message is one line for a person."""


_WORDS = {  # pydantic's, for people who write YAML
    "model_type": "must hold keys, like {source: ...} of a camera",
    "dict_type": "must hold names or keys, each with its value",
    "missing": "is missing",
    "too_short": "has too little in it: cameras need at least 1, zones two corners or a polygon's "
    "points",
    "too_long": "has too much in it: a point is [x, y]",
}
_PATTERNS = {
    r"^(auto|cpu|cuda(:\d+)?)$": "must be auto, cpu, cuda or cuda:1",
    r"^(tcp|ipc)://.+": "must be an address like tcp://127.0.0.1:5555",
    r"^postgresql://.+": "must be an address like postgresql://user:${PASSWORD}@host/database",
    r"^[^#+/\s][^#+\s]*$": "must be a topic without #, + and spaces, like home/actionwatch",
    PASSWORD_HASH: "must be what `actionwatch password` prints, not the password itself",
    TOKEN_HASH: "must be the hash that `actionwatch token` prints",
    HOST_NAME: "must be a host name alone, like watch.example.org",
    r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$": "a name has letters, digits, dots, dashes, underscores",
}


_SECRET = {"password", "hash"}


class _Once(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value} is there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_config(file: Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """Read a YAML file, lay `overrides` (nested, of the same shape) over it, and check it all.

    Raises ConfigError, naming the file and the key, for what is unreadable, unknown or wrong.
    """
    return parse_config(read_text(file) if file is not None else "", file, overrides)


def read_text(file: Path) -> str:
    """What a YAML file holds. Raises ConfigError where it can't be read."""
    try:
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ConfigError(f"{file} can't be read: {reason}") from error


def parse_config(text: str, file: Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """As `load_config`, of what is or would be in `file`."""
    return parse(Config, text, file, overrides)


def parse(
    schema: type[Schema], text: str, file: Path | None, overrides: dict[str, Any] | None = None
) -> Schema:
    """As `parse_config`, for any YAML file whose keys are the fields of a model."""
    try:
        values: Any = yaml.load(text, _Once) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{where} is not YAML: {_one_line(error)}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The reader's own, for dates, numbers and keys that can't be.
        reason = _one_line(error)
        raise ConfigError(
            f"{file} holds a key or a value that can't be one: {reason:.100}"
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{file} is not YAML: brackets within brackets, too many") from error
    if not isinstance(values, dict):
        like = next(iter(schema.model_fields))
        raise ConfigError(f"{file} must hold keys like `{like}:`, got {_harmless(values)!r:.40}")
    try:
        return schema.model_validate(_overlay(values, overrides or {}))
    except ValidationError as error:
        raise ConfigError(f"{file or 'command line'}: {_explain(error, schema)}") from error
    except (UnicodeError, RecursionError) as error:
        raise ConfigError(f"{file} holds what is no text; write it anew") from error


def inference(values: Mapping[str, Any]) -> InferenceConfig:
    """What the flags of a command choose; other keys and None are left alone.

    Raises ConfigError, naming the flag, for what can't be chosen.
    """
    chosen = {
        key: values[key] for key in InferenceConfig.model_fields if values.get(key) is not None
    }
    try:
        return InferenceConfig.model_validate(chosen)
    except ValidationError as error:
        raise ConfigError(f"--{_explain(error, InferenceConfig)}") from error


def _overlay(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        below = merged.get(key, {})
        if isinstance(change, dict) and key != "cameras":
            # What is no section stays as it is, to be named as the mistake that it is.
            merged[key] = _overlay(below, change) if isinstance(below, dict) else below
        else:
            merged[key] = change
    return merged


def _one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "problem", None) or error).split())


def _explain(error: ValidationError, schema: type[BaseModel]) -> str:
    """The first mistake in one line: where, what was expected, what came."""
    found = error.errors(include_url=False)
    # A misspelt key is the cause where its right spelling is also reported as missing.
    first = min(found, key=lambda one: one["type"] != "extra_forbidden")
    *parents, key = [str(part) for part in first["loc"]] or [""]
    where = ".".join(_harmless(part) for part in (*parents, key))
    more = f"; {len(found) - 1} more to mend after it" if len(found) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(parents, schema)) or "none"
        return f"unknown key {where!r}; known here: {known}{more}"
    reason = _WORDS.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    if first["type"] == "string_pattern_mismatch":
        reason = _PATTERNS.get(first["ctx"]["pattern"], reason)
    came = first["input"]
    is_secret = key in _SECRET  # somebody may have written the password itself
    shown = f", got {_harmless(came)!r:.60}" if isinstance(came, (str, int, float)) else ""
    shown = "" if is_secret else shown
    return f"{where}: {reason}{shown}{more}" if where else f"{reason}{more}"


def _harmless(value: Any) -> Any:
    """What came, unless it may be an address: those hold passwords."""
    return "(an address)" if "://" in str(value) or "@" in str(value) else value


def _known_keys(parents: list[str], schema: type[BaseModel]) -> list[str]:
    """The keys of the section that `parents` lead to."""
    section: Any = schema
    for part in parents:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[part].annotation
            if isinstance(section, UnionType):  # a section, or None
                section = section.__args__[0]
        else:  # a mapping from names of the user's choice to sections
            section = section.__args__[1]
    return sorted(section.model_fields) if hasattr(section, "model_fields") else []
