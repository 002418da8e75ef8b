"""Groups of commands: `flexkd jobs …` and `flexkd store …`."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import DASHBOARD, DEFAULT_STORAGE, DashboardOption, JsonOption, StorageOption

jobs_app = typer.Typer(
    help="Jobs on a Ray cluster: list, status, logs, stop.", no_args_is_help=True
)
store_app = typer.Typer(
    help="Artifacts in a storage: list, verify, clean up.", no_args_is_help=True
)
JobArgument = Annotated[str, typer.Argument(help="id of the job", show_default=False)]


@jobs_app.command("list")
def jobs_list_command(address: DashboardOption = DASHBOARD, as_json: JsonOption = False) -> None:
    """List the flexkd jobs on the cluster, the newest first."""
    from .jobs import list_jobs

    raise typer.Exit(list_jobs(address, as_json))


@jobs_app.command("status")
def jobs_status_command(
    job: JobArgument, address: DashboardOption = DASHBOARD, as_json: JsonOption = False
) -> None:
    """Show the status of a job."""
    from .jobs import job_status

    raise typer.Exit(job_status(address, job, as_json))


@jobs_app.command("logs")
def jobs_logs_command(
    job: JobArgument,
    address: DashboardOption = DASHBOARD,
    follow: Annotated[bool, typer.Option("--follow", help="until the job ends")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the log of a job."""
    from .jobs import job_logs

    raise typer.Exit(job_logs(address, job, follow, as_json))


@jobs_app.command("stop")
def jobs_stop_command(
    job: JobArgument,
    address: DashboardOption = DASHBOARD,
    wait: Annotated[bool, typer.Option("--wait", help="until it has ended")] = False,
    as_json: JsonOption = False,
) -> None:
    """Stop a job; finished work is kept."""
    from .jobs import stop_job

    raise typer.Exit(stop_job(address, job, wait, as_json))


@store_app.command("list")
def store_list_command(
    storage: StorageOption = DEFAULT_STORAGE, as_json: JsonOption = False
) -> None:
    """List the artifacts, their sizes, and the jobs that use them."""
    from .store import list_artifacts

    raise typer.Exit(list_artifacts(storage, as_json))


@store_app.command("verify")
def store_verify_command(
    storage: StorageOption = DEFAULT_STORAGE,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="move damaged artifacts to quarantine/")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare every file with the digest in its manifest; exit code 1 if one differs."""
    from .store import verify

    raise typer.Exit(verify(storage, set_aside, as_json))


@store_app.command("gc")
def store_gc_command(
    storage: StorageOption = DEFAULT_STORAGE,
    really: Annotated[
        bool, typer.Option("--delete", help="delete it; without, it is only shown")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show or delete what no job in the storage uses. Run it while no job runs."""
    from .store import collect_garbage

    raise typer.Exit(collect_garbage(storage, really, as_json))
