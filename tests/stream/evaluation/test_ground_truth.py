from __future__ import annotations

import json
from pathlib import Path

import pympi
import pytest

from stream.evaluation.ground_truth import read_ground_truth, read_rows
from stream.formats.base import export_file
from stream.formats.ground_truth import GroundTruthError, GroundTruthSegment
from tests.event_samples import NASTY, ROWS, row


def write(folder: Path, text: str, name: str = "walk.csv", encoding: str = "utf-8") -> Path:
    file = folder / name
    file.write_bytes(text.encode(encoding))
    return file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("label,start,end\nwave,1.5,3\n", [("walk", "wave", 1.5, 3.0)]),
        ("\ufeffLabel, Start ,END\r\nwave,0:01.5,0:00:03\r\n", [("walk", "wave", 1.5, 3.0)]),
        ("end;start;label;note\n1:00:03,5;7,25;wave;x\n", [("walk", "wave", 7.25, 3603.5)]),
        ("file\tlabel\tstart\tend\na.mp4\twave\t1\t3\n", [("a.mp4", "wave", 1.0, 3.0)]),
        ('camera,label,start,end\ndoor,"a ""b"",\nc",1,3\n', [("door", 'a "b",\nc', 1.0, 3.0)]),
        ("path,label,start,end\nv.mp4,wave,1,3\n", [("v.mp4", "wave", 1.0, 3.0)]),
        ('"video","label","start","end"\n\n"v",戸,1,3\n,,,\n', [("v", "戸", 1.0, 3.0)]),
        ("label,start,end\n", []),
    ],
    ids=[
        "plain",
        "bom and times",
        "semicolons",
        "tabs",
        "quotes",
        "path",
        "quoted header",
        "nothing",
    ],
)
def test_csv_variants_are_read(
    tmp_path: Path, text: str, expected: list[tuple[str, str, float, float]]
) -> None:
    truth = read_ground_truth(write(tmp_path, text))
    assert list(truth.segments) == [GroundTruthSegment(*one) for one in expected]
    assert truth.files == (tuple(dict.fromkeys(one[0] for one in expected)) or ("walk",))


def test_csv_row_without_label_is_a_file_without_actions(tmp_path: Path) -> None:
    truth = read_ground_truth(write(tmp_path, "file,label,start,end\nempty,,,\nwalk,wave,1,2\n"))
    assert truth.files == ("empty", "walk")
    assert len(truth.segments) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["first line must name label, start and end", "label is missing"]),
        ("label,start\nwave,1\n", ["end is missing"]),
        ("label,start,end\nwave,soon,3\n", ["line 2", "start 'soon'", "like 12.5 or 0:12.5"]),
        ("label,start,end\n\nwave,1,nan\n", ["line 3", "end 'nan'"]),
        ("label,start,end\nwave,1\n", ["line 2", "end ''"]),
        ("label,start,end\nwave,3,3\n", ["line 2", "end (3 s) must be after start (3 s)"]),
        ("label,start,end\n,1,3\n", ["line 2", "label is empty"]),
        ("file,label,start,end\n,wave,1,3\n", ["line 2", "file is empty"]),
        ("label,start,end\na,b,1,3\n", ["line 2", "4 values under 3 names", "quotes"]),
        ('label,start,end\n"wave,1,3\n', ["line 2", "not CSV"]),
        ("label,start,end\nwave,2026-01-31T00:00:00Z,3\n", ["line 2", "must be seconds"]),
    ],
)
def test_csv_errors_name_the_line(tmp_path: Path, text: str, words: list[str]) -> None:
    file = write(tmp_path, text)
    with pytest.raises(GroundTruthError) as caught:
        read_ground_truth(file)
    for word in [str(file), *words]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_files_are_reported(tmp_path: Path) -> None:
    file = write(tmp_path, "label,start,end\nöffnen,1,2\n", encoding="latin-1")
    with pytest.raises(GroundTruthError, match=r"walk.csv is not text in UTF-8; save it"):
        read_ground_truth(file)
    for name in ("no.csv", "no.eaf", "no.json"):
        with pytest.raises(GroundTruthError, match=f"{name} can't be read: No such file"):
            read_ground_truth(tmp_path / name)
    with pytest.raises(GroundTruthError, match=r"no.csv can't be read"):
        read_rows(tmp_path / "no.csv")


