from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import datetime
from pathlib import Path

import pympi
import pytest

from stream.evaluation.ground_truth import read_ground_truth
from stream.formats.base import Options, export_file
from stream.formats.ground_truth import GroundTruthError, GroundTruthSegment
from tests.event_files import exported, written
from tests.event_samples import NASTY, ROWS, row

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


def test_export_without_events_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "none.eaf"
    assert export_file([], file, "elan") == 0
    check_eaf(ET.parse(file).getroot())


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
    document = ET.fromstring(exported([row("wa\x00ve", 1, 2)], "elan"))
    assert [tier.get("TIER_ID") for tier in document.iter("TIER")] == ["wa\ufffdve"]
    check_eaf(document)


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
    truth = read_ground_truth(written(tmp_path, eaf(tier), "walk.eaf"))
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
    file = written(tmp_path, text, "t.eaf")
    with pytest.raises(GroundTruthError) as caught:
        read_ground_truth(file)
    for word in [str(file), *words]:
        assert word in str(caught.value)
