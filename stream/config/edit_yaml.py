"""Changes the `events:` of a YAML file, and keeps all the rest as its author wrote it.

Only the lines of that section are written anew, with the comments in them; the others stay as they
are to the last byte.
"""

from __future__ import annotations

import io
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from stream.config.events import EventsConfig, LabelPolicy

_SECTION = "events"
_DURATIONS = {"minimum", "merge_gap", "cool_down", "smoothing"}


def with_events(text: str, policy: EventsConfig) -> str:
    """The text of a good configuration with another policy in it.

    Raises ValueError where that can't be done without touching more than the section.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    begin, end = _lines_of(text, lines)
    section = "".join(lines[begin:end]).replace("\r\n", "\n")
    written = _written(section, policy).replace("\n", newline)
    before = "".join(lines[:begin])
    if before and not before.endswith("\n"):
        before += newline
    return before + written + "".join(lines[end:])


def events_text(policy: EventsConfig) -> str:
    """The section alone, with what is not as usual; for a person to copy."""
    return _written("", policy)


def _lines_of(text: str, lines: list[str]) -> tuple[int, int]:
    """The first line of the section, and the one after its last; both the end, if there is none."""
    root = yaml.compose(text, yaml.SafeLoader)
    if root is None:
        return len(lines), len(lines)
    if not isinstance(root, yaml.MappingNode) or root.flow_style or lines[-1].startswith("..."):
        raise ValueError("its keys must stand on lines of their own")
    begins = [key.start_mark.line for key, _ in root.value]
    named = [key.start_mark.line for key, _ in root.value if key.value == _SECTION]
    if not named:
        return len(lines), len(lines)
    begin = named[0]
    end = min((line for line in begins if line > begin), default=len(lines))
    # What is said between two sections belongs to the next one.
    while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return begin, end


def _written(section: str, policy: EventsConfig) -> str:
    """The lines of a section, or none, with another policy."""
    writer = YAML()
    writer.preserve_quotes = True
    writer.width = 10_000
    try:
        read = writer.load(section) or CommentedMap()
        before = (
            EventsConfig.model_validate(yaml.safe_load(section)[_SECTION] or {}) if read else None
        )
    except (YAMLError, yaml.YAMLError, TypeError, KeyError) as error:
        raise ValueError(f"its `{_SECTION}:` refers to other parts of the file") from error
    kept = read.get(_SECTION)
    if kept is None:
        kept = read[_SECTION] = CommentedMap()
    else:
        writer.map_indent = kept.lc.col if kept.lc.line > read.lc.line else 2
    _change(kept, before or EventsConfig(), policy)
    if not kept:
        read[_SECTION] = CommentedMap()
        read[_SECTION].fa.set_flow_style()
    stream = io.StringIO()
    writer.dump(read, stream)
    return stream.getvalue()


def _change(section: CommentedMap, before: Any, after: Any) -> None:
    for key in type(after).model_fields:
        old, new = getattr(before, key), getattr(after, key)
        if key == "labels" and isinstance(new, dict):
            _change_labels(section, old, new)
        elif old != new:
            if new is None or new == frozenset():
                section.pop(key, None)
            else:
                section[key] = _value(key, new)


def _change_labels(
    section: CommentedMap, before: dict[str, LabelPolicy], after: dict[str, LabelPolicy]
) -> None:
    if before == after:
        return
    kept = section.get("labels")
    if kept is None:
        kept = section["labels"] = CommentedMap()
    for label in [one for one in before if one not in after]:
        kept.pop(label, None)
    for label, policy in after.items():
        if label not in kept:
            kept[label] = CommentedMap()
            kept[label].fa.set_flow_style()
        _change(kept[label], before.get(label, LabelPolicy()), policy)
    if not kept:
        del section["labels"]


def _value(key: str, value: Any) -> Any:
    if isinstance(value, frozenset):
        names = CommentedSeq(sorted(value))
        names.fa.set_flow_style()
        return names
    if key in _DURATIONS:
        return f"{value:.12g}s"
    return value
