"""Content-addressed artifacts on a local disk or an object store."""

from .live_holders import LiveHolders
from .location import StoreError, absolute_location
from .manifest import FileEntry, Manifest, describe_file
from .partial_artifact import DamagedPartError
from .publishing import Draft
from .step_leases import Holder, Leases
from .store import QUARANTINE, Store, open_store
from .verification import DamagedArtifactError

__all__ = [
    "QUARANTINE",
    "DamagedArtifactError",
    "DamagedPartError",
    "Holder",
    "Leases",
    "LiveHolders",
    "Draft",
    "FileEntry",
    "Manifest",
    "Store",
    "StoreError",
    "absolute_location",
    "describe_file",
    "open_store",
]
