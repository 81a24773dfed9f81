from __future__ import annotations

import csv
import io
import json
import sys
import xml.etree.ElementTree as ET
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.csv
import pyarrow.parquet as pq
import pympi
import pytest
import webvtt

from stream.formats.base import FORMATS, ExportError, Options, export, export_file
from stream.formats.relative_times import cameras_with_clock_resets, to_relative_times
from stream.sinks.event_log.rows import COLUMNS, iso
from tests.event_samples import NASTY, ROWS, START_UTC, row


def text(rows: list[dict[str, Any]], format_name: str, **options: Any) -> str:
    file = io.BytesIO()
    export(rows, file, format_name, Options(**options))
    return file.getvalue().decode("utf-8")


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, format_name: str) -> None:
    for name in ("one", "other"):
        left_out = export_file(iter(ROWS), tmp_path / name, format_name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes() != b""
    assert left_out == (0 if format_name in ("jsonl", "csv", "parquet") else 1)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("format_name", FORMATS)
def test_export_without_events_is_valid(tmp_path: Path, format_name: str) -> None:
    file = tmp_path / "none"
    assert export_file([], file, format_name) == 0
    if format_name == "csv":
        assert file.read_text() == ",".join(COLUMNS) + "\n"
    elif format_name == "webvtt":
        assert not webvtt.from_string(file.read_text()).captions
    elif format_name == "activitynet":
        assert json.loads(file.read_text())["database"] == {}
    elif format_name == "elan":
        check_eaf(ET.parse(file).getroot())
    elif format_name == "parquet":
        table = pq.read_table(file)
        assert (table.num_rows, table.schema.names) == (0, list(COLUMNS))
        assert str(table.schema.field("start").type) == "timestamp[ms, tz=UTC]"


def test_csv_preserves_quotes_commas_newlines_and_unicode() -> None:
    exported = text(ROWS, "csv")
    read = list(csv.DictReader(io.StringIO(exported, newline="")))
    assert [one["label"] for one in read] == ["wave", NASTY, "wave", "jump"]
    assert (read[1]["peak"], read[3]["end"], read[3]["end_s"]) == ("0.123", "", "")
    assert (read[0]["start"], read[0]["start_s"]) == ("2026-01-31T23:59:51.500Z", "1.5")
    table = pyarrow.csv.read_csv(
        io.BytesIO(exported.encode()),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
    )
    assert tuple(table.column_names) == COLUMNS
    first, second, *_ = table.to_pylist()
    assert second["label"] == NASTY
    assert first["end"] - first["start"] == timedelta(seconds=2.5)


def test_jsonl_has_one_row_per_line() -> None:
    lines = text(ROWS, "jsonl").removesuffix("\n").split("\n")
    read = [json.loads(line) for line in lines]
    assert [tuple(one) for one in read] == [COLUMNS] * 4
    assert read[1]["label"] == NASTY
    assert (read[3]["end"], read[3]["end_s"]) == (None, None)
    assert "戸" in lines[1]


def test_webvtt_cues_are_ordered_and_escaped() -> None:
    cues = webvtt.from_string(text(ROWS, "webvtt")).captions
    assert [(cue.start, cue.end) for cue in cues] == [
        ("00:00:01.500", "00:00:04.000"),
        ("00:00:03.250", "00:00:12.000"),  # overlaps the one before
        ("00:00:05.000", "00:00:06.000"),
    ]
    assert [cue.identifier for cue in cues] == [one["id"] for one in ROWS[:3]]
    assert cues[0].raw_text == "door: wave"  # of two cameras
    assert cues[1].raw_text == 'door: öffnen, "die" Tür; 戸 &lt;b&gt;&amp;amp; --&gt;'
    alone = webvtt.from_string(text(ROWS[:1], "webvtt")).captions
    assert alone[0].raw_text == "wave"


def test_reviews_are_exported() -> None:
    review = {"verdict": "corrected", "corrected": "hop", "note": NASTY, "reviewed_by": "anna"}
    reviewed = [
        row("wave", 1.0, 2.0) | review | {"reviewed_at": "2026-02-01T08:00:00.000Z"},
        row("jump", 3.0, 4.0) | {"verdict": "rejected"},
        row("run", 5.0, 6.0) | {"verdict": "confirmed", "clip_start_s": 2.5},
    ]
    lines = [json.loads(line) for line in text(reviewed, "jsonl").split("\n")[:-1]]
    assert lines == reviewed
    assert [one["verdict"] for one in csv.DictReader(io.StringIO(text(reviewed, "csv")))] == [
        "corrected",
        "rejected",
        "confirmed",
    ]
    binary = io.BytesIO()
    export(reviewed, binary, "parquet")
    table = pq.read_table(binary)
    assert table["note"][0].as_py() == NASTY
    assert str(table["reviewed_at"].type) == "timestamp[ms, tz=UTC]"
    assert table["reviewed_at"].is_null().to_pylist() == [False, True, True]
    assert table["clip_start_s"].is_null().to_pylist() == [True, True, False]


@pytest.mark.parametrize("format_name", ["webvtt", "activitynet", "elan"])
def test_relative_formats_apply_reviews(format_name: str) -> None:
    reviewed = [
        row("wave", 1.0, 2.0) | {"verdict": "corrected", "corrected": "hop"},
        row("jump", 3.0, 4.0) | {"verdict": "rejected"},
        row("run", 5.0, 6.0) | {"verdict": "confirmed"},
    ]
    exported = text(reviewed, format_name)
    assert [label in exported for label in ("hop", "jump", "run")] == [True, False, True]


def test_subtitles_of_a_clip_start_with_the_clip() -> None:
    rows = [row("wave", 1, 4), row("jump", 99, 103), row("run", 105, 3700.0021)]
    cues = webvtt.from_string(text(rows, "webvtt", time_offset_s=100.0)).captions
    assert [(cue.start, cue.end, cue.raw_text) for cue in cues] == [
        ("00:00:00.000", "00:00:03.000", "jump"),
        ("00:00:05.000", "01:00:00.002", "run"),
    ]


def test_wall_times_count_from_midnight_of_the_first_day() -> None:
    exported = text(ROWS, "webvtt", time_base="wall")
    cues = webvtt.from_string(exported).captions
    assert (cues[0].start, cues[0].end) == ("23:59:51.500", "23:59:54.000")
    assert cues[1].end == "24:00:02.000"  # counts on over midnight
    relative = to_relative_times(ROWS, time_base="wall")
    assert relative[0].start_s == 86400 - 8.5


def test_event_without_duration_is_exported() -> None:
    (relative,) = to_relative_times([row("wave", 2.0, 2.0)])
    assert (relative.start_s, relative.end_s) == (2.0, 2.001)


def test_activitynet_has_the_keys_of_its_evaluation() -> None:
    exported = json.loads(text(ROWS, "activitynet"))
    # The required keys of the two files in ActivityNet's Evaluation/eval_detection.py.
    assert {"database", "taxonomy", "version"} <= set(exported)
    assert {"results", "version", "external_data"} <= set(exported)
    truth = [
        (video, float(one["segment"][0]), float(one["segment"][1]), one["label"])
        for video, entry in exported["database"].items()
        if entry["subset"] == "validation"
        for one in entry["annotations"]
    ]
    predicted = [
        (video, *map(float, one["segment"]), one["label"], one["score"])
        for video, found in exported["results"].items()
        for one in found
    ]
    assert truth == [
        ("desk", 5.0, 6.0, "wave"),
        ("door", 1.5, 4.0, "wave"),
        ("door", 3.25, 12.0, NASTY),
    ]
    assert [one[:4] for one in predicted] == truth
    assert [one[4] for one in predicted] == [0.9, 0.9, 0.123]
    names = {node["nodeName"]: node for node in exported["taxonomy"]}
    assert set(names) == {"Root", "wave", NASTY}
    assert names["wave"]["parentName"] == "Root"


def test_elan_is_valid_and_readable_by_pympi(tmp_path: Path) -> None:
    video = tmp_path / "my video.mp4"
    overlapping = [*ROWS, row("wave", 3.9, 4.5)]
    file = tmp_path / "events.eaf"
    export_file(overlapping, file, "elan", Options(media=video))
    check_eaf(ET.parse(file).getroot())
    read = pympi.Elan.Eaf(str(file), suppress_version_warning=True)
    clean = " ".join(NASTY.split())
    assert list(read.get_tier_names()) == [
        "desk: wave",
        "door: wave",
        "door: wave (2)",  # on one tier annotations can't overlap
        f"door: {clean}",
    ]
    assert read.get_annotation_data_for_tier("door: wave") == [(1500, 4000, "wave")]
    assert read.get_annotation_data_for_tier("door: wave (2)") == [(3900, 4500, "wave")]
    assert read.get_annotation_data_for_tier(f"door: {clean}") == [(3250, 12000, clean)]
    (media,) = read.get_linked_files()
    assert media["MEDIA_URL"].endswith("/my%20video.mp4")
    assert (media["RELATIVE_MEDIA_URL"], media["MIME_TYPE"]) == ("./my video.mp4", "video/mp4")


def test_elan_of_one_camera_names_tiers_by_label_and_replaces_control_characters() -> None:
    document = ET.fromstring(text([row("wa\x00ve", 1, 2)], "elan"))
    assert [tier.get("TIER_ID") for tier in document.iter("TIER")] == ["wa\ufffdve"]
    check_eaf(document)


def test_parquet_has_types_and_utc_times(tmp_path: Path) -> None:
    file = tmp_path / "events.parquet"
    export_file(ROWS, file, "parquet")
    table = pq.read_table(file)
    assert table.schema.names == list(COLUMNS)
    times = {"start", "end", "detected_at", "reviewed_at"}
    numbers = {"start_s", "end_s", "detected_s", "peak", "peak_s", "mean", "clip_start_s"}
    assert {name: str(table.schema.field(name).type) for name in COLUMNS} == {
        name: "timestamp[ms, tz=UTC]"
        if name in times
        else "double"
        if name in numbers
        else "string"
        for name in COLUMNS
    }
    assert table["label"][1].as_py() == NASTY
    assert table["start"][0].as_py() == START_UTC + timedelta(seconds=1.5)
    assert table["end"].is_null().to_pylist() == [False, False, False, True]
    assert table["end_s"].to_pylist() == [4.0, 12.0, 6.0, None]


def test_error_names_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"parquet needs .*pyarrow.*'actionwatch\[parquet\]'"):
        export(ROWS, io.BytesIO(), "parquet")


