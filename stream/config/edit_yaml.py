"""Replaces the `events:` section of a YAML file and preserves everything else.

Only the lines of that section are rewritten, with their comments; all other bytes are preserved.
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
_DURATIONS = {"min_duration", "merge_gap", "cooldown", "smoothing"}


def with_events(text: str, policy: EventsConfig) -> str:
    """The text of a valid configuration with another policy.

    Raises ValueError if other sections would have to change.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    start, end = _line_range(text, lines)
    section = "".join(lines[start:end]).replace("\r\n", "\n")
    written = _write(section, policy).replace("\n", newline)
    before = "".join(lines[:start])
    if before and not before.endswith("\n"):
        before += newline
    return before + written + "".join(lines[end:])


def events_text(policy: EventsConfig) -> str:
    """The section alone, with the values that differ from the defaults, for a person to copy."""
    return _write("", policy)


def _line_range(text: str, lines: list[str]) -> tuple[int, int]:
    """The first line of the section and the line after its last; both the end if it is missing."""
    root = yaml.compose(text, yaml.SafeLoader)
    if root is None:
        return len(lines), len(lines)
    if not isinstance(root, yaml.MappingNode) or root.flow_style or lines[-1].startswith("..."):
        raise ValueError("its keys must stand on lines of their own")
    starts = [key.start_mark.line for key, _ in root.value]
    found = [key.start_mark.line for key, _ in root.value if key.value == _SECTION]
    if not found:
        return len(lines), len(lines)
    start = found[0]
    end = min((line for line in starts if line > start), default=len(lines))
    # Comments between two sections belong to the next one.
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return start, end


def _write(section: str, policy: EventsConfig) -> str:
    """The lines of a section, which may be empty, with another policy."""
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
    events = read.get(_SECTION)
    if events is None:
        events = read[_SECTION] = CommentedMap()
    else:
        writer.map_indent = events.lc.col if events.lc.line > read.lc.line else 2
    _update(events, before or EventsConfig(), policy)
    if not events:
        read[_SECTION] = CommentedMap()
        read[_SECTION].fa.set_flow_style()
    stream = io.StringIO()
    writer.dump(read, stream)
    return stream.getvalue()


def _update(section: CommentedMap, before: Any, after: Any) -> None:
    for key in type(after).model_fields:
        old, new = getattr(before, key), getattr(after, key)
        if key == "labels" and isinstance(new, dict):
            _update_labels(section, old, new)
        elif old != new:
            if new is None or new == frozenset():
                section.pop(key, None)
            else:
                section[key] = _value(key, new)


def _update_labels(
    section: CommentedMap, before: dict[str, LabelPolicy], after: dict[str, LabelPolicy]
) -> None:
    if before == after:
        return
    labels = section.get("labels")
    if labels is None:
        labels = section["labels"] = CommentedMap()
    for label in [one for one in before if one not in after]:
        labels.pop(label, None)
    for label, policy in after.items():
        if label not in labels:
            labels[label] = CommentedMap()
            labels[label].fa.set_flow_style()
        _update(labels[label], before.get(label, LabelPolicy()), policy)
    if not labels:
        del section["labels"]


def _value(key: str, value: Any) -> Any:
    if isinstance(value, frozenset):
        names = CommentedSeq(sorted(value))
        names.fa.set_flow_style()
        return names
    if key in _DURATIONS:
        return f"{value:.12g}s"
    return value
