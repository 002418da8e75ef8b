"""Register a student in MLflow's model registry, as a model of its transformers flavor."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..spec import Problem
from .connection import ARTIFACT_TIMEOUT, connect, only_errors, patience
from .opening import NONE, TRACKING_OPTION, absolute_uri, check_tracking
from .redaction import shown_uri, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

REGISTER_OPTION = "--register"

ARTIFACT = "model"
"""Folder of the model among the artifacts of its trial's run."""

REQUIREMENTS = ("torch", "transformers", "accelerate", "tokenizers", "safetensors")
"""Packages that the model needs where it is served."""


class RegistryError(RuntimeError):
    """The registry refused a model, or stopped answering."""


@dataclass(frozen=True)
class ServedModel:
    """A model, and how a pipeline of transformers calls it.

    model, tokenizer: of transformers. MLflow 3.17 does not read a folder: since transformers 5 the
        table that it looks the task up in has other values.
    task: of the pipeline: text-classification or text-generation.
    example: texts that show what it takes.
    config: arguments of every call.
    card, licences: the model card, and its part on licences.
    template: the prompt in which `{prompt}` is the input; None for the input itself.
    """

    model: Any
    tokenizer: Any
    task: str
    example: Sequence[str]
    config: Mapping[str, Any]
    card: str
    licences: str
    template: str | None = None


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model."""

    name: str
    version: str

    @property
    def uri(self) -> str:
        """What MLflow loads and serves: `models:/reviews/1`."""
        return f"models:/{self.name}/{self.version}"


def registry_problems(uri: str, name: str, run_id: str) -> list[Problem]:
    """What prevents a trial's student from being registered; takes seconds at most.

    run_id: of the trial; "" if it was recorded nowhere.
    """
    if uri == NONE:
        remedy = "give the server or database that the job is recorded in"
        return [Problem(TRACKING_OPTION, "a registry needs a server or database", remedy)]
    if not name.strip() or any(letter in name for letter in "/:"):
        message = f"{name!r} is not a name of a registered model"
        return [Problem(REGISTER_OPTION, message, "give one without / and :")]
    if problems := check_tracking(uri):
        return problems
    remedy = "run the job again with this --tracking-uri: it records what is missing"
    if not run_id:
        return [Problem(REGISTER_OPTION, "the trial is recorded nowhere", remedy)]
    from mlflow import MlflowException

    try:
        with patience(retries=1):
            connect(absolute_uri(uri)).get_run(run_id)
    except MlflowException as error:
        text = without_password(" ".join(str(error).split()), uri)
        message = f"{shown_uri(uri)} has no run of the trial: {text}"
        return [Problem(REGISTER_OPTION, message, remedy)]
    return []


def register_model(
    uri: str, name: str, run_id: str, model: ServedModel, *, description: str
) -> RegisteredVersion:
    """Add the model to the artifacts of its trial's run, and register it as a new version.

    Args:
        uri: of the tracking store, without problems of `registry_problems`.
        name: of the registered model, which is created if it is missing.
        description: of the version.

    Raises:
        RegistryError: the store does not answer, or denies it.
    """
    client = connect(absolute_uri(uri))
    from mlflow import MlflowException

    try:
        with patience(timeout=ARTIFACT_TIMEOUT), TemporaryDirectory() as scratch:
            saved = Path(scratch, ARTIFACT)
            _save(model, saved, run_id)
            client.log_artifacts(run_id, str(saved), ARTIFACT)
            _require_model(client, name)
            source = f"{client.get_run(run_id).info.artifact_uri}/{ARTIFACT}"
            made = client.create_model_version(name, source, run_id, description=description)
    except (MlflowException, OSError) as error:
        text = without_password(" ".join(str(error).split()), uri)
        raise RegistryError(f"{name} was not registered in {shown_uri(uri)}: {text}") from error
    return RegisteredVersion(name, str(made.version))


def _require_model(client: MlflowClient, name: str) -> None:
    """Create the registered model unless it exists."""
    from mlflow import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name)


def _save(model: ServedModel, folder: Path, run_id: str) -> None:
    """Write the folder that MLflow loads: the model, its environment, signature and example."""
    import mlflow.transformers
    import pandas as pd
    from huggingface_hub import ModelCard
    from mlflow.models import Model

    with warnings.catch_warnings(), only_errors("mlflow.transformers"):
        warnings.simplefilter("ignore")
        mlflow.transformers.save_model(
            transformers_model={"model": model.model, "tokenizer": model.tokenizer},
            path=str(folder),
            task=model.task,
            mlflow_model=Model(run_id=run_id, artifact_path=ARTIFACT),
            # Without one, MLflow looks for the card on the hub.
            model_card=ModelCard(model.card),
            signature=_signature(model.task),
            input_example=pd.DataFrame({"text": list(model.example)}),
            # Inferring them would load the model in another process.
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
            model_config=dict(model.config),
            prompt_template=model.template,
        )
    # MLflow's text names a repository of the hub, which there is not.
    (folder / "LICENSE.txt").write_text(model.licences + "\n", encoding="utf-8")


def _signature(task: str) -> ModelSignature:
    """A column of texts in; labels with scores, or texts, out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs = Schema([ColSpec("string", "text")])
    if task == "text-generation":
        return ModelSignature(inputs, Schema([ColSpec("string", "text")]))
    return ModelSignature(inputs, Schema([ColSpec("string", "label"), ColSpec("double", "score")]))
