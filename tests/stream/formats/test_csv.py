from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path

import pyarrow
import pyarrow.csv
import pytest

from stream.evaluation.ground_truth import read_ground_truth
from stream.formats.ground_truth import GroundTruthError, GroundTruthSegment
from stream.sinks.event_log.rows import COLUMNS
from tests.event_files import exported, written
from tests.event_samples import NASTY, ROWS, row


def test_csv_preserves_quotes_commas_newlines_and_unicode() -> None:
    content = exported(ROWS, "csv")
    read = list(csv.DictReader(io.StringIO(content, newline="")))
    assert [one["label"] for one in read] == ["wave", NASTY, "wave", "jump"]
    assert (read[1]["peak"], read[3]["end"], read[3]["end_s"]) == ("0.123", "", "")
    assert (read[0]["start"], read[0]["start_s"]) == ("2026-01-31T23:59:51.500Z", "1.5")
    table = pyarrow.csv.read_csv(
        io.BytesIO(content.encode()),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
    )
    assert tuple(table.column_names) == COLUMNS
    first, second, *_ = table.to_pylist()
    assert second["label"] == NASTY
    assert first["end"] - first["start"] == timedelta(seconds=2.5)


def test_spreadsheet_formulas_are_escaped() -> None:
    rows = [row("=HYPERLINK(0)", 1.0, 2.0) | {"note": "@SUM(1)"}]
    found = list(csv.DictReader(io.StringIO(exported(rows, "csv", spreadsheet=True))))
    assert (found[0]["label"], found[0]["note"]) == ("'=HYPERLINK(0)", "'@SUM(1)")
    assert next(csv.DictReader(io.StringIO(exported(rows, "csv"))))["label"] == "=HYPERLINK(0)"


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
    truth = read_ground_truth(written(tmp_path, text))
    assert list(truth.segments) == [GroundTruthSegment(*one) for one in expected]
    assert truth.files == (tuple(dict.fromkeys(one[0] for one in expected)) or ("walk",))


def test_csv_row_without_label_is_a_file_without_actions(tmp_path: Path) -> None:
    truth = read_ground_truth(written(tmp_path, "file,label,start,end\nempty,,,\nwalk,wave,1,2\n"))
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
    file = written(tmp_path, text)
    with pytest.raises(GroundTruthError) as caught:
        read_ground_truth(file)
    for word in [str(file), *words]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