def test_activitynet_files_without_actions_are_read(tmp_path: Path) -> None:
    annotations = [{"segment": [1, 2.5], "label": "wave"}, {"segment": ["3", "4"], "label": "戸"}]
    database = {
        "v1": {"subset": "training", "duration": 60, "annotations": annotations},
        "v2": {"subset": "testing", "annotations": []},
    }
    whole = {"version": "VERSION 1.3", "taxonomy": [], "database": database}
    truth = read_ground_truth(write(tmp_path, json.dumps(whole), "t.json"))
    assert truth.files == ("v1", "v2")
    assert truth.segments == (
        GroundTruthSegment("v1", "wave", 1.0, 2.5),
        GroundTruthSegment("v1", "戸", 3.0, 4.0),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"database": \n}', ["line 2", "not JSON"]),
        ("[]", ["`database` is missing"]),
        ('{"results": {}}', ["`database` is missing"]),
        ('{"database": {"v": []}}', ["database 'v'", "`annotations` must be a list"]),
        (
            '{"database": {"v": {"annotations": [{"label": "x", "segment": [1]}]}}}',
            ["database 'v' annotation 1", "[start, end] in seconds"],
        ),
        (
            '{"database": {"v": {"annotations": [{"label": "x", "segment": [2, 1]}]}}}',
            ["database 'v' annotation 1", "must be after"],
        ),
    ],
)
def test_activitynet_errors_name_the_annotation(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    file = write(tmp_path, text, "t.json")
    with pytest.raises(GroundTruthError) as caught:
        read_ground_truth(file)
    for word in [str(file), *words]:
        assert word in str(caught.value)


def test_elan_file_written_by_pympi_is_read(tmp_path: Path) -> None:
    made = pympi.Elan.Eaf(author="somebody")
    made.remove_tier("default")
    made.add_tier("left hand")
    made.add_tier("right hand")
    made.add_annotation("left hand", 1500, 3000, "wave")
    made.add_annotation("right hand", 2000, 2500, " ")
    made.add_linked_file("file:///videos/a%20walk.mp4", mimetype="video/mp4", time_origin=500)
    file = tmp_path / "t.eaf"
    made.to_file(str(file))
    truth = read_ground_truth(file)
    assert truth.files == ("a walk",)
    assert set(truth.segments) == {
        GroundTruthSegment(
            "a walk", "wave", 2.0, 3.5
        ),  # the media starts 0.5 s before the annotations
        GroundTruthSegment(
            "a walk", "right hand", 2.5, 3.0
        ),  # empty value: the label is the tier name
    }
    by_tier = read_ground_truth(file, label_from="tier")
    assert {one.label for one in by_tier.segments} == {"left hand", "right hand"}


def eaf(tier: str, slots: str = "", header: str = "") -> str:
    return (
        f"<ANNOTATION_DOCUMENT><HEADER {header}/><TIME_ORDER>"
        '<TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/>'
        f'<TIME_SLOT TIME_SLOT_ID="ts2"/>{slots}</TIME_ORDER>'
        f'<TIER TIER_ID="hand">{tier}</TIER></ANNOTATION_DOCUMENT>'
    )


def annotation(first: str, last: str) -> str:
    return (
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="{first}" '
        f'TIME_SLOT_REF2="{last}"><ANNOTATION_VALUE>wave</ANNOTATION_VALUE>'
        "</ALIGNABLE_ANNOTATION></ANNOTATION>"
    )


def test_annotations_without_times_are_counted(tmp_path: Path) -> None:
    tier = (
        annotation("ts1", "ts2")
        + '<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a2" ANNOTATION_REF="a1"/></ANNOTATION>'
    )
    truth = read_ground_truth(write(tmp_path, eaf(tier), "walk.eaf"))
    assert (truth.files, truth.segments, truth.unaligned) == (("walk",), (), 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wave,1,2", ["is not XML"]),
        ("<html/>", ["holds html", "ANNOTATION_DOCUMENT"]),
        (eaf(annotation("ts1", "ts9")), ["annotation a1 of tier hand", "'ts9'"]),
        (
            eaf("", '<TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="1.5"/>'),
            ["TIME_SLOT ts3", "'1.5' must be milliseconds"],
        ),
        (
            eaf(annotation("ts1", "ts3"), '<TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="900"/>'),
            ["tier hand", "must be after"],
        ),
        (eaf("", header='TIME_UNITS="PAL-frames"'), ["PAL-frames", "expected milliseconds"]),
    ],
)
def test_elan_errors_name_the_element(tmp_path: Path, text: str, words: list[str]) -> None:
    file = write(tmp_path, text, "t.eaf")
    with pytest.raises(GroundTruthError) as caught:
        read_ground_truth(file)
    for word in [str(file), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("format_name", ["csv", "activitynet", "elan"])
def test_own_exports_are_valid_ground_truth(tmp_path: Path, format_name: str) -> None:
    rows = [row("wave", 1.5, 4.0), row(NASTY, 3.25, 12.0)]
    file = tmp_path / {"csv": "t.csv", "activitynet": "t.json", "elan": "door.eaf"}[format_name]
    export_file(rows, file, format_name)
    truth = read_ground_truth(file)
    assert truth.files == ("door",)
    label = " ".join(NASTY.split()) if format_name == "elan" else NASTY
    assert set(truth.segments) == {
        GroundTruthSegment("door", "wave", 1.5, 4.0),
        GroundTruthSegment("door", label, 3.25, 12.0),
    }


@pytest.mark.parametrize("format_name", ["jsonl", "csv"])
def test_rows_are_read_from_own_exports(tmp_path: Path, format_name: str) -> None:
    file = tmp_path / "log"
    export_file(ROWS, file, format_name)
    read = read_rows(file)
    assert len(read) == len(ROWS)
    for one, original in zip(read, ROWS, strict=True):
        assert all(
            one[key] == pytest.approx(original[key], abs=0.0005)
            for key in ("start_s", "end_s", "detected_s", "peak", "mean")
        )
        assert [one[key] for key in ("camera", "label", "start", "end")] == [
            original[key] for key in ("camera", "label", "start", "end")
        ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("camera,label,start,end\n", None),
        ("camera,label,start,end\na,b,1,2\n", ["line 2", "start_s is missing", "export"]),
        ('{"camera": "a"}\n', ["line 1", "label is missing"]),
        ("{}\n{\n", ["line 1"]),
        ('{"camera": 1, "label": 1, "start_s": [], "end_s": 1}', ["start_s [] must be a number"]),
        ("camera,label,start_s,end_s\na,b,,2\n", ["line 2", "start_s", "empty"]),
    ],
)
def test_invalid_event_files_are_reported(
    tmp_path: Path, text: str, words: list[str] | None
) -> None:
    file = write(tmp_path, text)
    if words is None:
        assert read_rows(file) == []
        return
    with pytest.raises(GroundTruthError) as caught:
        read_rows(file)
    for word in [str(file), *words]:
        assert word in str(caught.value)