def test_failed_export_preserves_the_old_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"is not a file"):
        export_file(ROWS, tmp_path, "csv")
    with pytest.raises(ExportError, match=r"nowhere/x.csv can't be written: No such file"):
        export_file(ROWS, tmp_path / "nowhere" / "x.csv", "csv")
    target = tmp_path / "target.csv"
    target.write_text("before")
    (tmp_path / "link.csv").symlink_to(target)
    with pytest.raises(KeyError):
        export_file([{"id": "broken"}], target, "csv")
    assert target.read_text() == "before"
    export_file([], tmp_path / "link.csv", "csv")
    assert target.read_text() == ",".join(COLUMNS) + "\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "target.csv"]


def test_error_names_invalid_format_or_time_base() -> None:
    with pytest.raises(ExportError, match=r"'xml' must be one of activitynet, csv"):
        export([], io.BytesIO(), "xml")
    with pytest.raises(ExportError, match="time base 'sun' must be one of media, wall"):
        Options(time_base="sun")
    binary = {name for name, one in FORMATS.items() if one.is_binary}
    assert binary == {"parquet"}


def test_clock_reset_is_detected() -> None:
    later = START_UTC + timedelta(hours=1)
    rows = [row("wave", 50, 60), row("wave", 49.5, 52), row("wave", 1, 2, camera="desk")]
    same_time = row("wave", rows[0]["start_s"], 5, start_utc=later)
    assert cameras_with_clock_resets(rows) == []
    assert cameras_with_clock_resets([*rows, row("wave", 3, 5, start_utc=later)]) == ["door"]
    assert cameras_with_clock_resets([rows[0], same_time]) == ["door"]
    assert iso(later) > rows[0]["start"]


