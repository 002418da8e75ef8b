"""The command line, `flexkd`."""

from __future__ import annotations


def main() -> int:
    """The `flexkd` command; returns its exit code."""
    # Imported here, so that `import flexkd_platform.cli` stays cheap for entry points.
    from .app import main as run_app

    return run_app()
