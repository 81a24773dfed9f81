from __future__ import annotations

import os
from pathlib import Path

import pytest

from stream.workers.curve_auth import KeysError, create_keys, server_keys, worker_keys


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_key_files_of_server_and_worker_match(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "keys"
    assert create_keys(folder) == (folder / "server.keys", folder / "worker.keys")
    server, worker = server_keys(folder / "server.keys"), worker_keys(folder / "worker.keys")
    assert server.workers == {worker.public: "worker"}
    assert worker.server == server.public
    assert len({server.public, server.secret, worker.public, worker.secret}) == 4
    assert server.secret not in repr(server)
    assert worker.secret not in repr(worker)


def test_key_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        create_keys(tmp_path / "keys")
        create_keys(tmp_path / "keys", "gpu-2")
    finally:
        os.umask(before)
    assert mode(tmp_path / "keys") == 0o700
    assert {mode(file) for file in (tmp_path / "keys").iterdir()} == {0o600}


def test_worker_is_added_and_removed_by_its_line(tmp_path: Path) -> None:
    create_keys(tmp_path)
    server_file = tmp_path / "server.keys"
    server_file.write_text(server_file.read_text().rstrip("\n"))  # as some editors leave it
    assert create_keys(tmp_path, "gpu-2") == (tmp_path / "gpu-2.keys",)
    server, second = server_keys(server_file), worker_keys(tmp_path / "gpu-2.keys")
    assert list(server.workers.values()) == ["worker", "gpu-2"]
    assert (server.workers[second.public], second.server) == ("gpu-2", server.public)
    left = [line for line in server_file.read_text().splitlines() if "gpu-2" not in line]
    server_file.write_text("\n".join(left))
    server = server_keys(server_file)
    assert list(server.workers.values()) == ["worker"]


def test_first_worker_may_have_a_name(tmp_path: Path) -> None:
    assert [file.name for file in create_keys(tmp_path, "gpu")] == ["server.keys", "gpu.keys"]


def test_key_files_are_never_overwritten(tmp_path: Path) -> None:
    create_keys(tmp_path)
    (tmp_path / "gpu.keys").touch()
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for name, words in (
        (None, "--worker NAME"),
        ("worker", "worker.keys exists already"),
        ("gpu", "gpu.keys exists already"),
        ("server", "can't be a worker's name"),
        ("../gpu", "can't be a worker's name"),
        ("a\nb", "can't be a worker's name"),
    ):
        with pytest.raises(KeysError, match=words):
            create_keys(tmp_path, name)
    (tmp_path / "worker.keys").unlink()
    with pytest.raises(KeysError, match="has a worker worker already; delete its line"):
        create_keys(tmp_path, "worker")
    del before[tmp_path / "worker.keys"]
    assert before == {file: file.read_bytes() for file in tmp_path.iterdir()}


def test_folder_that_other_users_may_write_to_is_rejected(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(KeysError, match=r"other users may write to .*; use a folder of your own"):
        create_keys(tmp_path)
    assert not list(tmp_path.iterdir())


def test_path_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeysError, match="file can't be written: File exists"):
        create_keys(tmp_path / "file")
    with pytest.raises(KeysError, match="inside can't be written: Not a directory"):
        create_keys(tmp_path / "file" / "inside")


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660])
def test_keys_that_other_users_may_read_are_rejected(tmp_path: Path, bits: int) -> None:
    create_keys(tmp_path)
    (tmp_path / "server.keys").chmod(bits)
    with pytest.raises(KeysError, match=r"other users may read; `chmod 600 .*server\.keys`"):
        server_keys(tmp_path / "server.keys")


def test_key_files_can_not_be_mixed_up(tmp_path: Path) -> None:
    create_keys(tmp_path)
    with pytest.raises(KeysError, match=r"is the file of a worker; the server needs server\.keys"):
        server_keys(tmp_path / "worker.keys")
    with pytest.raises(KeysError, match="no line with the server's key"):
        worker_keys(tmp_path / "server.keys")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("secret ", "sceret ", "line 3 must be secret, public, server or `worker NAME`"),
        ("server ", "", "line 5 must be"),
        ("server ", "worker a b ", "line 5 must be"),
        ("server ", "server #", "line 5 must be"),  # a key with one character too many
        ("server ", "server " + 40 * "#" + "\nworker a ", "line 5 must be"),  # too large a number
        ("public ", "# public ", "no line `public KEY`"),
        ("public ", "public rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\n# ", "are not a pair"),
        (
            "secret ",
            "secret rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\nsecret ",
            "line 4 is a duplicate",
        ),
    ],
)
def test_invalid_line_is_named_without_its_secret(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    create_keys(tmp_path)
    file = tmp_path / "worker.keys"
    keys = worker_keys(file)
    text = file.read_text()
    file.write_text(text.replace(f"\n{old}", f"\n{new}"))
    assert file.read_text() != text
    with pytest.raises(KeysError, match=words) as caught:
        worker_keys(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert keys.secret not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"\0" * 100, None])
def test_file_without_keys_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "server.keys"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    with pytest.raises(KeysError, match=r"server\.keys .*") as caught:
        server_keys(file)
    assert "\n" not in str(caught.value)