# The parts of EAFv3.0.xsd that an export uses: allowed children in order, required and optional
# attributes.
SCHEMA: dict[str, tuple[tuple[str, ...], set[str], set[str]]] = {
    "ANNOTATION_DOCUMENT": (
        ("LICENSE", "HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LOCALE", "LANGUAGE"),
        {"DATE", "AUTHOR", "VERSION"},
        {"FORMAT"},
    ),
    "HEADER": (
        ("MEDIA_DESCRIPTOR", "LINKED_FILE_DESCRIPTOR", "PROPERTY"),
        set(),
        {"MEDIA_FILE", "TIME_UNITS"},
    ),
    "MEDIA_DESCRIPTOR": (
        (),
        {"MEDIA_URL", "MIME_TYPE"},
        {"RELATIVE_MEDIA_URL", "TIME_ORIGIN", "EXTRACTED_FROM"},
    ),
    "PROPERTY": ((), set(), {"NAME"}),
    "TIME_ORDER": (("TIME_SLOT",), set(), set()),
    "TIME_SLOT": ((), {"TIME_SLOT_ID"}, {"TIME_VALUE"}),
    "TIER": (
        ("ANNOTATION",),
        {"TIER_ID", "LINGUISTIC_TYPE_REF"},
        {"PARTICIPANT", "ANNOTATOR", "DEFAULT_LOCALE", "PARENT_REF", "EXT_REF", "LANG_REF"},
    ),
    "ANNOTATION": (("ALIGNABLE_ANNOTATION",), set(), set()),
    "ALIGNABLE_ANNOTATION": (
        ("ANNOTATION_VALUE",),
        {"ANNOTATION_ID", "TIME_SLOT_REF1", "TIME_SLOT_REF2"},
        {"EXT_REF", "LANG_REF", "CVE_REF", "SVG_REF"},
    ),
    "ANNOTATION_VALUE": ((), set(), set()),
    "LINGUISTIC_TYPE": (
        (),
        {"LINGUISTIC_TYPE_ID"},
        {"TIME_ALIGNABLE", "CONSTRAINTS", "GRAPHIC_REFERENCES", "CONTROLLED_VOCABULARY_REF"},
    ),
}


