"""The files of a model's folder, and the shapes of its weights, read from the headers alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .errors import ModelError
from .gguf_file import Shapes, find_gguf, gguf_shapes
from .quantised import quantisation_of, require_scales

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")

_NO_MODEL = re.compile(
    r"(training_args|optimizer|scheduler|scaler|random_states.*|rng_state.*)\.bin"
)
"""Pickles that trainers write beside the weights."""

_OTHER_FORMATS = {
    "*.h5": "TensorFlow",
    "*.msgpack": "Flax",
    "*.onnx": "ONNX",
    "*.pt": "pickle",
    "*.pth": "pickle",
    "*.ckpt": "pickle",
}

VOCABULARIES: tuple[tuple[str, ...], ...] = (
    ("tokenizer.json",),
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("tokenizer.model",),
    ("spiece.model",),
)
"""Sets of files, each of which is sufficient for a tokenizer."""

TOKENIZER_FILES: tuple[str, ...] = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    *(name for names in VOCABULARIES for name in names),
)


def has_weights(folder: Path) -> bool:
    """Whether the folder holds a safetensors checkpoint, whole or in shards, or a GGUF file."""
    return _has_safetensors(folder) or any(folder.glob("[!.]*.gguf"))


def _has_safetensors(folder: Path) -> bool:
    return (folder / WEIGHTS).is_file() or (folder / INDEX).is_file()


def gguf_of(folder: Path) -> Path | None:
    """The GGUF file that holds the model of a folder; None if it has safetensors, or neither."""
    return None if _has_safetensors(folder) else find_gguf(folder)


def gguf_argument(folder: Path) -> dict[str, str]:
    """The arguments of transformers' `from_pretrained` in addition to the folder."""
    file = gguf_of(folder)
    return {} if file is None else {"gguf_file": file.name}


def require_tokenizer_files(folder: Path) -> None:
    """Raise ModelError unless the folder holds a tokenizer: readable files, or a GGUF file."""
    if gguf_of(folder) is not None:
        return
    if not any(all((folder / name).is_file() for name in names) for names in VOCABULARIES):
        raise ModelError(
            f"{folder} contains no tokenizer",
            "it needs tokenizer.json (or vocab.txt, or vocab.json and merges.txt): save it there "
            "with the tokenizer's save_pretrained",
        )
    for name in TOKENIZER_FILES:
        if name.endswith(".json") and (folder / name).is_file():
            try:
                json.loads((folder / name).read_text())
            except ValueError as error:
                raise ModelError(
                    f"the tokenizer in {folder} cannot be read: {name}: {error}", "copy it again"
                ) from None


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, by name.

    Raises:
        ModelError: there are none, or the index of the shards is broken.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        try:
            names = set(json.loads((folder / INDEX).read_text())["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelError(f"{folder / INDEX} is broken: {error!r}", "copy it again") from None
        return [folder / name for name in sorted(names)]
    if (gguf := find_gguf(folder)) is not None:
        return [gguf]
    raise _no_weights(folder)


def _no_weights(folder: Path) -> ModelError:
    """What a folder has instead of weights that can be read."""
    by_hand = (
        f"convert it to {WEIGHTS}: load it with transformers and call save_pretrained; "
        "a hub model often has a revision with safetensors"
    )
    pickled = sorted(file.name for file in folder.glob("[!.]*.bin"))
    whole = [name for name in pickled if not _NO_MODEL.fullmatch(name)]
    if whole:
        return ModelError(f"{folder} has its weights in {whole[0]}, which is a pickle", by_hand)
    needs = f"it needs {WEIGHTS} (or shards and {INDEX})"
    for pattern, what in _OTHER_FORMATS.items():
        files = sorted(file.name for file in folder.glob(f"[!.]{pattern}") if file.is_file())
        files = [name for name in files if not _NO_MODEL.fullmatch(f"{Path(name).stem}.bin")]
        if files:
            return ModelError(
                f"{folder} has its weights in {files[0]} ({what}), and {needs}", by_hand
            )
    beside = f"; {pickled[0]} holds the state of a training" if pickled else ""
    return ModelError(f"{folder} contains no weights{beside}", needs)


Tensors = dict[str, tuple[str, tuple[int, ...]]]
"""Type and shape of each tensor, by name; types as in safetensors: F32, BF16, F8_E4M3, I8, …"""


def read_shapes(folder: Path) -> Shapes:
    """Name and shape of every weight of a checkpoint.

    Raises:
        ModelError: there is no checkpoint, or a file of it is missing, truncated or corrupt; its
            weights are quantised, and cannot be dequantised.
    """
    if (gguf := gguf_of(folder)) is not None:
        return gguf_shapes(gguf)
    tensors: Tensors = {}
    for file in weight_files(folder):
        tensors |= _file_tensors(file)
    require_scales(tensors, quantisation_of(folder / CONFIG), folder)
    return {name: shape for name, (_, shape) in tensors.items()}


def _file_tensors(file: Path) -> Tensors:
    """Tensors of one safetensors file: 8 bytes of header length, a JSON header, the data."""
    again = "copy or download it again"
    if not file.is_file():
        raise ModelError(f"{file} is missing, though {INDEX} names it", again)
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise ModelError(
                f"{file} is not a safetensors file, or is cut off in its header", again
            )
        header_bytes = stream.read(length)
    try:
        header = json.loads(header_bytes)
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        tensors = {n: (str(e["dtype"]), tuple(e["shape"])) for n, e in entries.items()}
        spans = [entry["data_offsets"] for entry in entries.values()]
        end = max((int(stop) for _, stop in spans), default=0)
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ModelError(f"{file} is not a safetensors file: its header is broken", again) from None
    expected = 8 + length + end
    if size != expected:
        what = "cut off" if size < expected else "corrupt"
        raise ModelError(f"{file} is {what}: it has {size} bytes and should have {expected}", again)
    return tensors
