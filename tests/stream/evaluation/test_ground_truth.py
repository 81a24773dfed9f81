from __future__ import annotations

from pathlib import Path

import pytest

from stream.evaluation.ground_truth import read_ground_truth, read_rows
from stream.formats.base import export_file
from stream.formats.ground_truth import GroundTruthError, GroundTruthSegment
from tests.event_files import written
from tests.event_samples import NASTY, ROWS, row


def test_unreadable_files_are_reported(tmp_path: Path) -> None:
    file = written(tmp_path, "label,start,end\nöffnen,1,2\n", encoding="latin-1")
    with pytest.raises(GroundTruthError, match=r"walk.csv is not text in UTF-8; save it"):
        read_ground_truth(file)
    for name in ("no.csv", "no.eaf", "no.json"):
        with pytest.raises(GroundTruthError, match=f"{name} can't be read: No such file"):
            read_ground_truth(tmp_path / name)
    with pytest.raises(GroundTruthError, match=r"no.csv can't be read"):
        read_rows(tmp_path / "no.csv")


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
    file = written(tmp_path, text)
    if words is None:
        assert read_rows(file) == []
        return
    with pytest.raises(GroundTruthError) as caught:
        read_rows(file)
    for word in [str(file), *words]:
        assert word in str(caught.value)
