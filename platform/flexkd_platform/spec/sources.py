"""Where examples come from: the package, files, or the Hugging Face hub; columns by task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from .pattern import SHORT_NAME, Pattern
from .section import Section, later_field

PartName = Annotated[str, Pattern(r"^[a-z0-9][a-z0-9_-]*$", SHORT_NAME)]
Weight = Annotated[float, Field(gt=0)]
Rows = Annotated[int, Field(gt=0)]
Character = Annotated[str, Pattern(r"^.$", "one character")]
CharacterOrNone = Annotated[str, Pattern(r"^(.|none)$", "one character, or none")]


class SplitSizes(Section):
    """How many examples of each split are used; all of them when left out.

    A subset is drawn with `subset_seed` and is the same on every machine. An evaluation set has
    only a `test` size.
    """

    train: Rows | None = Field(None, description="training examples")
    validation: Rows | None = Field(None, description="validation examples")
    test: Rows | None = Field(None, description="test examples")
    subset_seed: int = Field(0, ge=0, description="seed of the draw of subsets and of made splits")
    drop_leaked: bool | Literal["near"] = later_field(
        False,
        description="leave examples out of train that are in validation or test too, and out of "
        "validation those in test; near: also those that differ in case, spaces and punctuation",
    )


class MadeSplits(SplitSizes):
    """A source that may lack a split, which is then drawn from train."""

    validation_share: float = Field(
        0.1, gt=0, lt=1, description="share of train used as the validation split if there is none"
    )
    test_share: float = Field(
        0.1, gt=0, lt=1, description="share of train used as the test split if there is none"
    )
    stratified: bool = later_field(
        False, description="draw missing splits with the same share of every class"
    )


class BuiltinSource(SplitSizes):
    """A data set that is included in the package."""

    source: Literal["builtin"] = "builtin"


class FilesSource(MadeSplits):
    """Parquet, JSONL, JSON, CSV or TSV files on this machine.

    `path` is one file, or a folder that holds `train.*` and, if they exist, `validation.*` and
    `test.*`. Missing splits are drawn from train. JSON is one array of objects. In TSV files quotes
    are literal. Columns of a CSV or TSV file without a header line are named by their 1-based
    numbers, in quotes: `text: "6"`.
    """

    source: Literal["files"]
    path: str = Field(description="a file, or a folder with train.*, validation.*, test.*")
    delimiter: Character | None = later_field(
        None, description="between the fields of CSV and TSV; found among , ; | when left out"
    )
    quote: CharacterOrNone | None = later_field(
        None, description='around fields; `"` in CSV and none in TSV when left out'
    )
    escape: CharacterOrNone | None = later_field(
        None, description="before a literal quote; a backslash is found when left out"
    )


class SplitNames(Section):
    """Names of a hub data set's splits, if not the usual ones.

    The usual names are `validation` (or `valid`, `val`, `dev`) and `test`. A split of the usual
    name whose labels are withheld, as those of GLUE's `test` are, is not used.
    """

    train: str = Field("train", description="name of the training split")
    validation: str | None = Field(
        None, description="name of the validation split; the usual names when left out"
    )
    test: str | None = Field(
        None, description="name of the test split, which needs labels: GLUE has them in validation"
    )


class HubSource(MadeSplits):
    """A data set of the Hugging Face hub, by name."""

    source: Literal["hub"]
    name: str = Field(description="name on the hub, as `glue`")
    config: str | None = Field(None, description="configuration of the data set, as `sst2`")
    revision: str | None = Field(None, description="commit, tag or branch; newest when left out")
    splits: SplitNames = Field(
        default_factory=SplitNames, description="what the data set calls its splits"
    )


class TextColumns(Section):
    """One text, or a pair of texts, with a label."""

    text: str = Field("text", description="column that holds the text")
    text_pair: str | None = Field(
        None, description="column that holds the second text of a pair, as `sentence2`"
    )
    label: str = Field("label", description="column that holds the label")
    missing: Literal["error", "skip"] = later_field(
        "error",
        description="rows without a label (null, empty or NaN; of classes also -1): an error, or "
        "skipped and counted",
    )


class LabelListColumns(Section):
    """One text, or a pair of texts, with any number of classes.

    A row's classes are a list of names, of numbers, or of one 0 or 1 per class; or a text of names
    with a separator; or one 0/1 column per class. An empty list is a row without a class.
    """

    text: str = Field("text", description="column that holds the text")
    text_pair: str | None = Field(
        None, description="column that holds the second text of a pair, as `sentence2`"
    )
    labels: str | tuple[str, ...] = Field(
        "labels",
        description="column that holds the list of a row's classes; or a list of columns, one per "
        "class and named as it, that hold 0 or 1",
    )
    separator: str | None = Field(
        None,
        min_length=1,
        description="between the classes where the column holds text, as CSV does: `|`",
    )
    missing: Literal["error", "skip"] = Field(
        "error", description="rows without a list (null): an error, or skipped and counted"
    )


class InstructionColumns(Section):
    """An instruction, an optional input, and one correct response or a list of them; or messages.

    Rows without an instruction or a response are skipped and counted. A source without these
    columns, which the spec must not name, may have a column `messages` or `conversations` (lists of
    messages `{role, content}` or `{from, value}`) or the columns `prompt` and `completion` (texts
    or lists of messages). Messages are read with the tokenizer's chat template.
    """

    instruction: str = Field("instruction", description="column that holds the instruction")
    input: str | None = Field(
        "input",
        description="column that holds the input, empty where there is none; null if no column "
        "does; the column `input` may be absent",
    )
    output: str = Field(
        "output",
        description="column that holds the response, a list of correct responses, or a list of "
        "instances as Self-Instruct has them, each with an `output` and perhaps an `input`",
    )
    messages: str | None = later_field(
        None,
        description="column that holds a list of messages, in place of the three columns; "
        "`messages` and `conversations` are found without it",
    )


class DocumentColumns(Section):
    """A document and its summary, or a list of correct summaries.

    Rows without a document or a summary are skipped and counted.
    """

    document: str = Field("document", description="column that holds the document")
    summary: str = Field("summary", description="column that holds the summary")


class BuiltinData(BuiltinSource):
    """A labelled data set that is included in the package."""

    name: Literal["movie-reviews"] = Field(
        "movie-reviews", description="10,605 human-rated movie-review snippets (MIT)"
    )


class FilesData(FilesSource, TextColumns):
    """Labelled texts in files."""


class HubData(HubSource, TextColumns):
    """Labelled texts of the hub."""


class LabelListFiles(FilesSource, LabelListColumns):
    """Texts with any number of classes in files."""


class LabelListHub(HubSource, LabelListColumns):
    """Texts with any number of classes of the hub."""


class BuiltinDocstrings(BuiltinSource):
    """Docstrings included in the package: the first line is the summary of the rest."""

    name: Literal["docstrings"] = Field(
        "docstrings",
        description="6,000 docstrings of Python and six scientific packages (PSF-2.0, BSD-3)",
    )


class InstructionFiles(FilesSource, InstructionColumns):
    """Instructions with responses in files."""


class InstructionHub(HubSource, InstructionColumns):
    """Instructions with responses of the hub."""


class DocumentFiles(FilesSource, DocumentColumns):
    """Documents with summaries in files."""


class DocumentHub(HubSource, DocumentColumns):
    """Documents with summaries of the hub."""


DataSource = Annotated[BuiltinData | HubData | FilesData, Field(discriminator="source")]
LabelListSource = Annotated[LabelListHub | LabelListFiles, Field(discriminator="source")]
InstructionSource = Annotated[
    BuiltinDocstrings | InstructionHub | InstructionFiles, Field(discriminator="source")
]
DocumentSource = Annotated[
    BuiltinDocstrings | DocumentHub | DocumentFiles, Field(discriminator="source")
]


class Mixture(SplitSizes):
    """Several sources as one data set, with one meaning of labels.

    Each part is split by itself. Validation and test hold those of all parts, train has shares of
    the parts by `weights`: as many examples as possible without repeating one, or `train` of them.
    """

    source: Literal["mixture"]
    parts: Mapping[PartName, BuiltinSource | HubSource | FilesSource]
    weights: dict[PartName, Weight] = Field(
        default_factory=dict,
        description="share of each part in train, in any unit; all examples when left out",
    )


PARTS = "the sources by name; the examples keep it as their origin"


class DataMixture(Mixture):
    """Labelled texts of several sources."""

    parts: dict[PartName, DataSource] = Field(description=PARTS)


class LabelListMixture(Mixture):
    """Texts with any number of classes of several sources."""

    parts: dict[PartName, LabelListSource] = Field(description=PARTS)


class InstructionMixture(Mixture):
    """Instructions of several sources."""

    parts: dict[PartName, InstructionSource] = Field(description=PARTS)


class DocumentMixture(Mixture):
    """Documents of several sources."""

    parts: dict[PartName, DocumentSource] = Field(description=PARTS)


OwnData = Annotated[BuiltinData | HubData | FilesData | DataMixture, Field(discriminator="source")]
OwnLabelLists = Annotated[
    LabelListHub | LabelListFiles | LabelListMixture, Field(discriminator="source")
]
OwnInstructions = Annotated[
    BuiltinDocstrings | InstructionHub | InstructionFiles | InstructionMixture,
    Field(discriminator="source"),
]
OwnDocuments = Annotated[
    BuiltinDocstrings | DocumentHub | DocumentFiles | DocumentMixture,
    Field(discriminator="source"),
]
"""The data of a task itself. Evaluation sets are single sources."""
