"""The command line: `flexkd` and its commands. Each command imports what it needs when it runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..cluster.idle_threads import idle_threads
from .groups import jobs_app, store_app
from .options import (
    DASHBOARD,
    DEFAULT_STORAGE,
    IN_STORAGE,
    AddressOption,
    DashboardOption,
    JsonOption,
    ReadTrackingOption,
    SetOption,
    SpecArgument,
    StorageOption,
    TrackingOption,
)

app = typer.Typer(
    name="flexkd",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(jobs_app, name="jobs")
app.add_typer(store_app, name="store")
INTERRUPTED = 130
"""The exit code that typer returns for a KeyboardInterrupt."""


def _show_version(asked: bool) -> None:
    if asked:
        from ..tracking.provenance import versions

        print(f"flexkd {versions().get('flexkd', 'of a checkout that is not installed')}")
        raise typer.Exit


@app.callback()
def flexkd_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="show the version and exit", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Knowledge-distillation experiments on language models: one job spec, many methods."""


@app.command("validate")
def validate_command(
    spec: SpecArgument,
    set_: SetOption = [],  # noqa: B006, typer copies it
    storage: StorageOption = DEFAULT_STORAGE,
    tracking_uri: TrackingOption = "",
    address: AddressOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Check a spec, its data, its models and its resources; nothing is started."""
    from .plan import validate

    raise typer.Exit(validate(spec, set_, storage, tracking_uri, address, as_json))


@app.command("plan")
def plan_command(
    spec: SpecArgument,
    set_: SetOption = [],  # noqa: B006
    storage: StorageOption = DEFAULT_STORAGE,
    tracking_uri: TrackingOption = "",
    address: AddressOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Show what a job would run: steps, trials, which of them are cached, resources."""
    from .plan import show_plan

    raise typer.Exit(show_plan(spec, set_, storage, tracking_uri, address, as_json))


@app.command("run")
def run_command(
    spec: SpecArgument,
    set_: SetOption = [],  # noqa: B006
    storage: StorageOption = DEFAULT_STORAGE,
    tracking_uri: TrackingOption = "",
    address: AddressOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Run a job. Existing artifacts are reused; only missing steps run."""
    from .run import run

    raise typer.Exit(run(spec, set_, storage, tracking_uri, address, as_json))


@app.command("submit")
def submit_command(
    spec: SpecArgument,
    set_: SetOption = [],  # noqa: B006
    storage: StorageOption = DEFAULT_STORAGE,
    tracking_uri: TrackingOption = "",
    address: DashboardOption = DASHBOARD,
    wait: Annotated[
        bool, typer.Option("--wait", "--follow", help="show its log to the end")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="submit even if the spec is running")
    ] = False,
    carry: Annotated[
        int,
        typer.Option(min=0, max=95, help="maximum MiB of local files to upload", metavar="MIB"),
    ] = 50,
    kuberay: Annotated[
        bool, typer.Option("--kuberay", help="create a RayJob for Kubernetes; needs --dry-run")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print the RayJob for kubectl; with --kuberay")
    ] = False,
    image: Annotated[
        str,
        typer.Option(
            help="with --kuberay: image of the pods",
            metavar="IMAGE",
            show_default="flexkd:VERSION; flexkd:VERSION-cuda with GPUs",
        ),
    ] = "",
    namespace: Annotated[
        str, typer.Option(help="with --kuberay: namespace", show_default="kubectl's own")
    ] = "",
    secret: Annotated[
        str, typer.Option(help="with --kuberay: Secret whose keys become environment variables")
    ] = "",
    worker_memory: Annotated[
        str,
        typer.Option(
            help="with --kuberay: memory of a worker pod, for example 16Gi", show_default="8Gi"
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Run a job on a Ray cluster, with the code and the spec from this machine."""
    if kuberay or dry_run or image or namespace or secret or worker_memory:
        from .kuberay import PodOptions, show_ray_job

        raise typer.Exit(
            show_ray_job(
                spec,
                set_,
                storage=storage,
                tracking=tracking_uri,
                pods=PodOptions(image, namespace, secret, worker_memory),
                kuberay=kuberay,
                dry_run=dry_run,
                waiting=wait or force,
                as_json=as_json,
            )
        )
    from .submit import submit

    raise typer.Exit(
        submit(
            spec,
            set_,
            storage=storage,
            tracking=tracking_uri,
            address=address,
            carry=carry,
            wait=wait,
            force=force,
            as_json=as_json,
        )
    )


@app.command("compare")
def compare_command(
    experiment: Annotated[
        list[str], typer.Argument(help="MLflow experiments; all when none is named")
    ] = [],  # noqa: B006
    job: Annotated[str, typer.Option(help="only trials of this job: its hash or id")] = "",
    user: Annotated[
        str, typer.Option(help="only trials that this person ran, or that a job of theirs uses")
    ] = "",
    where: Annotated[
        list[str],
        typer.Option(
            help="only trials with, for example, 'alpha>=0.1 and method in (flexkd, kd) and "
            "user=anna and started>=2026-11-01'; repeatable, all must hold",
            metavar="CONDITION",
        ),
    ] = [],  # noqa: B006
    metric: Annotated[
        list[str],
        typer.Option("--metric", help="for example test/accuracy; repeatable, the first ranks"),
    ] = [],  # noqa: B006
    baseline: Annotated[str, typer.Option(help="method to compare with; '' for none")] = "ft",
    sort: Annotated[
        str,
        typer.Option(
            help="column, setting or metric that orders the rows, metrics from the best; "
            "-NAME reverses",
            metavar="NAME",
            show_default="the first metric",
        ),
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="show the first N rows of a table", show_default="all"),
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            help="columns, separated by commas: method, params, n, metrics, interval, versus, and "
            "settings such as alpha",
            metavar="NAMES",
            show_default="all but settings",
        ),
    ] = "",
    by: Annotated[
        str, typer.Option(help="task: a table for each task", show_default="tables for several")
    ] = "",
    output: Annotated[
        str, typer.Option("--format", help="table, markdown, latex, csv or json")
    ] = "table",
    refresh: Annotated[
        bool, typer.Option("--refresh", help="read everything again, without the local index")
    ] = False,
    tracking_uri: ReadTrackingOption = "",
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Compare runs of all users in MLflow: mean ± std over seeds, and paired differences."""
    from ..results import View
    from .compare import compare

    raise typer.Exit(
        compare(
            experiment,
            job=job,
            user=user,
            where=where,
            metrics=metric,
            baseline=baseline,
            view=View(sort, limit, columns, by),
            refresh=refresh,
            output="json" if as_json else output,
            tracking=tracking_uri,
            storage=storage,
        )
    )


@app.command("dashboard")
def dashboard_command(
    storage: StorageOption = DEFAULT_STORAGE,
    tracking_uri: Annotated[
        str,
        typer.Option(
            "--tracking-uri",
            envvar="MLFLOW_TRACKING_URI",
            help="MLflow server or database that is read; none: the jobs of the storage alone",
            metavar="URI",
            show_default=IN_STORAGE,
        ),
    ] = "",
    host: Annotated[
        str, typer.Option(help="address to listen on; 0.0.0.0 lets other machines read it")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port; 0 for a free one")] = 8050,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="open it in the browser")
    ] = True,
) -> None:
    """Show runs and jobs in a web app: leaderboard, curves, running jobs. It changes nothing."""
    from .dashboard import dashboard

    raise typer.Exit(dashboard(storage, tracking_uri, host, port, browser=browser))


@app.command("report")
def report_command(
    job: Annotated[str, typer.Argument(help="id or name of a job", show_default=False)],
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Write the HTML report of a job again, from its files; prints its location."""
    from .report import report

    raise typer.Exit(report(job, storage, as_json))


@app.command("export")
def export_command(
    target: Annotated[
        str,
        typer.Argument(
            metavar="JOB",
            help="id or name of a job; JOB:METHOD,α=…,seed=… names one of its students, "
            "JOB:METHOD,best the best of a method on validation; of all by default",
            show_default=False,
        ),
    ],
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="new folder", show_default=False)
    ] = None,
    weights: Annotated[
        list[str],
        typer.Option(
            "--format", help="of the weights: safetensors, onnx; repeatable", metavar="FORMAT"
        ),
    ] = ["safetensors"],  # noqa: B006
    register: Annotated[
        str, typer.Option(help="also a version of this model in MLflow's registry", metavar="NAME")
    ] = "",
    push_to_hub: Annotated[
        str,
        typer.Option(help="also a repository of the Hugging Face hub", metavar="REPOSITORY"),
    ] = "",
    public: Annotated[
        bool, typer.Option("--public", help="everyone may read a new repository of the hub")
    ] = False,
    tracking_uri: ReadTrackingOption = "",
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Write a student as a folder that transformers loads, with its tokenizer and a model card."""
    from .export import Places, export

    places = Places(folder, tuple(weights), register=register, push=push_to_hub, public=public)
    raise typer.Exit(export(target, places, storage, tracking_uri, as_json))


@app.command("list")
def list_command(
    what: Annotated[
        str, typer.Argument(help="methods, losses, tasks, selectors or models", show_default=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """List what is registered, one per line."""
    from .listing import show_list

    raise typer.Exit(show_list(what, as_json))


@app.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a job spec, for editors, with what installed plugins add."""
    from ..spec import SpecError, json_schema, load_installed_plugins

    problems = load_installed_plugins()
    if problems:
        raise SpecError(problems)
    print(json.dumps(json_schema(), indent=1, ensure_ascii=False))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 success, 1 failure, 2 invalid request."""
    prepare_libraries()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = int(app(arguments, standalone_mode=False) or 0)
    except typer.TyperException as error:
        # An empty message means that no command was given and the help was shown.
        return _refuse(error, "see flexkd --help", arguments) if str(error) else 2
    except Exception as error:
        return _refuse(error, "", arguments)
    if code == INTERRUPTED:
        from .console import err

        err.print("interrupted; what was done is kept; the same command resumes")
        return 1
    return code


def _refuse(error: Exception, remedy: str, arguments: list[str]) -> int:
    """Print the problems of a request and return its exit code; raise any other error."""
    from ..spec import Problem, SpecError
    from .console import show_problems

    if isinstance(error, typer.TyperException):
        error = SpecError([Problem("", error.format_message(), remedy)])
    if type(error).__module__.startswith("flexkd_platform.store"):  # mostly a damaged artifact
        error = SpecError([Problem("", str(error), remedy)])
    if not isinstance(error, SpecError):
        raise error
    show_problems(error, "--json" in arguments)
    return 2


def prepare_libraries() -> None:
    """Disable terminal output of libraries and let waiting threads sleep; before their import."""
    os.environ.update(idle_threads())
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
