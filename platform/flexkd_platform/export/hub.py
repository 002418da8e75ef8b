"""Upload an exported folder to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    HFValidationError,
    HTTPError,
    LocalTokenNotFoundError,
)

from ..model_info.errors import first_line
from ..spec import Problem

PUSH_OPTION = "--push-to-hub"


class PushError(RuntimeError):
    """The hub refused an upload, or could not be reached."""


def hub_problems(repository: str) -> list[Problem]:
    """What prevents an upload; asks the hub who the user is."""
    try:
        hub = HfApi()
        hub.whoami()
        hub.repo_exists(repository)  # checks the name
    except HFValidationError as error:
        remedy = "name it as USER/MODEL or ORGANISATION/MODEL"
        return [Problem(PUSH_OPTION, first_line(error), remedy)]
    except LocalTokenNotFoundError:
        remedy = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"
        return [Problem(PUSH_OPTION, "you are not logged in to the Hugging Face hub", remedy)]
    except (OSError, HTTPError) as error:
        message = f"the Hugging Face hub does not accept a request: {first_line(error)}"
        return [Problem(PUSH_OPTION, message, "check the connection, HF_TOKEN and HF_ENDPOINT")]
    return []


def push_folder(folder: Path, repository: str, *, public: bool, message: str) -> str:
    """Upload a folder as one commit; returns the address of the model's page.

    Args:
        repository: as `user/model`; created if it is missing.
        public: whether a new repository can be read by everyone; an existing one stays as it is.
        message: of the commit.

    Raises:
        PushError: the hub refused it.
    """
    hub = HfApi()
    try:
        page = hub.create_repo(repository, private=not public, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    except (OSError, HTTPError) as error:
        raise PushError(f"{repository} was not uploaded: {first_line(error)}") from error
    return str(page)
