"""Models of the Hugging Face hub, from a local server with the hub's protocol."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from model.checkpoint import CheckpointError
from model.families.timesformer.network import TimesformerForVideoClassification, TimesformerModel
from model.hub import find_checkpoint
from model.model_folder import EMBEDDED, local_folder
from model.trained_model import TrainedModel, load, save
from tests.model.color_family import color_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/tiny"


class Hub(ThreadingHTTPServer):
    """Serves a folder as the model NAME, and records the downloaded files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.downloads: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._respond(send_body=False)

    def do_GET(self) -> None:
        self._respond(send_body=True)

    def _respond(self, *, send_body: bool) -> None:
        model, _, rest = self.path.removeprefix("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        path = self.server.folder / file
        error = ""
        if model != NAME:
            error = "RepoNotFound"
        elif revision not in ("main", COMMIT):
            error = "RevisionNotFound"
        elif not path.is_file():
            error = "EntryNotFound"
        body = b"" if error else path.read_bytes()
        self.send_response(404 if error else 200)
        if error:
            self.send_header("X-Error-Code", error)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if send_body:
            if model == NAME:  # other programs may send requests to any port
                self.server.downloads.append(file)
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    save(trained, tmp_path / "served")
    with Hub(tmp_path / "served") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        _set_endpoint(f"http://127.0.0.1:{server.server_port}", monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server
        server.shutdown()
        thread.join()


def _set_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def test_a_model_of_the_hub_is_downloaded_once(hub: Hub, trained: TrainedModel) -> None:
    first = load(NAME)
    assert first.spec == trained.spec  # including its name, "tiny"
    assert torch.equal(first.network.classifier.weight, trained.network.classifier.weight)
    downloads = sorted(hub.downloads)
    assert downloads == ["config.json", "model.safetensors", "preprocessor_config.json"]
    load(NAME)
    assert sorted(hub.downloads) == downloads


@pytest.mark.parametrize("network", [TimesformerModel, TimesformerForVideoClassification])
def test_from_pretrained_accepts_hub_names(
    hub: Hub, tmp_path: Path, network: type[TimesformerModel]
) -> None:
    cache = tmp_path / "elsewhere"
    loaded = network.from_pretrained(NAME, revision=COMMIT, cache_dir=cache)
    assert loaded.config.hidden_size == 32
    network.from_pretrained(NAME, cache_dir=cache, revision=COMMIT, local_files_only=True)
    with pytest.raises(CheckpointError, match="local files only"):
        network.from_pretrained(NAME, local_files_only=True)


def test_cached_models_load_without_a_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(NAME)
    _set_endpoint("http://127.0.0.1:9", monkeypatch)  # closed port
    assert load(NAME).spec == before.spec


def test_no_network_and_an_empty_cache_is_an_error_with_the_fix(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set_endpoint("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(CheckpointError) as caught:
        load(NAME)
    for words in (NAME, "refused", "connect to the network once", "copy its folder"):
        assert words in str(caught.value)


def test_shards_are_downloaded(hub: Hub) -> None:
    split_into_shards(hub.folder)
    load(NAME)
    assert "model-00002-of-00002.safetensors" in hub.downloads
    (hub.folder / "model-00001-of-00002.safetensors").rename(hub.folder / "away")
    with pytest.raises(CheckpointError, match="shard model-00001-of-00002"):
        find_checkpoint(NAME, cache_dir=hub.folder.parent / "another")


def test_models_with_only_a_pickle_are_downloaded(hub: Hub) -> None:
    from safetensors.torch import load_file

    file = hub.folder / "model.safetensors"
    torch.save(load_file(file), hub.folder / "pytorch_model.bin")
    file.unlink()
    load(NAME)
    assert "pytorch_model.bin" in hub.downloads


@pytest.mark.parametrize(
    ("name", "revision", "words"),
    [
        ("someone/else", None, "'someone/else' is neither a folder here nor on the Hugging Face"),
        (NAME, "v9", "has no revision 'v9'"),
    ],
)
def test_an_unknown_repository_or_revision_is_named_in_the_error(
    hub: Hub, name: str, revision: str | None, words: str
) -> None:
    with pytest.raises(CheckpointError, match=words):
        find_checkpoint(name, revision=revision)


def test_a_repository_without_weights_or_config_is_rejected(hub: Hub) -> None:
    (hub.folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors or pytorch_model\.bin"):
        find_checkpoint(NAME)
    (hub.folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no config\.json on the hub"):
        find_checkpoint(NAME)


def test_an_unknown_model_family_is_rejected_before_its_weights_are_downloaded(hub: Hub) -> None:
    file = hub.folder / "config.json"
    file.write_text(file.read_text().replace('"timesformer"', '"videomae"'))
    with pytest.raises(CheckpointError, match=r"'videomae' model, .* use timesformer"):
        find_checkpoint(NAME)
    assert hub.downloads == ["config.json"]


def test_an_invalid_configuration_is_rejected_before_its_weights_are_downloaded(hub: Hub) -> None:
    file = hub.folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "attention_type": "none"}))
    with pytest.raises(CheckpointError, match="attention_type"):
        find_checkpoint(NAME)
    assert hub.downloads == ["config.json"]


def test_a_model_of_another_registered_family_is_downloaded(hub: Hub) -> None:
    (hub.folder / "preprocessor_config.json").unlink()  # of another input size
    with color_model(hub.folder):
        assert load(NAME).family == "color"
    assert "model.safetensors" in hub.downloads


def test_an_incomplete_download_is_not_used(hub: Hub) -> None:
    (hub.folder / "model.safetensors").rename(hub.folder / "away")
    with pytest.raises(CheckpointError):
        find_checkpoint(NAME)
    with pytest.raises(CheckpointError, match="local files only"):
        find_checkpoint(NAME, local_files_only=True)


def test_an_unwritable_cache_is_an_error_with_the_fix(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=f"{NAME} can't be stored: .*HF_HOME"):
        find_checkpoint(NAME, cache_dir=tmp_path / "file")


def test_a_path_is_never_an_embedded_model(
    tmp_path: Path, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(trained, tmp_path / "motion")
    assert find_checkpoint(Path("motion")).resolve() == tmp_path / "motion"
    assert find_checkpoint("motion") != find_checkpoint(Path("motion"))


@pytest.mark.parametrize(
    "name",
    [
        *("nothing", "./some/where", "/some/where", "a/b/c", "a/b..c", "a/b.git"),
        *("~nobody/x", "..", "", "x" * 300),
    ],
)
def test_invalid_repository_ids_are_not_requested(name: str, hub: Hub) -> None:
    if name in ("..", ""):  # these are folders, without a checkpoint
        with pytest.raises(CheckpointError, match=r"config\.json"):
            load(name)
    else:
        with pytest.raises(CheckpointError, match="neither embedded"):
            find_checkpoint(name)
    assert not hub.downloads


def split_into_shards(folder: Path) -> None:
    """Replace a folder's weights by two shards and an index."""
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


def test_embedded_models_and_paths_are_local(tmp_path: Path) -> None:
    folders = {path.parent.name: path.parent for path in EMBEDDED.glob("*/config.json")}
    assert {name: local_folder(name) for name in folders} == folders
    assert local_folder(str(tmp_path)) == tmp_path
    for name in ("facebook/timesformer-base-finetuned-k400", "~nobody-of-this-name/x", "x" * 5000):
        assert local_folder(name) is None
