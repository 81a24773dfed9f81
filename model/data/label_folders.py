"""A folder with a folder of films for each label, and the tables in it that tell more of them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from model.data.annotation_rows import (
    Listed,
    Row,
    label_of,
    shown,
    split_in_name,
    split_of,
)
from model.data.annotations import read_table
from model.data.video_files import look_through
from model.data.video_index import Finder
from stream.datasets.export import LIST
from stream.datasets.labels import class_folder

# A folder with this file is also an event log, whose films these are.
_LOG, _LOGS_OWN = "events.sqlite", ("clips", "snapshots")
_SPLIT_FOLDERS = ("train", "val", "valid", "validation", "test")


@dataclass(slots=True)
class _Named:
    """A film that tables name; no rows where what they say of it can't be used."""

    by_table: dict[Path, list[Row]] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        return [row for rows in self.by_table.values() for row in rows]


def read_folder(folder: Path, films: Path) -> Listed:
    """Each film of a folder with its label; paths in its tables start from `films`.

    What a table says of a film goes before where it lies. Raises OSError where the folder can't be
    read.
    """
    tables, problems = _tables(folder)
    named, rows = _by_film(tables, Finder(films))
    through = look_through(folder)
    if (folder / _LOG).exists():
        films_left = tuple(film for film in through.films if film.parts[0] not in _LOGS_OWN)
        if films_left != through.films:
            problems.append(
                f"{shown(folder)}: is an event log, whose clips have no labels yet; `actionwatch "
                "events dataset` makes a folder of those that were reviewed"
            )
        through = replace(through, films=films_left)
    # The folder of an awkward label is called a little otherwise.
    labels = {class_folder(row.label): row.label for one in named.values() for row in one.rows}
    splits = _split_folders(through.films)
    for film in through.films:
        inside = film.parts[1:] if splits else film.parts
        split = splits.get(film.parts[0], "")
        said = named.pop(_key(folder / film), None)
        if said is not None:
            rows += [replace(row, split=row.split or split) for row in said.rows]
            continue
        row = Row(film.as_posix(), path=film.as_posix(), file=folder / film)
        if splits and not split:
            beside = " and ".join(sorted(splits))
            rows.append(replace(row, problem=f"lies beside {beside}, in none of them"))
        elif len(inside) < 2:
            rows.append(replace(row, problem="lies in no folder that is called as its label"))
        else:
            called = unicodedata.normalize("NFC", inside[0])
            rows.append(_labelled(row, labels.get(called, called), split))
    rows += [row for one in named.values() for row in one.rows]  # they lie elsewhere
    return Listed(folder, tuple(rows), problems=(*problems, *through.problems))


def _tables(folder: Path) -> tuple[list[Listed], list[str]]:
    """The tables of films in a folder, clips.csv first; and a line for each that can't be read."""
    tables: list[Listed] = []
    problems: list[str] = []
    # Hidden ones are notes of file systems.
    files = [file for file in folder.iterdir() if file.suffix.lower() == ".csv"]
    for file in sorted(files, key=lambda file: (file.name != LIST, file.name)):
        if file.name.startswith(".") or not file.is_file():
            continue
        try:
            table = read_table(file)
        except OSError as error:
            problems.append(f"{shown(file.name)}: can't be read: {error.strerror or error}")
        except ValueError as error:
            problems.append(f"{shown(file.name)}: {error}")
        else:
            tables += [table] if table else []
    said = [split_in_name(table.file.stem) for table in tables]
    if "train" in said and {"val", "test"} & set(said):
        tables = [
            replace(table, rows=tuple(replace(row, split=row.split or split) for row in table.rows))
            for table, split in zip(tables, said, strict=True)
        ]
    return tables, problems


def _by_film(tables: Iterable[Listed], finder: Finder) -> tuple[dict[str, _Named], list[Row]]:
    """What the tables say of each film that is there; and the rows that can't be used."""
    named: dict[str, _Named] = {}
    unused: list[Row] = []
    for table in tables:
        for row in map(finder.find, table.rows):
            if row.file is None:
                unused.append(row)
                continue
            film = named.setdefault(_key(row.file), _Named())
            if row.problem:
                unused.append(row)
                continue
            said = [
                (by, one)
                for by, rows in film.by_table.items()
                for one in rows
                if by != table.file and _same_stretch(one, row)
            ]
            if not said:
                film.by_table.setdefault(table.file, []).append(row)
            elif row.label in {one.label for _, one in said}:
                for by, one in said:
                    more = replace(
                        one, source=one.source or row.source, split=one.split or row.split
                    )
                    film.by_table[by][film.by_table[by].index(one)] = more
            else:
                problem = f"{said[0][0].name} says otherwise of {row.path}; this row is left out"
                unused.append(replace(row, problem=problem))
    return named, unused


def _same_stretch(one: Row, other: Row) -> bool:
    """Whether two rows of a film speak of the same: one that says no stretch speaks of all."""
    stretches = [(row.start_s or 0.0, row.end_s) for row in (one, other)]
    return stretches[0] == stretches[1] or (0.0, None) in stretches


def _key(file: Path) -> str:
    """The same for each way to write a path."""
    return unicodedata.normalize("NFC", os.path.normcase(os.path.abspath(file)))


def _labelled(row: Row, called: str, split: str) -> Row:
    try:
        return replace(row, label=label_of(called), split=split)
    except ValueError as error:
        return replace(row, problem=str(error))


def _split_folders(films: Sequence[Path]) -> dict[str, str]:
    """The folders on top that are splits, with the name of the split; none where all are labels.

    A label may be called "train", too. Its folder holds films, or it lies beside other labels.
    """
    tops = {film.parts[0] for film in films if len(film.parts) > 1}
    deep = {film.parts[0] for film in films if len(film.parts) > 2}
    splits = {top: split_of(top) for top in deep if top.casefold() in _SPLIT_FOLDERS}
    both = "train" in splits.values() and len(set(splits.values())) > 1
    return splits if both or set(splits) == tops else {}
