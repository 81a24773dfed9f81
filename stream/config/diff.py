"""Which keys a new configuration changes, and which apply without a restart. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from stream.config.config import Config
from stream.config.events import missing_label
from stream.config.load import ConfigError
from stream.config.types import Section
from stream.messages import ClipSpec

# Keys, with all keys below them, that apply without a restart.
_HOT_KEYS = (
    "cameras",
    "window.stride",
    "events",
    "retention",
    "dashboard.top_k",
    "dashboard.try_it",
)


@dataclass(frozen=True, slots=True)
class Changes:
    """The result of a new configuration: dotted keys, some with a change like
    "cameras.door added"."""

    applied: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = []
        if self.applied:
            parts.append(f"applied: {', '.join(self.applied)}")
        if self.needs_restart:
            parts.append(f"applies after a restart: {', '.join(self.needs_restart)}")
        return "; ".join(parts) or "no changes"


def compare(before: Config, after: Config, *, also: Collection[str] = ()) -> tuple[Config, Changes]:
    """The configuration in which all hot changes are applied, and the list of changes.

    `also` are dotted keys that the caller applies without a restart.
    """
    applied: list[str] = []
    needs_restart: list[str] = []

    def merge(section: Section, changed: Section, path: str) -> Section:
        chosen: dict[str, Any] = {}
        for name in type(section).model_fields:
            old, new, key = getattr(section, name), getattr(changed, name), f"{path}{name}"
            if old == new:
                continue
            if isinstance(old, Section) and isinstance(new, Section):
                chosen[name] = merge(old, new, f"{key}.")
            elif _is_hot(key, old, new, (*_HOT_KEYS, *also)):
                chosen[name] = new
                applied.extend(_changes(key, old, new))
            else:
                needs_restart.extend(_changes(key, old, new))
        return section.model_copy(update=chosen)

    merged = merge(before, after, "")
    assert isinstance(merged, Config)
    return merged, Changes(tuple(applied), tuple(needs_restart))


def check_labels(config: Config, before: Config, spec: ClipSpec | None) -> None:
    """Raise ConfigError for named labels that the model lacks.

    Before the model is ready, only labels that `before` names are valid.
    """
    former = before.labels_by_key()
    for key, labels in config.labels_by_key().items():
        if spec is None:
            if not labels <= former.get(key, set()):
                raise ConfigError(
                    f"{key}: the labels are unknown until the model is ready; try again then"
                )
        elif problem := missing_label(labels, spec.model, spec.labels):
            raise ConfigError(f"{key}: {problem}")


def _is_hot(key: str, old: Any, new: Any, hot_keys: Collection[str]) -> bool:
    if key == "retention.scores" and (old == 0) != (new == 0):
        return False  # the score log is made or not at the start of the run
    return any(key == one or key.startswith(f"{one}.") for one in hot_keys)


def _changes(key: str, old: Any, new: Any) -> Iterator[str]:
    """The changes of a key as text."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        yield key
        return
    for name in (*old, *(one for one in new if one not in old)):
        if name not in new:
            yield f"{key}.{name} removed"
        elif name not in old:
            yield f"{key}.{name} added"
        elif old[name] != new[name]:
            yield f"{key}.{name} changed"
