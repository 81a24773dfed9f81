"""What a model's name means: an embedded checkpoint, a folder, or one of the Hugging Face hub."""

from __future__ import annotations

import contextlib
import logging
import textwrap
from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from model.checkpoint import WEIGHT_FILES, CheckpointError, read_config, shard_names

EMBEDDED = Path(__file__).parent / "weights"
_log = logging.getLogger(__name__)


def find(
    name: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """The folder that a model's name means, fetched first where it is one of the hub. A Path
    always means a folder.

    revision is a branch, tag or commit of the hub; cache_dir is where fetched files are kept, else
    Hugging Face's usual place; local_files_only takes only what was fetched before.
    Raises CheckpointError with the way out where there is no such model, or no network.
    """
    embedded = {path.parent.name: path.parent for path in EMBEDDED.glob("*/config.json")}
    if isinstance(name, str) and name in embedded:
        return embedded[name]
    path = _existing(name)
    if path and path.is_dir():
        return path
    if not path and isinstance(name, str) and _of_hub(name):
        return _Fetch(name, revision, cache_dir, local_files_only).folder()
    if path:
        raise CheckpointError(
            f"model {name} is a file; give its folder, or make one of the authors' .pyth files "
            "with `actionwatch convert`"
        )
    known = ", ".join(sorted(embedded))
    raise CheckpointError(
        f"model {str(name)!r} is neither embedded ({known or 'none'}) nor a folder; "
        "give a folder with config.json and model.safetensors, or a name of the Hugging Face hub "
        "like facebook/timesformer-base-finetuned-k400"
    )


def _existing(name: str | Path) -> Path | None:
    with contextlib.suppress(OSError, RuntimeError):  # no file name: too long, or ~ of nobody
        path = Path(name).expanduser()
        if path.exists():
            return path
    return None


def _of_hub(name: str) -> bool:
    """Whether this may be a name of the hub: someone/something."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def short_name(name: str | Path, folder: Path) -> str:
    """What to call a model in logs: the last part of its name."""
    return Path(name).name or folder.resolve().name


class _Fetch:
    """Fetches the files of one model, each from the same commit."""

    def __init__(
        self, name: str, revision: str | None, cache_dir: str | Path | None, local: bool
    ) -> None:
        self._name, self._cache_dir, self._local = name, cache_dir, local
        self._revision = revision
        self._trouble: Exception | None = None  # on the way to the hub

    def folder(self) -> Path:
        if not self._local:
            _log.info("model %s: looking on the Hugging Face hub", self._name)
            self._reach()
        config = self._get("config.json")
        if config is None:
            raise CheckpointError(f"model {self._name}: has no config.json on the hub")
        self._revision = config.parent.name  # the commit; a branch may move on meanwhile
        read_config(config.parent)  # another kind of model is told before its weights are fetched
        self._get("preprocessor_config.json")
        for file in WEIGHT_FILES:
            found = self._get(file)
            if found is None:
                continue
            for shard in shard_names(found) if found.suffix == ".json" else ():
                if self._get(shard) is None:
                    raise CheckpointError(f"model {self._name}: its shard {shard} is missing")
            return config.parent
        if self._local:
            raise self._unreachable(self._trouble)
        raise CheckpointError(f"model {self._name}: has no {' or '.join(WEIGHT_FILES[::2])}")

    def _reach(self) -> None:
        """Without an answer of the hub, what was fetched before must do.

        One question first: the download itself asks five times, for half a minute.
        """
        try:
            get_hf_file_metadata(hf_hub_url(self._name, "config.json", revision=self._revision))
        except (HfHubHTTPError, EntryNotFoundError):
            pass  # an answer; the download tells what it means
        except Exception as error:  # of whichever HTTP library the hub's client is made with
            self._trouble, self._local = error, True

    def _get(self, file: str) -> Path | None:
        """The file in the cache, or None where the hub has none of that name."""
        try:
            return Path(
                hf_hub_download(
                    self._name,
                    file,
                    revision=self._revision,
                    cache_dir=self._cache_dir,
                    local_files_only=self._local,
                )
            )
        except LocalEntryNotFoundError as error:
            # Of a model whose config.json is here the other files may well not exist.
            if self._local and file != "config.json":
                return None
            raise self._unreachable(self._trouble if self._local else error) from error
        except EntryNotFoundError:
            return None
        except GatedRepoError as error:
            raise CheckpointError(
                f"model {self._name}: its owners want you to accept terms; do so on its page of "
                "the hub, then `hf auth login`"
            ) from error
        except RevisionNotFoundError as error:
            raise CheckpointError(
                f"model {self._name}: has no revision {self._revision!r}"
            ) from error
        except RepositoryNotFoundError as error:
            raise CheckpointError(
                f"model {self._name!r} is neither a folder here nor on the Hugging Face hub; "
                "check the spelling, or `hf auth login` where it is private"
            ) from error
        except HfHubHTTPError as error:
            raise self._unreachable(error) from error
        except OSError as error:
            raise CheckpointError(
                f"model {self._name} can't be kept: {error}; make room, or set HF_HOME to a folder "
                "that has it"
            ) from error
        except Exception as error:  # as in _reach
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception | None) -> CheckpointError:
        reason = _first_line(error) if error else "asked for local files only"
        return CheckpointError(
            f"model {self._name} is no folder here, was not fetched before, and can't be fetched "
            f"from the Hugging Face hub now ({reason}); check the spelling, connect to the network "
            "once, or copy its folder from another machine and give that folder as the model"
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[0], 160, placeholder="...")
