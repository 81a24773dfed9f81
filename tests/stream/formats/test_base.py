from __future__ import annotations

import csv
import io
import json
import sys
import xml.etree.ElementTree as ET
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pympi
import pytest
import webvtt

from stream.formats.base import BINARY, FORMATS, ExportError, Options, export, export_file
from stream.formats.relative_times import of_many_runs, place
from stream.sinks.event_log.rows import COLUMNS, iso
from tests.event_samples import BEGAN, NASTY, ROWS, row


def text(rows: list[dict[str, Any]], format_name: str, **options: Any) -> str:
    file = io.StringIO(newline="")
    export(rows, file, format_name, Options(**options))
    return file.getvalue()


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, format_name: str) -> None:
    for name in ("one", "other"):
        left_out = export_file(iter(ROWS), tmp_path / name, format_name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes() != b""
    assert left_out == (0 if format_name in ("jsonl", "csv", "parquet") else 1)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("format_name", FORMATS)
def test_no_events_make_a_valid_file(tmp_path: Path, format_name: str) -> None:
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
        assert str(pd.read_parquet(file)["start"].dtype) == "datetime64[ms, UTC]"


def test_csv_keeps_quotes_commas_newlines_and_other_alphabets() -> None:
    made = text(ROWS, "csv")
    read = list(csv.DictReader(io.StringIO(made, newline="")))
    assert [one["label"] for one in read] == ["wave", NASTY, "wave", "jump"]
    assert (read[1]["peak"], read[3]["end"], read[3]["end_s"]) == ("0.123", "", "")
    assert (read[0]["start"], read[0]["start_s"]) == ("2026-01-31T23:59:51.500Z", "1.5")
    frame = pd.read_csv(io.StringIO(made), parse_dates=["start", "end"])
    assert tuple(frame.columns) == COLUMNS
    assert frame["label"][1] == NASTY
    assert (frame["end"] - frame["start"])[0] == timedelta(seconds=2.5)


def test_json_lines_hold_a_row_each() -> None:
    lines = text(ROWS, "jsonl").removesuffix("\n").split("\n")
    read = [json.loads(line) for line in lines]
    assert [tuple(one) for one in read] == [COLUMNS] * 4
    assert read[1]["label"] == NASTY
    assert (read[3]["end"], read[3]["end_s"]) == (None, None)
    assert "戸" in lines[1]


def test_webvtt_cues_are_in_order_and_hold_any_label() -> None:
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


def test_what_a_person_said_goes_with_the_events() -> None:
    said = {"verdict": "corrected", "corrected": "hop", "note": NASTY, "reviewed_by": "anna"}
    reviewed = [
        row("wave", 1.0, 2.0) | said | {"reviewed_at": "2026-02-01T08:00:00.000Z"},
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
    frame = pd.read_parquet(binary)
    assert frame["note"][0] == NASTY
    assert str(frame["reviewed_at"].dtype) == "datetime64[ms, UTC]"
    assert list(frame["reviewed_at"].isna()) == [False, True, True]
    assert list(frame["clip_start_s"].isna()) == [True, True, False]


@pytest.mark.parametrize("format_name", ["webvtt", "activitynet", "elan"])
def test_formats_of_what_happened_follow_the_person(format_name: str) -> None:
    reviewed = [
        row("wave", 1.0, 2.0) | {"verdict": "corrected", "corrected": "hop"},
        row("jump", 3.0, 4.0) | {"verdict": "rejected"},
        row("run", 5.0, 6.0) | {"verdict": "confirmed"},
    ]
    made = text(reviewed, format_name)
    assert [label in made for label in ("hop", "jump", "run")] == [True, False, True]


def test_subtitles_of_a_clip_begin_where_the_clip_does() -> None:
    rows = [row("wave", 1, 4), row("jump", 99, 103), row("run", 105, 3700.0021)]
    cues = webvtt.from_string(text(rows, "webvtt", zero_s=100.0)).captions
    assert [(cue.start, cue.end, cue.raw_text) for cue in cues] == [
        ("00:00:00.000", "00:00:03.000", "jump"),
        ("00:00:05.000", "01:00:00.002", "run"),
    ]


def test_by_the_wall_clock_seconds_count_from_the_first_days_midnight() -> None:
    made = text(ROWS, "webvtt", clock="wall")
    cues = webvtt.from_string(made).captions
    assert (cues[0].start, cues[0].end) == ("23:59:51.500", "23:59:54.000")
    assert cues[1].end == "24:00:02.000"  # the next day goes on counting
    placed = place(ROWS, clock="wall")
    assert placed[0].start_s == 86400 - 8.5


def test_an_event_without_length_is_shown_all_the_same() -> None:
    (placed,) = place([row("wave", 2.0, 2.0)])
    assert (placed.start_s, placed.end_s) == (2.0, 2.001)


def test_activitynet_is_read_as_its_evaluation_reads_it() -> None:
    made = json.loads(text(ROWS, "activitynet"))
    # What Evaluation/eval_detection.py of ActivityNet asks of the two files.
    assert {"database", "taxonomy", "version"} <= set(made)
    assert {"results", "version", "external_data"} <= set(made)
    truth = [
        (video, float(one["segment"][0]), float(one["segment"][1]), one["label"])
        for video, entry in made["database"].items()
        if entry["subset"] == "validation"
        for one in entry["annotations"]
    ]
    predicted = [
        (video, *map(float, one["segment"]), one["label"], one["score"])
        for video, found in made["results"].items()
        for one in found
    ]
    assert truth == [
        ("desk", 5.0, 6.0, "wave"),
        ("door", 1.5, 4.0, "wave"),
        ("door", 3.25, 12.0, NASTY),
    ]
    assert [one[:4] for one in predicted] == truth
    assert [one[4] for one in predicted] == [0.9, 0.9, 0.123]
    names = {node["nodeName"]: node for node in made["taxonomy"]}
    assert set(names) == {"Root", "wave", NASTY}
    assert names["wave"]["parentName"] == "Root"


def test_elan_is_valid_and_pympi_reads_it(tmp_path: Path) -> None:
    video = tmp_path / "my film.mp4"
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
    assert media["MEDIA_URL"].endswith("/my%20film.mp4")
    assert (media["RELATIVE_MEDIA_URL"], media["MIME_TYPE"]) == ("./my film.mp4", "video/mp4")


def test_elan_of_one_camera_names_tiers_by_label_and_survives_control_characters() -> None:
    document = ET.fromstring(text([row("wa\x00ve", 1, 2)], "elan"))
    assert [tier.get("TIER_ID") for tier in document.iter("TIER")] == ["wa\ufffdve"]
    check_eaf(document)


def test_parquet_has_types_and_utc_times(tmp_path: Path) -> None:
    file = tmp_path / "events.parquet"
    export_file(ROWS, file, "parquet")
    schema = pq.read_schema(file)
    assert schema.names == list(COLUMNS)
    assert str(schema.field("start").type) == "timestamp[ms, tz=UTC]"
    assert str(schema.field("end_s").type) == "double"
    frame = pd.read_parquet(file)
    assert frame["label"][1] == NASTY
    assert frame["start"][0] == BEGAN + timedelta(seconds=1.5)
    assert pd.isna(frame["end"][3])
    assert np.isnan(frame["end_s"][3])
    assert frame["end_s"][:3].tolist() == [4.0, 12.0, 6.0]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"parquet needs .*pyarrow.*'actionwatch\[parquet\]'"):
        export(ROWS, io.BytesIO(), "parquet")


def test_a_file_that_can_not_be_written_is_named_and_what_was_there_stays(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"is no file"):
        export_file(ROWS, tmp_path, "csv")
    with pytest.raises(ExportError, match=r"nowhere/x.csv can't be written: No such file"):
        export_file(ROWS, tmp_path / "nowhere" / "x.csv", "csv")
    kept = tmp_path / "kept.csv"
    kept.write_text("before")
    (tmp_path / "link.csv").symlink_to(kept)
    with pytest.raises(KeyError):
        export_file([{"id": "broken"}], kept, "csv")
    assert kept.read_text() == "before"
    export_file([], tmp_path / "link.csv", "csv")
    assert kept.read_text() == ",".join(COLUMNS) + "\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.csv", "link.csv"]