def check_eaf(document: ET.Element) -> None:
    assert document.tag == "ANNOTATION_DOCUMENT"
    schema = "{http://www.w3.org/2001/XMLSchema-instance}noNamespaceSchemaLocation"
    assert document.attrib.pop(schema) == "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
    datetime.fromisoformat(document.attrib["DATE"].replace("Z", "+00:00"))
    for element in document.iter():
        children, needed, allowed = SCHEMA[element.tag]
        positions = [children.index(child.tag) for child in element]
        assert positions == sorted(positions)
        assert needed <= set(element.attrib) <= needed | allowed
    assert len(document.findall("HEADER")) == len(document.findall("TIME_ORDER")) == 1
    ids = [one.get("TIME_SLOT_ID") for one in document.iter("TIME_SLOT")]
    ids += [one.get("ANNOTATION_ID") for one in document.iter("ALIGNABLE_ANNOTATION")]
    assert len(set(ids)) == len(ids)  # xsd:ID, unique in the whole document
    times = {
        one.get("TIME_SLOT_ID"): int(one.get("TIME_VALUE", "-1"))
        for one in document.iter("TIME_SLOT")
    }
    assert list(times.values()) == sorted(times.values())
    tiers = [tier.get("TIER_ID") for tier in document.iter("TIER")]
    assert len(set(tiers)) == len(tiers)
    kinds = {one.get("LINGUISTIC_TYPE_ID") for one in document.iter("LINGUISTIC_TYPE")}
    for tier in document.iter("TIER"):
        assert tier.get("LINGUISTIC_TYPE_REF") in kinds
        end = 0
        for one in tier.iter("ALIGNABLE_ANNOTATION"):
            first, last = times[one.get("TIME_SLOT_REF1")], times[one.get("TIME_SLOT_REF2")]
            assert end <= first < last
            end = last


def test_spreadsheet_formulas_are_escaped() -> None:
    rows = [row("=HYPERLINK(0)", 1.0, 2.0) | {"note": "@SUM(1)"}]
    found = list(csv.DictReader(io.StringIO(text(rows, "csv", spreadsheet=True))))
    assert (found[0]["label"], found[0]["note"]) == ("'=HYPERLINK(0)", "'@SUM(1)")
    assert next(csv.DictReader(io.StringIO(text(rows, "csv"))))["label"] == "=HYPERLINK(0)"
