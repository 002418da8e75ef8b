"""Check a model, and report all problems before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ..model_info import ModelFacts
from ..model_info.adapter import adapter_of
from ..model_info.checkpoint import CONFIG, has_weights, read_shapes, require_tokenizer_files
from ..model_info.errors import ModelError
from ..model_info.facts import folder_fingerprint
from ..model_info.family import Stack
from ..model_info.gguf_file import Shapes
from ..model_info.hub import folder_of, pinned, remote_shapes
from ..model_info.locate import locate
from ..spec import ModulePaths, Problem, counted
from .check_adapter import check_adapter
from .config_facts import facts_of, meta_backbone, read_config, tokenizer_digest
from .family import family_of_config
from .finite import require_finite_files
from .loading import check_words, load_tokenizer
from .tied import require_tied


def check_model(
    model: str, revision: str | None, *, path: str, modules: ModulePaths | None = None
) -> tuple[ModelFacts | None, list[Problem]]:
    """Check a model's folder or hub entry from config, tokenizer and the headers of its weights.

    Args:
        model, revision: as in a spec; see `locate`.
        path: of the spec's key `model`, as `teacher.model`; `revision` is in the same section.
        modules: where the model keeps its parts, if the spec names them.

    Returns:
        The facts, or None if there are problems; and all problems.
    """
    try:
        source = locate(model, revision)
        folder = folder_of(source, weights=False)
    except ModelError as error:
        return None, [error.problem(path)]

    try:
        adapter = adapter_of(folder)
    except ModelError as error:
        return None, [error.problem(path)]
    if adapter is not None:
        base = check_model(str(adapter.base), None, path=path, modules=modules)
        return check_adapter(adapter, base, path=path)

    problems: list[Problem] = []
    config: Any = None
    backbone: PreTrainedModel | None = None
    shapes: Shapes | None = None
    digest, offsets = "", True
    try:
        config = read_config(folder, modules)
        backbone = meta_backbone(config)
    except ModelError as error:
        problems.append(error.problem(path))
    try:
        if isinstance(source, Path) or has_weights(folder):
            shapes = read_shapes(folder)
        else:
            shapes = remote_shapes(pinned(source, folder))
        if backbone is not None:
            _check_weights(shapes, backbone, folder)
        if has_weights(folder):
            require_finite_files(folder)
            if backbone is not None:
                require_tied(folder, shapes, backbone)
    except ModelError as error:
        problems.append(error.problem(path))
    try:
        require_tokenizer_files(folder)
        if backbone is not None:  # the config determines the tokenizer
            tokenizer = load_tokenizer(folder)
            check_words(len(tokenizer), config.vocab_size, folder)
            digest, offsets = tokenizer_digest(tokenizer), bool(tokenizer.is_fast)
    except ModelError as error:
        problems.append(error.problem(path))
    if problems:
        return None, list(dict.fromkeys(problems))  # one GGUF file is all three

    assert backbone is not None, "no config is a problem"
    assert shapes is not None, "no weights is a problem"
    fingerprint = folder_fingerprint(folder) if isinstance(source, Path) else pinned(source, folder)
    facts = facts_of(
        config,
        fingerprint=fingerprint,
        tokenizer_digest=digest,
        shapes=shapes,
        backbone=backbone,
    )
    return replace(facts, offsets=offsets), []


def _check_weights(shapes: Shapes, backbone: PreTrainedModel, folder: Path) -> None:
    """Raise ModelError unless a checkpoint holds the whole backbone and no further layers."""
    family = family_of_config(backbone.config)
    given = {_modern(name, backbone.base_model_prefix): shape for name, shape in shapes.items()}
    for copy, original in backbone.all_tied_weights_keys.items():
        if copy in given:  # an encoder–decoder's shared embedding may be saved under any name
            given.setdefault(original, given[copy])
    expected = {name: tuple(weight.shape) for name, weight in backbone.named_parameters()}
    missing = [n for n in expected if n not in given and not n.startswith(family.optional)]
    # bitsandbytes packs two 4-bit weights in a byte; the shape is in the data.
    packed = {name for name in expected if f"{name}.absmax" in given}
    wrong = [n for n in expected if n in given and given[n] != expected[n] and n not in packed]
    what = f"{backbone.config.model_type} model of {CONFIG}"
    remedy = "name a folder whose config and weights belong together"
    if missing:
        raise ModelError(
            f"the weights in {folder} are not those of the {what}: {len(missing)} of "
            f"{len(expected)} are missing, as {missing[0]}",
            remedy,
        )
    if wrong:
        name = wrong[0]
        raise ModelError(
            f"the weights in {folder} have other shapes than the {what}: {len(wrong)} of "
            f"{len(expected)}, as {name}, which is {given[name]} and should be {expected[name]}",
            remedy,
        )
    for stack in family.stacks.values():
        beyond = _layers_in(given, stack) - _layers_in(expected, stack)
        if beyond:
            layers = counted(len(_layers_in(expected, stack)), "layer")
            raise ModelError(
                f"the weights in {folder} have layer {max(beyond)}, which the {what} does not "
                f"have: it has {layers}, counted from 0",
                remedy,
            )


def _modern(name: str, prefix: str) -> str:
    """A weight's current name in the backbone, without the classifier's prefix."""
    name = name.removeprefix(f"{prefix}.")
    # Names in the first BERT checkpoints, which were converted from TensorFlow.
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def _layers_in(names: Shapes, stack: Stack) -> set[int]:
    """The indices of the layers that weights belong to."""
    start = f"{stack.path}."
    numbers = {
        name.removeprefix(start).partition(".")[0] for name in names if name.startswith(start)
    }
    return {int(number) for number in numbers if number.isdigit()}
