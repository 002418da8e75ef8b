"""The command line: `flexkd` and its commands."""

from __future__ import annotations

import json
import sys

import typer

from ..spec import SpecError, json_schema
from . import common
from .common import (
    DEFAULT_STORAGE,
    AddressOption,
    JsonOption,
    SetOption,
    SpecArgument,
    StorageOption,
    TrackingOption,
)

app = typer.Typer(
    name="flexkd",
    help="Knowledge-distillation experiments on language models: one job spec, many methods.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command("run")
def run_command(
    spec: SpecArgument,
    set_: SetOption = [],  # noqa: B006, typer wants a list
    storage: StorageOption = DEFAULT_STORAGE,
    tracking_uri: TrackingOption = "",
    address: AddressOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Run a job: what is there already is reused, what is missing is done."""
    from .run import run

    raise typer.Exit(run(spec, set_, storage, tracking_uri, address, as_json))


@app.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a job spec, for editors."""
    print(json.dumps(json_schema(), indent=1, ensure_ascii=False))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 failed, 2 the request was wrong."""
    common.quiet_libraries()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except SpecError as error:
        common.show_problems(error, "--json" in arguments)
        return 2
    except KeyboardInterrupt:
        common.err.print("interrupted; what was done is kept, the same command goes on from there")
        return 1
    except typer.Exit as stop:
        return stop.exit_code
