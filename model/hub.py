"""Resolve a model name: an embedded checkpoint, a folder, or a Hugging Face repository."""

from __future__ import annotations

import logging
import textwrap
from dataclasses import dataclass
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

from model.checkpoint import WEIGHT_FILES, CheckpointError, read_family, shard_names
from model.families.base import FAMILIES
from model.model_folder import embedded, existing_path, local_folder
from stream.runtime.errors import first_line

_log = logging.getLogger(__name__)


def find_checkpoint(
    name: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """The folder of a model, downloaded first if it is on the Hugging Face hub.

    A Path is always a folder. revision is a branch, tag or commit of the hub; cache_dir replaces
    Hugging Face's default cache; local_files_only uses only files that are in the cache.
    Raises CheckpointError with the fix for an unknown model or an unreachable hub.
    """
    folder = local_folder(name)
    if folder:
        return folder
    path = existing_path(name)
    if not path and isinstance(name, str) and _is_repo_id(name):
        return _HubDownload(name, revision, cache_dir, local_files_only).folder()
    if path:
        raise CheckpointError(
            f"model {name} is a file; give its folder, or convert a .pyth file of the authors "
            "with `actionwatch convert`"
        )
    known = ", ".join(sorted(embedded()))
    raise CheckpointError(
        f"model {str(name)!r} is neither embedded ({known or 'none'}) nor a folder; "
        "give a folder with config.json and model.safetensors, or a name of the Hugging Face hub "
        "like facebook/timesformer-base-finetuned-k400"
    )


def _is_repo_id(name: str) -> bool:
    """Whether this is a valid repository id of the hub: owner/name."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


@dataclass
class _HubDownload:
    """Downloads the files of one model, all from the same commit."""

    _name: str
    _revision: str | None
    _cache_dir: str | Path | None
    _local_only: bool
    _connection_error: Exception | None = None

    def folder(self) -> Path:
        if not self._local_only:
            _log.info("model %s: looking on the Hugging Face hub", self._name)
            self._check_hub()
        config = self._download("config.json")
        if config is None:
            raise CheckpointError(f"model {self._name} has no config.json on the hub")
        self._revision = config.parent.name  # the commit; a branch may move meanwhile
        # Before its weights are downloaded.
        FAMILIES[read_family(config.parent)].check_config(config.parent)
        self._download("preprocessor_config.json")
        for file in WEIGHT_FILES:
            found = self._download(file)
            if found is None:
                continue
            for shard in shard_names(found) if found.suffix == ".json" else ():
                if self._download(shard) is None:
                    raise CheckpointError(f"model {self._name}: its shard {shard} is missing")
            return config.parent
        if self._local_only:
            raise self._unreachable_error(self._connection_error)
        raise CheckpointError(f"model {self._name} has no {' or '.join(WEIGHT_FILES[::2])}")

    def _check_hub(self) -> None:
        """Fall back to cached files if the hub does not respond.

        A single request: the download itself would retry five times, for half a minute.
        """
        try:
            get_hf_file_metadata(hf_hub_url(self._name, "config.json", revision=self._revision))
        except (HfHubHTTPError, EntryNotFoundError):
            pass  # the hub responds; the download raises the specific error
        except Exception as error:  # of the HTTP library that huggingface_hub uses
            self._connection_error, self._local_only = error, True

    def _download(self, file: str) -> Path | None:
        """The file in the cache, or None where the repository has no such file."""
        try:
            return Path(
                hf_hub_download(
                    self._name,
                    file,
                    revision=self._revision,
                    cache_dir=self._cache_dir,
                    local_files_only=self._local_only,
                )
            )
        except LocalEntryNotFoundError as error:
            # With config.json in the cache, a missing file may not exist on the hub either.
            if self._local_only and file != "config.json":
                return None
            cause = self._connection_error if self._local_only else error
            raise self._unreachable_error(cause) from error
        except EntryNotFoundError:
            return None
        except GatedRepoError as error:
            raise CheckpointError(
                f"model {self._name} is gated; accept its terms on its page of the hub, then run "
                "`hf auth login`"
            ) from error
        except RevisionNotFoundError as error:
            raise CheckpointError(
                f"model {self._name} has no revision {self._revision!r}"
            ) from error
        except RepositoryNotFoundError as error:
            raise CheckpointError(
                f"model {self._name!r} is neither a folder here nor on the Hugging Face hub; "
                "check the spelling, or run `hf auth login` if it is private"
            ) from error
        except HfHubHTTPError as error:
            raise self._unreachable_error(error) from error
        except OSError as error:
            raise CheckpointError(
                f"model {self._name} can't be stored: {error}; free disk space, or set HF_HOME to "
                "a folder on another disk"
            ) from error
        except Exception as error:  # as in _check_hub
            raise self._unreachable_error(error) from error

    def _unreachable_error(self, error: Exception | None) -> CheckpointError:
        reason = (
            textwrap.shorten(first_line(error), 160, placeholder="...")
            if error
            else "local files only"
        )
        return CheckpointError(
            f"model {self._name} is neither a folder nor in the cache, and can't be downloaded "
            f"from the Hugging Face hub ({reason}); check the spelling, connect to the network "
            "once, or copy its folder from another machine and give that folder as the model"
        )
