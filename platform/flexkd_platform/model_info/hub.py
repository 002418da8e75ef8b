"""Models of the Hugging Face hub: requested once, with a time limit, and kept in the hub's cache.

A hub model is written `name` or `name@revision`; with a commit as its revision, it never changes.
"""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

# HTTPError is the base of all errors of the hub's HTTP client, whichever client that is.
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    NotASafetensorsRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    SafetensorsParsingError,
)

from .checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, INDEX, TOKENIZER_FILES, WEIGHTS
from .errors import ModelError, first_line
from .gguf_file import Shapes
from .quiet import quiet

Source = Path | str
"""What `locate` returns: a folder, or a hub model as `name` or `name@revision`."""

TIMEOUT_S = 10.0

_SMALL = [CONFIG, *TOKENIZER_FILES, ADAPTER_CONFIG, *ADAPTER_WEIGHTS]
_WEIGHTS = [WEIGHTS, INDEX, "model-*.safetensors"]
_COMMIT = re.compile(r"[0-9a-f]{40}")


def split_source(source: str) -> tuple[str, str | None]:
    """Split `name@revision` into its two parts; the revision is None if there is none."""
    name, _, revision = source.partition("@")
    return name, revision or None


def folder_of(source: Source, *, weights: bool) -> Path:
    """The folder of a model; a hub model is downloaded, its weights only if requested."""
    return source if isinstance(source, Path) else fetch(source, weights=weights)


def fetch(source: str, *, weights: bool) -> Path:
    """Folder of the hub's cache with a model's config, tokenizer and, if requested, weights.

    Missing files are downloaded; the folder's name is the commit. If the hub cannot be reached,
    the cached commit of this branch or tag is used, as in transformers.

    Raises:
        ModelError: no such model or revision, no access, or not reachable and not in the cache.
    """
    name, revision = split_source(source)
    reached = _reach(name, revision)
    try:
        with quiet():
            folder = snapshot_download(
                name,
                revision=revision,
                allow_patterns=_SMALL + (_WEIGHTS if weights else []),
                local_files_only=not reached,
            )
    except (OSError, HTTPError) as error:
        raise ModelError(
            f"the hub model {name!r} could not be downloaded ({type(error).__name__})",
            f"check the connection and the disk, or try `hf download {name}` by itself",
        ) from error
    return Path(folder)


def pinned(source: str, folder: Path) -> str:
    """A hub model as `name@commit`, which never changes, from its cache folder."""
    return f"{split_source(source)[0]}@{folder.name}"


def _reach(name: str, revision: str | None) -> bool:
    """Whether to use the hub (True) or only its cache; sends at most one request, without retries.

    The hub's own downloads wait without limit on a network that drops packets, so they start only
    once this request has succeeded.
    """
    cached = False
    try:
        cached = _is_cached(name, revision)
        if cached and revision is not None and _COMMIT.fullmatch(revision):
            return True  # a commit never changes; only missing files are requested
        HfApi().model_info(name, revision=revision, timeout=TIMEOUT_S)
    except HFValidationError as error:
        raise ModelError(
            f"{name!r} is neither a folder here nor the name of a hub model: {first_line(error)}",
            "name a folder, or a hub model as org/name",
        ) from None
    except RevisionNotFoundError:
        raise ModelError(
            f"the hub model {name!r} has no revision {revision!r}",
            "name one of its commits, tags or branches",
            "revision",
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"no folder and no hub model {name!r} that you may read",
            "check the name; for a gated or private model log in with `hf auth login`",
        ) from None
    except (OSError, HTTPError) as error:
        if cached:
            return False
        raise ModelError(
            f"{name!r} is not a folder here, and the hub cannot be reached to look for it "
            f"({type(error).__name__})",
            "name a folder, or download it once where there is a connection "
            f"(`hf download {name}`) and keep HF_HOME",
        ) from None
    return True


def remote_shapes(source: str) -> Shapes:
    """Name and shape of every weight of a pinned hub model, from the headers alone.

    Raises:
        ModelError: it has no safetensors weights, broken ones, or the hub cannot be reached.
    """
    name, commit = split_source(source)
    try:
        with quiet():
            metadata = HfApi().get_safetensors_metadata(name, revision=commit)
    except NotASafetensorsRepoError:
        raise ModelError(
            f"the hub model {name!r} holds no safetensors weights",
            "name a revision that does (often refs/pr/N), or convert it: load it with "
            "transformers and call save_pretrained",
        ) from None
    except (SafetensorsParsingError, OSError, HTTPError) as error:
        raise ModelError(
            f"the weights of the hub model {name!r} could not be read ({type(error).__name__})",
            f"check the connection, or try `hf download {name}` by itself",
        ) from error
    return {
        tensor: tuple(info.shape)
        for file in metadata.files_metadata.values()
        for tensor, info in file.tensors.items()
    }


def _is_cached(name: str, revision: str | None) -> bool:
    try:
        snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=[CONFIG])
    except LocalEntryNotFoundError:
        return False
    return True
