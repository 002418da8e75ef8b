"""Data sets of the Hugging Face hub, always at one commit.

`datasets` itself retries for half a minute when the hub does not answer, and then reads whatever
its cache holds, of whatever commit. Here the commit is asked for first, once; what is then read
is of that commit or an error. With `HF_HUB_OFFLINE=1` the cached copy is what is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from ..spec import HubData, Problem, SpecError, Task, sha256_of
from .columns import Columns, listed, shortened
from .reading import READING_VERSION, Examples, Reading
from .splits import SPLITS

TIMEOUT = 10.0
"""Seconds until the hub counts as not reachable."""

_INSTEAD = (
    "use files on this machine (source: files) or the data set that is always there "
    "(source: builtin)"
)


def read_hub(task: Task, path: str) -> Reading:
    """The text and label columns of a data set's train, validation and test splits.

    A validation or test split whose labels are all -1 (GLUE's way of keeping them back) counts as
    missing.
    """
    data = task.data
    assert isinstance(data, HubData), "READERS goes by the source"
    place = f"{path}.name"
    try:
        dataset, commit = _dataset(data, path)
    except SpecError as error:
        return Reading(place, problems=error.problems)
    problems = []
    if "train" not in dataset:
        message = f"{_title(data)} has no split 'train', but {listed(list(dataset))}"
        problems.append(Problem(place, message, _INSTEAD))
    splits = {}
    for name in SPLITS:
        if name not in dataset:
            continue
        origin = f"{_title(data)} ({name})"
        absent = Columns(data.text, data.label, origin, path).absent(dataset[name].column_names)
        problems += absent
        if absent:
            continue
        table = dataset[name].select_columns([data.text, data.label]).with_format("arrow")[:]
        table = pa.table({"text": table[data.text], "label": table[data.label]})
        if name == "train" or not _unlabelled(table["label"]):
            splits[name] = Examples(table, origin)
    identity = {"name": data.name, "config": data.config, "commit": commit}
    fingerprint = "" if problems else sha256_of({**identity, "version": READING_VERSION})
    return Reading(place, splits, fingerprint, tuple(problems))


def _title(data: HubData) -> str:
    return f"{data.name}/{data.config}" if data.config else data.name


def _unlabelled(label: pa.ChunkedArray) -> bool:
    kind = label.type
    if len(label) == 0 or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return False
    return bool(np.all(label.to_numpy() == -1))


def _dataset(data: HubData, path: str) -> tuple[Any, str]:
    """The data set, by split, and its commit.

    Raises:
        SpecError: it can't be had, and what to do about it.
    """
    import datasets  # takes a second; most jobs never need it
    from huggingface_hub import is_offline_mode

    # httpx's base class, which connection errors share with no built-in one.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    offline = is_offline_mode()
    commit = None if offline else _commit(data, path)
    try:
        # The prefix keeps a folder of that name, wherever the command runs, from being read.
        builder = datasets.load_dataset_builder(
            f"hf://datasets/{data.name}", data.config, revision=commit or data.revision
        )
        _check_commit(str(builder.hash), commit, data, path)
        builder.download_and_prepare()
        return builder.as_dataset(), str(builder.hash)
    except SpecError:
        raise
    except ValueError as error:
        # An unknown configuration, or none where there are several; the message lists them.
        message = shortened(str(error), 300)
        raise SpecError([Problem(f"{path}.config", message, "name one of them")]) from None
    except (HTTPError, OSError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = shortened(str(error), 200)
        remedy = "unset HF_HUB_OFFLINE to ask the hub, or " + _INSTEAD if offline else _INSTEAD
        message = f"{_title(data)} cannot be loaded: {reason}"
        if offline:
            message = f"HF_HUB_OFFLINE is set, and {_title(data)} is not in the cache: {reason}"
        raise SpecError([Problem(f"{path}.name", message, remedy)]) from None


def _check_commit(read: str, commit: str | None, data: HubData, path: str) -> None:
    """Refuse another commit than the hub named (`commit`) or, offline, than the spec names."""
    if commit is not None and read != commit:
        message = f"the hub stopped answering while {_title(data)} was read"
        raise SpecError([Problem(f"{path}.name", message, "try again")])
    if commit is None and data.revision not in (None, read):
        message = f"HF_HUB_OFFLINE is set, and the cache holds commit {read} of {_title(data)}"
        remedy = "name that commit, or unset HF_HUB_OFFLINE"
        raise SpecError([Problem(f"{path}.revision", message, remedy)])


def _commit(data: HubData, path: str) -> str:
    """The commit that a data set's revision means now, asked for once, without retries.

    Raises:
        SpecError: the hub does not answer or does not know it.
    """
    from huggingface_hub import HfApi, errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        info = HfApi().dataset_info(data.name, revision=data.revision, timeout=TIMEOUT)
        return str(info.sha)
    except errors.GatedRepoError:
        message = f"the hub gives {data.name} only to those who asked for access"
        problem = Problem(f"{path}.name", message, "ask on its page, then set HF_TOKEN")
    except errors.RepositoryNotFoundError:
        message = f"the hub knows no data set {data.name!r}, or keeps it private"
        remedy = f"check the name; set HF_TOKEN if it is private; or {_INSTEAD}"
        problem = Problem(f"{path}.name", message, remedy)
    except errors.RevisionNotFoundError:
        message = f"{data.name} has no revision {data.revision!r}"
        remedy = "name a commit, tag or branch of it, or leave it out for the newest"
        problem = Problem(f"{path}.revision", message, remedy)
    except errors.HFValidationError:
        remedy = "a name is `name` or `owner/name`; for files on this machine use source: files"
        problem = Problem(f"{path}.name", f"{data.name!r} is no name of the hub", remedy)
    except (HTTPError, OSError) as error:
        reason = shortened(str(error), 200)
        message = f"the Hugging Face hub cannot be reached for {data.name}: {reason}"
        remedy = (
            f"{_INSTEAD}; or set HF_ENDPOINT to a mirror and HF_TOKEN to its token; "
            "or HF_HUB_OFFLINE=1 if the data set is in the cache"
        )
        problem = Problem(f"{path}.name", message, remedy)
    raise SpecError([problem])