def test_formats_and_clocks_are_named_where_they_are_wrong() -> None:
    with pytest.raises(ExportError, match=r"'xml' must be one of jsonl, csv"):
        export([], io.StringIO(), "xml")
    with pytest.raises(ExportError, match="clock 'sun' must be one of media, wall"):
        Options(clock="sun")
    assert set(FORMATS) > BINARY


def test_a_clock_that_began_anew_is_noticed() -> None:
    later = BEGAN + timedelta(hours=1)
    rows = [row("wave", 50, 60), row("wave", 49.5, 52), row("wave", 1, 2, camera="desk")]
    assert of_many_runs(rows) == []
    assert of_many_runs([*rows, row("wave", 3, 5, began=later)]) == ["door"]
    assert of_many_runs([rows[0], {**row("wave", rows[0]["start_s"], 5, began=later)}]) == ["door"]
    assert iso(later) > rows[0]["start"]


# The parts of EAFv3.0.xsd that an export has to do with: what may be in an element, in this order,
# and which attributes it must and may have.
PARTS: dict[str, tuple[tuple[str, ...], set[str], set[str]]] = {
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
        children, needed, allowed = PARTS[element.tag]
        places = [children.index(child.tag) for child in element]
        assert places == sorted(places)
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


def test_a_spreadsheet_calculates_nothing_of_what_it_is_given() -> None:
    rows = [row("=HYPERLINK(0)", 1.0, 2.0) | {"note": "@SUM(1)"}]
    found = list(csv.DictReader(io.StringIO(text(rows, "csv", spreadsheet=True))))
    assert (found[0]["label"], found[0]["note"]) == ("'=HYPERLINK(0)", "'@SUM(1)")
    assert next(csv.DictReader(io.StringIO(text(rows, "csv"))))["label"] == "=HYPERLINK(0)"
