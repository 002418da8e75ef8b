"""Data sets of the Hugging Face hub, always at one commit.

`datasets` itself retries for half a minute when the hub does not answer, and then reads its cache,
at any commit. Here the commit is requested first, once; the data are then read at that commit, or
an error is raised. With `HF_HUB_OFFLINE=1` the cached copy is used.
"""

from __future__ import annotations

from typing import Any

from ..spec import HubSource, Problem, SpecError, SplitNames, Task, sha256_of
from .columns import Columns, column_names, label_column, listed, other_columns, shortened
from .reading import READING_VERSION, Examples, Purpose, Reading
from .roles import by_role, withheld
from .splits import SPLITS

TIMEOUT = 10.0
"""Seconds until the hub counts as not reachable."""

USUAL_NAMES = {"validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""Usual names of a split in data sets of the hub; the first one that exists is used."""

_INSTEAD = (
    "use files on this machine (source: files) or the data set that is always there "
    "(source: builtin)"
)


def read_hub(task: Task, path: str, purpose: Purpose) -> Reading:
    """The wanted columns of a data set's train, validation and test splits.

    A validation or test split that the spec does not name, and whose labels are all -1 (GLUE's
    way of keeping them back), counts as missing when training. An evaluation set must not be
    taken from train instead, so there it is a problem.
    """
    data = task.data
    assert isinstance(data, HubSource), "READERS goes by the source"
    columns, optional = column_names(data)
    place = f"{path}.name"
    try:
        dataset, commit = _dataset(data, path)
    except SpecError as error:
        return Reading(place, problems=error.problems)
    names, problems = _names(data, list(dataset), path, purpose)
    splits = {}
    for split, name in names.items():
        origin = f"{_title(data)} ({name})"
        wanted = Columns(columns, origin, path, optional, other_columns(data))
        there = dataset[name].column_names
        absent = wanted.absent(there)
        problems += absent
        if absent:
            continue
        selected = list(wanted.present(there).values())
        try:
            table = by_role(dataset[name].select_columns(selected).with_format("arrow")[:], wanted)
        except SpecError as error:
            problems += error.problems
            continue
        if split != "train" and "label" in table.column_names and withheld(table["label"]):
            if purpose == "training" and getattr(data.splits, split) is None:
                continue
            message = f"the labels of {origin} are withheld: all of them are -1"
            other = next((other for other in dataset if other not in ("train", name)), "train")
            remedy = f"name a split that has labels, as splits: {{{split}: {other}}}"
            problems.append(Problem(f"{path}.splits.{split}", message, remedy))
            continue
        splits[split] = Examples(table, origin, _class_names(dataset[name], wanted))
    identity = {"name": data.name, "config": data.config, "commit": commit, "splits": names}
    fingerprint = "" if problems else sha256_of({**identity, "version": READING_VERSION})
    return Reading(place, splits, fingerprint, tuple(problems))


def _class_names(split: Any, wanted: Columns) -> tuple[str, ...]:
    """The names of the classes, which a data set on the hub keeps beside their numbers."""
    feature = split.features.get(label_column(wanted.names))
    feature = getattr(feature, "feature", feature)  # of the entries of a list
    return tuple(getattr(feature, "names", None) or ())


def _names(
    data: HubSource, there: list[str], path: str, purpose: Purpose
) -> tuple[dict[str, str], list[Problem]]:
    """Split → its name on the hub, for existing splits; and problems of the names."""
    problems = []
    names = _usual_names(data.splits, there)
    for split in SPLITS:
        name = getattr(data.splits, split)
        if name is None or name in there or (purpose == "evaluation" and split != "test"):
            continue
        where = f"{path}.splits.{split}" if name != split else f"{path}.name"
        message = f"{_title(data)} has no split {name!r}, but {listed(there)}"
        remedy = f"name one of them under splits.{split}, or {_INSTEAD}"
        problems.append(Problem(where, message, remedy))
    if purpose == "evaluation":
        if problems:
            return {}, problems
        chosen = names.get("test", names.get("train"))
        if chosen is None:
            message = f"{_title(data)} has neither a test nor a train split, but {listed(there)}"
            remedy = "name one of them under splits.test"
            problems.append(Problem(f"{path}.splits.test", message, remedy))
        return {"test": chosen} if chosen else {}, problems
    for split, name in names.items():
        same = [other for other in names if names[other] == name]
        if same[0] != split:
            message = f"{name!r} is named as the {same[0]} split too"
            problems.append(Problem(f"{path}.splits.{split}", message, "name two different splits"))
    return names, problems


def _usual_names(named: SplitNames, there: list[str]) -> dict[str, str]:
    """Split → its name on the hub; a usual name is not used if the spec gives it to a split."""
    given = {split: name for split in SPLITS if (name := getattr(named, split)) is not None}
    names = {split: name for split, name in given.items() if name in there}
    for split, usual in USUAL_NAMES.items():
        free = [name for name in usual if name in there and name not in given.values()]
        if split not in given and free:
            names[split] = free[0]
    return {split: names[split] for split in SPLITS if split in names}


def _title(data: HubSource) -> str:
    return f"{data.name}/{data.config}" if data.config else data.name


def _dataset(data: HubSource, path: str) -> tuple[Any, str]:
    """The data set, by split, and its commit.

    Raises:
        SpecError: the data set cannot be loaded; the message gives a remedy.
    """
    import datasets  # takes a second; most jobs never need it
    from huggingface_hub import is_offline_mode

    # httpx's base class: its connection errors do not derive from a built-in one.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    offline = is_offline_mode()
    commit = None if offline else _commit(data, path)
    try:
        # The prefix prevents reading a local folder of that name.
        builder = datasets.load_dataset_builder(
            f"hf://datasets/{data.name}", data.config, revision=commit or data.revision
        )
        _check_commit(str(builder.hash), commit, data, path)
        builder.download_and_prepare()
        return builder.as_dataset(), str(builder.hash)
    except SpecError:
        raise
    except ValueError as error:
        # An unknown configuration, or none although there are several; the message lists them.
        message = shortened(str(error), 300)
        raise SpecError([Problem(f"{path}.config", message, "name one of them")]) from None
    except (HTTPError, OSError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = shortened(str(error), 200)
        remedy = "unset HF_HUB_OFFLINE to ask the hub, or " + _INSTEAD if offline else _INSTEAD
        message = f"{_title(data)} cannot be loaded: {reason}"
        if offline:
            message = f"HF_HUB_OFFLINE is set, and {_title(data)} is not in the cache: {reason}"
        raise SpecError([Problem(f"{path}.name", message, remedy)]) from None


def _check_commit(read: str, commit: str | None, data: HubSource, path: str) -> None:
    """Reject a commit other than the hub's (`commit`) or, offline, the one in the spec."""
    if commit is not None and read != commit:
        message = f"the hub stopped answering while {_title(data)} was read"
        raise SpecError([Problem(f"{path}.name", message, "try again")])
    if commit is None and data.revision not in (None, read):
        message = f"HF_HUB_OFFLINE is set, and the cache holds commit {read} of {_title(data)}"
        remedy = "name that commit, or unset HF_HUB_OFFLINE"
        raise SpecError([Problem(f"{path}.revision", message, remedy)])


def _commit(data: HubSource, path: str) -> str:
    """The commit that a data set's revision currently refers to; one request, without retries.

    Raises:
        SpecError: the hub does not answer or does not know it.
    """
    from huggingface_hub import HfApi, errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        info = HfApi().dataset_info(data.name, revision=data.revision, timeout=TIMEOUT)
        return str(info.sha)
    except errors.GatedRepoError:
        message = f"the hub data set {data.name} is gated"
        problem = Problem(f"{path}.name", message, "request access on its page, then set HF_TOKEN")
    except errors.RepositoryNotFoundError:
        message = f"there is no data set {data.name!r} on the hub, or it is private"
        remedy = f"check the name; set HF_TOKEN if it is private; or {_INSTEAD}"
        problem = Problem(f"{path}.name", message, remedy)
    except errors.RevisionNotFoundError:
        message = f"{data.name} has no revision {data.revision!r}"
        remedy = "name a commit, tag or branch of it, or leave it out for the newest"
        problem = Problem(f"{path}.revision", message, remedy)
    except errors.HFValidationError:
        remedy = "a name is `name` or `owner/name`; for files on this machine use source: files"
        problem = Problem(f"{path}.name", f"{data.name!r} is not a hub name", remedy)
    except (HTTPError, OSError) as error:
        reason = shortened(str(error), 200)
        message = f"the Hugging Face hub cannot be reached for {data.name}: {reason}"
        remedy = (
            f"{_INSTEAD}; or set HF_ENDPOINT to a mirror and HF_TOKEN to its token; "
            "or HF_HUB_OFFLINE=1 if the data set is in the cache"
        )
        problem = Problem(f"{path}.name", message, remedy)
    raise SpecError([problem])
