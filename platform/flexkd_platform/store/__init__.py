"""Content-addressed artifacts on a disk or an object store."""

from .manifest import FileEntry, Manifest, describe_file
from .store import Draft, Store, StoreError, open_store

__all__ = ["Draft", "FileEntry", "Manifest", "Store", "StoreError", "describe_file", "open_store"]
