"""Content-addressed artifacts on a disk or an object store."""

from .location import StoreError
from .manifest import FileEntry, Manifest, describe_file
from .publishing import Draft
from .store import Store, open_store

__all__ = ["Draft", "FileEntry", "Manifest", "Store", "StoreError", "describe_file", "open_store"]
