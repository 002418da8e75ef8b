"""A SQLite tracking database whose folder was moved: MLflow keeps absolute paths of artifacts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path, PurePosixPath

from .connection import alone_with

PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Table and column of every path of artifacts in MLflow's schema."""


def follow_move(database: Path, root: Path) -> None:
    """Let paths in a folder of artifacts that is gone point to where it is now.

    A folder is taken for the moved one if it has the name of `root` and no longer exists. Paths
    elsewhere, and those of a copy whose original is still there, stay.

    Args:
        database: a SQLite database with MLflow's schema.
        root: the folder of artifacts now, by its absolute path.
    """
    if not root.is_dir():
        return
    with alone_with(database), closing(sqlite3.connect(database, timeout=60)) as connection:
        rows = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        gone = {old for (place,) in rows if (old := _folder(place, root)) is not None}
        for old in sorted(gone):
            for table, column in PATHS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (str(root), len(old) + 1, old, len(old) + 1, f"{old}/"),
                )
        connection.commit()


def _folder(place: str | None, root: Path) -> str | None:
    """The folder of artifacts that `place` is in, as it is written there, if it was moved away."""
    text = place or ""
    path = PurePosixPath(text.removeprefix("file://"))
    for folder in (path, *path.parents):
        if folder.name == root.name and folder != PurePosixPath(root):
            end = text.find(str(folder)) + len(str(folder))
            return None if Path(folder).exists() else text[:end]
    return None
