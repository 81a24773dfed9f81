"""Models of the Hugging Face hub, from a small real server that answers as the hub does."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from model import TimesformerForVideoClassification, TimesformerModel
from model.checkpoint import CheckpointError
from model.hub import find
from model.trained_model import TrainedModel, load, save

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/tiny"


class Hub(ThreadingHTTPServer):
    """Serves a folder as the model NAME, and remembers which files were fetched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.folder = folder
        self.fetched: list[str] = []


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self._answer(send=True)

    def _answer(self, *, send: bool) -> None:
        model, _, rest = self.path.removeprefix("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        path = self.server.folder / file
        problem = ""
        if model != NAME:
            problem = "RepoNotFound"
        elif revision not in ("main", COMMIT):
            problem = "RevisionNotFound"
        elif not path.is_file():
            problem = "EntryNotFound"
        body = b"" if problem else path.read_bytes()
        self.send_response(404 if problem else 200)
        if problem:
            self.send_header("X-Error-Code", problem)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if send:
            if model == NAME:  # other programs ask any port for anything
                self.server.fetched.append(file)
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    save(trained, tmp_path / "served")
    with Hub(tmp_path / "served") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        _be_at(f"http://127.0.0.1:{server.server_port}", monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server
        server.shutdown()
        thread.join()


def _be_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def test_a_model_of_the_hub_is_fetched_once(hub: Hub, trained: TrainedModel) -> None:
    first = load(NAME)
    assert first.spec == trained.spec  # also its name, "tiny"
    assert torch.equal(first.network.classifier.weight, trained.network.classifier.weight)
    fetched = sorted(hub.fetched)
    assert fetched == ["config.json", "model.safetensors", "preprocessor_config.json"]
    load(NAME)
    assert sorted(hub.fetched) == fetched


@pytest.mark.parametrize("network", [TimesformerModel, TimesformerForVideoClassification])
def test_from_pretrained_takes_hub_names(
    hub: Hub, tmp_path: Path, network: type[TimesformerModel]
) -> None:
    cache = tmp_path / "elsewhere"
    loaded = network.from_pretrained(NAME, revision=COMMIT, cache_dir=cache)
    assert loaded.config.hidden_size == 32
    network.from_pretrained(NAME, cache_dir=cache, revision=COMMIT, local_files_only=True)
    with pytest.raises(CheckpointError, match="asked for local files only"):
        network.from_pretrained(NAME, local_files_only=True)


def test_what_was_fetched_serves_without_a_network(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(NAME)
    _be_at("http://127.0.0.1:9", monkeypatch)  # nobody listens there
    assert load(NAME).spec == before.spec


def test_no_network_and_nothing_fetched_tells_the_way_out(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    _be_at("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(CheckpointError) as caught:
        load(NAME)
    for words in (NAME, "refused", "connect to the network once", "copy its folder"):
        assert words in str(caught.value)


def test_shards_are_fetched_as_well(hub: Hub) -> None:
    shard_up(hub.folder)
    load(NAME)
    assert "model-00002-of-00002.safetensors" in hub.fetched
    (hub.folder / "model-00001-of-00002.safetensors").rename(hub.folder / "away")
    with pytest.raises(CheckpointError, match="shard model-00001-of-00002"):
        find(NAME, cache_dir=hub.folder.parent / "another")


def test_old_models_have_a_pickle_only(hub: Hub) -> None:
    from safetensors.torch import load_file

    file = hub.folder / "model.safetensors"
    torch.save(load_file(file), hub.folder / "pytorch_model.bin")
    file.unlink()
    load(NAME)
    assert "pytorch_model.bin" in hub.fetched


@pytest.mark.parametrize(
    ("name", "revision", "words"),
    [
        ("someone/else", None, "'someone/else' is neither a folder here nor on the Hugging Face"),
        (NAME, "v9", "has no revision 'v9'"),
    ],
)
def test_what_the_hub_does_not_have_is_named(
    hub: Hub, name: str, revision: str | None, words: str
) -> None:
    with pytest.raises(CheckpointError, match=words):
        find(name, revision=revision)


def test_a_repository_without_weights_is_named(hub: Hub) -> None:
    (hub.folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors or pytorch_model\.bin"):
        find(NAME)
    (hub.folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no config\.json on the hub"):
        find(NAME)


def test_another_kind_of_model_is_told_before_its_weights_are_fetched(hub: Hub) -> None:
    file = hub.folder / "config.json"
    file.write_text(file.read_text().replace('"timesformer"', '"videomae"'))
    with pytest.raises(CheckpointError, match="is of a 'videomae' model"):
        find(NAME)
    assert hub.fetched == ["config.json"]


def test_half_a_download_is_not_taken_for_a_model(hub: Hub) -> None:
    (hub.folder / "model.safetensors").rename(hub.folder / "away")
    with pytest.raises(CheckpointError):
        find(NAME)
    with pytest.raises(CheckpointError, match="asked for local files only"):
        find(NAME, local_files_only=True)


def test_a_cache_that_cannot_be_written_is_named(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=f"{NAME} can't be kept: .*HF_HOME"):
        find(NAME, cache_dir=tmp_path / "file")


def test_a_path_is_never_an_embedded_model(
    tmp_path: Path, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(trained, tmp_path / "motion")
    assert find(Path("motion")).resolve() == tmp_path / "motion"
    assert find("motion") != find(Path("motion"))


@pytest.mark.parametrize(
    "name",
    [
        *("nothing", "./some/where", "/some/where", "a/b/c", "a/b..c", "a/b.git"),
        *("~nobody/x", "..", "", "x" * 300),
    ],
)
def test_what_can_be_no_name_of_the_hub_is_not_asked_for(name: str, hub: Hub) -> None:
    if name in ("..", ""):  # these are folders, without a checkpoint
        with pytest.raises(CheckpointError, match=r"config\.json"):
            load(name)
    else:
        with pytest.raises(CheckpointError, match="neither embedded"):
            find(name)
    assert not hub.fetched


def shard_up(folder: Path) -> None:
    """Write a folder's weights anew as two files and an index."""
    import json

    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    weight_map = {}
    for number, half in enumerate(halves, start=1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in half}, folder / file)
        weight_map |= dict.fromkeys(half, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
