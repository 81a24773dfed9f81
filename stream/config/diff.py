"""What a new configuration changes, and what of it can be taken over while a watch runs; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from stream.config.config import Config
from stream.config.events import missing_label
from stream.config.load import ConfigError
from stream.config.types import Section
from stream.messages import ClipSpec

# All that lies under these keys can be changed while it runs.
_AT_ONCE = (
    "cameras",
    "window.stride",
    "events",
    "retention",
    "dashboard.top",
    "dashboard.visitors",
)


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of a new configuration: dotted keys, or a name with what became of it, like
    "cameras.door added"."""

    applied: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = []
        if self.applied:
            said.append(f"in force now: {', '.join(self.applied)}")
        if self.needs_restart:
            said.append(f"in force after a restart: {', '.join(self.needs_restart)}")
        return "; ".join(said) or "nothing is different"


def compare(before: Config, after: Config, *, also: Collection[str] = ()) -> tuple[Config, Changes]:
    """The configuration that is in force when all is taken over that can be, and what that is.

    `also` are dotted keys that can be taken over besides those that the watch itself knows of.
    """
    applied: list[str] = []
    waiting: list[str] = []
    takes = (*_AT_ONCE, *also)
    merged = _merged(before, after, "", takes, applied, waiting)
    assert isinstance(merged, Config)
    return merged, Changes(tuple(applied), tuple(waiting))


def check_labels(config: Config, before: Config, spec: ClipSpec | None) -> None:
    """Raise ConfigError where labels are named that the model lacks.

    While it is not known only those may be named that were named `before`.
    """
    former = before.labels_named()
    for key, labels in config.labels_named().items():
        if spec is None:
            if not labels <= former.get(key, set()):
                raise ConfigError(
                    f"{key}: the model is not ready yet, so its labels are not known; try again "
                    "when it is"
                )
        elif problem := missing_label(labels, spec.model, spec.labels):
            raise ConfigError(f"{key}: {problem}")


def _merged(
    before: Section,
    after: Section,
    path: str,
    takes: Collection[str],
    applied: list[str],
    waiting: list[str],
) -> Section:
    chosen: dict[str, Any] = {}
    for name in type(before).model_fields:
        old, new, key = getattr(before, name), getattr(after, name), f"{path}{name}"
        if old == new:
            continue
        if isinstance(old, Section) and isinstance(new, Section):
            chosen[name] = _merged(old, new, f"{key}.", takes, applied, waiting)
        elif _can_be_taken(key, old, new, takes):
            chosen[name] = new
            applied += _names(key, old, new)
        else:
            waiting += _names(key, old, new)
    return before.model_copy(update=chosen)


def _can_be_taken(key: str, old: Any, new: Any, takes: Collection[str]) -> bool:
    if key == "retention.scores" and (old == 0) != (new == 0):
        return False  # whether they are kept at all is settled when the model is known
    return any(key == one or key.startswith(f"{one}.") for one in takes)


def _names(key: str, old: Any, new: Any) -> Iterator[str]:
    """How to call what differs under a key."""
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
