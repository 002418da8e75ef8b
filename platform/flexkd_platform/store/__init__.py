"""Content-addressed artifacts on a disk or an object store."""

from .manifest import FileEntry, Manifest
from .store import Draft, Store, StoreError, open_store

__all__ = ["Draft", "FileEntry", "Manifest", "Store", "StoreError", "open_store"]
