"""`flexkd dashboard`: a read-only web app over a tracking store and a storage.

Reading order: what pages read (`sources`), what they are asked (`query`), what they return (`page`,
`blocks`, `forms`), the pages (`pages/`, one file each), and the app that serves them (`app`,
`render`, `export`, `server`).
"""

from .app import create_app
from .server import serve
from .sources import Sources

__all__ = ["Sources", "create_app", "serve"]
