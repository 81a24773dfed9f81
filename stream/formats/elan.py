"""ELAN annotation files (.eaf): writes EAF 3.0, reads any version.

Format: "EAF Annotation Format 3.0 and ELAN", Max Planck Institute for Psycholinguistics.
"""

from __future__ import annotations

import mimetypes
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from stream.formats.base import FORMATS, EventFormat, Options
from stream.formats.ground_truth import GroundTruth, GroundTruthError, checked_segment
from stream.formats.relative_times import RelativeEvent

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _write(rows: Iterable[Mapping[str, Any]], file: IO[bytes], options: Options) -> None:
    """Write a tier per camera and label, with the label in each annotation.

    Annotations of a tier can't overlap, so overlapping events of a camera and label go to a second
    tier. The video is linked by its absolute and its relative path.
    """
    rows = list(rows)
    events = options.relative(rows)
    # Attribute names with literal prefixes, as ELAN writes them.
    document = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "Actionwatch",
            # Not the current time, so that the same rows give the same bytes.
            "DATE": max((row["start"] for row in rows), default="1970-01-01T00:00:00.000Z"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": _XSI,
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    header = ET.SubElement(document, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    if (media := options.media) is not None:
        kind = mimetypes.guess_type(media.name)[0] or "video/*"
        urls = {"MEDIA_URL": media.resolve().as_uri(), "RELATIVE_MEDIA_URL": f"./{media.name}"}
        ET.SubElement(header, "MEDIA_DESCRIPTOR", urls, MIME_TYPE=kind)
    last = ET.SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId")
    last.text = str(len(events))

    slots = _slots(events)
    order = ET.SubElement(document, "TIME_ORDER")
    for number, (time_ms, _, _) in enumerate(slots, start=1):
        ET.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=f"ts{number}", TIME_VALUE=str(time_ms))
    slot_of = {key[1:]: f"ts{number}" for number, key in enumerate(slots, start=1)}
    for name, camera, indices in _tiers(events):
        tier = ET.SubElement(document, "TIER", LINGUISTIC_TYPE_REF="event")
        tier.attrib |= {"PARTICIPANT": _clean(camera), "TIER_ID": name}
        for index in indices:
            aligned = ET.SubElement(
                ET.SubElement(tier, "ANNOTATION"),
                "ALIGNABLE_ANNOTATION",
                ANNOTATION_ID=f"a{index + 1}",
                TIME_SLOT_REF1=slot_of[index, 0],
                TIME_SLOT_REF2=slot_of[index, 1],
            )
            ET.SubElement(aligned, "ANNOTATION_VALUE").text = _clean(events[index].label)
    kind_of_tier = {"GRAPHIC_REFERENCES": "false", "TIME_ALIGNABLE": "true"}
    ET.SubElement(document, "LINGUISTIC_TYPE", kind_of_tier, LINGUISTIC_TYPE_ID="event")
    ET.indent(document, "    ")
    body = ET.tostring(document, encoding="unicode")
    file.write(f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'.encode())


def _read(path: Path, label_from: str) -> GroundTruth:
    """The annotations with times of their own; they belong to the linked video."""
    try:
        document = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise GroundTruthError(f"{path} is not XML: {error}; save it with ELAN") from error
    if document.tag != "ANNOTATION_DOCUMENT":
        raise GroundTruthError(f"{path} holds {document.tag}, an .eaf holds ANNOTATION_DOCUMENT")
    header = document.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise GroundTruthError(
            f"{path} has TIME_UNITS {units}, expected milliseconds; save it with ELAN"
        )
    linked = list(document.iterfind("HEADER/MEDIA_DESCRIPTOR"))
    file = _media_stem(linked) or path.stem
    # The media time at time 0 of the annotations.
    offset_ms = (_milliseconds(path, linked[0], "TIME_ORIGIN") if linked else None) or 0
    times: dict[str, int | None] = {}
    for slot in document.iterfind("TIME_ORDER/TIME_SLOT"):
        times[slot.get("TIME_SLOT_ID", "")] = _milliseconds(path, slot, "TIME_VALUE")
    segments, unaligned = [], 0
    for tier in document.iterfind("TIER"):
        name = tier.get("TIER_ID", "")
        unaligned += sum(1 for _ in tier.iterfind("ANNOTATION/REF_ANNOTATION"))
        for one in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION"):
            span_ms = []
            for key in ("TIME_SLOT_REF1", "TIME_SLOT_REF2"):
                slot_id = one.get(key, "")
                if slot_id not in times:
                    source = f"{path} annotation {one.get('ANNOTATION_ID')} of tier {name}"
                    raise GroundTruthError(
                        f"{source} names time slot {slot_id!r}, which is missing"
                    )
                span_ms.append(times[slot_id])
            start_ms, end_ms = span_ms
            if start_ms is None or end_ms is None:
                unaligned += 1
                continue
            value = " ".join((one.findtext("ANNOTATION_VALUE") or "").split())
            label = name if label_from == "tier" else value or name
            span_s = ((start_ms + offset_ms) / 1000, (end_ms + offset_ms) / 1000)
            segments.append(checked_segment(f"{path} tier {name}", file, label, *span_s))
    return GroundTruth((file,), tuple(segments), unaligned)


def _slots(events: Sequence[RelativeEvent]) -> list[tuple[int, int, int]]:
    """(milliseconds, event index, 0 for its start or 1 for its end), by time."""
    return sorted(
        (round(time_s * 1000), index, side)
        for index, event in enumerate(events)
        for side, time_s in enumerate((event.start_s, event.end_s))
    )


def _tiers(events: Sequence[RelativeEvent]) -> list[tuple[str, str, list[int]]]:
    """(name, camera, indices of events that don't overlap), by camera and label."""
    many_cameras = len({event.camera for event in events}) > 1
    by_kind: dict[tuple[str, str], list[list[int]]] = {}
    for index, event in enumerate(events):  # by start
        rows = by_kind.setdefault((event.camera, event.label), [])
        for row in rows:
            if events[row[-1]].end_s <= event.start_s:
                row.append(index)
                break
        else:
            rows.append([index])
    tiers, used_names = [], set()
    for (camera, label), rows in sorted(by_kind.items()):
        plain = _clean(f"{camera}: {label}" if many_cameras else label)
        for row in rows:
            name, number = plain, 1
            while name in used_names:
                number += 1
                name = f"{plain} ({number})"
            used_names.add(name)
            tiers.append((name, camera, row))
    return tiers


def _clean(text: str) -> str:
    """The text on one line, with characters that XML forbids replaced."""
    return _NOT_XML.sub("\ufffd", " ".join(text.split()))


def _milliseconds(path: Path, element: ET.Element, key: str) -> int | None:
    text = element.get(key)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        where = f"{element.tag} {element.get('TIME_SLOT_ID', '')}".strip()
        raise GroundTruthError(
            f"{path} {where}: {key} {text!r} must be milliseconds, like 1500"
        ) from None


def _media_stem(linked: list[ET.Element]) -> str:
    """The file name of the linked media without its suffix, "" if there is not exactly one."""
    if len(linked) != 1:
        return ""
    address = linked[0].get("MEDIA_URL") or linked[0].get("RELATIVE_MEDIA_URL") or ""
    return PurePosixPath(unquote(urlsplit(address).path).replace("\\", "/")).stem


FORMATS.add(
    "elan",
    EventFormat(
        title="ELAN",
        suffix=".eaf",
        media_type="application/xml",
        write=_write,
        read=_read,
        is_relative=True,
        links_media=True,
    ),
)
