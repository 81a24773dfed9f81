from __future__ import annotations

import json
from pathlib import Path

import pytest

from stream.evaluation.ground_truth import read_ground_truth
from stream.formats.ground_truth import GroundTruthError, GroundTruthSegment
from tests.event_files import exported, written
from tests.event_samples import NASTY, ROWS


def test_activitynet_has_the_keys_of_its_evaluation() -> None:
    content = json.loads(exported(ROWS, "activitynet"))
    # The required keys of the two files in ActivityNet's Evaluation/eval_detection.py.
    assert {"database", "taxonomy", "version"} <= set(content)
    assert {"results", "version", "external_data"} <= set(content)
    truth = [
        (video, float(one["segment"][0]), float(one["segment"][1]), one["label"])
        for video, entry in content["database"].items()
        if entry["subset"] == "validation"
        for one in entry["annotations"]
    ]
    predicted = [
        (video, *map(float, one["segment"]), one["label"], one["score"])
        for video, found in content["results"].items()
        for one in found
    ]
    assert truth == [
        ("desk", 5.0, 6.0, "wave"),
        ("door", 1.5, 4.0, "wave"),
        ("door", 3.25, 12.0, NASTY),
    ]
    assert [one[:4] for one in predicted] == truth
    assert [one[4] for one in predicted] == [0.9, 0.9, 0.123]
    names = {node["nodeName"]: node for node in content["taxonomy"]}
    assert set(names) == {"Root", "wave", NASTY}
    assert names["wave"]["parentName"] == "Root"


def test_activitynet_files_without_actions_are_read(tmp_path: Path) -> None:
    annotations = [{"segment": [1, 2.5], "label": "wave"}, {"segment": ["3", "4"], "label": "戸"}]
    database = {
        "v1": {"subset": "training", "duration": 60, "annotations": annotations},
        "v2": {"subset": "testing", "annotations": []},
    }
    whole = {"version": "VERSION 1.3", "taxonomy": [], "database": database}
    truth = read_ground_truth(written(tmp_path, json.dumps(whole), "t.json"))
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
    file = written(tmp_path, text, "t.json")
    with pytest.raises(GroundTruthError) as caught:
        read_ground_truth(file)
    for word in [str(file), *words]:
        assert word in str(caught.value)
