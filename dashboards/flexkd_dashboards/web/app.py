"""The app: routes, exports, errors, and the headers of every response."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from plotly.offline import get_plotlyjs
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from flexkd_platform.spec import SpecError
from flexkd_platform.tracking import shown_uri

from .blocks import Note, tables_of
from .export import MEDIA_TYPES, TABLE_FORMATS, table_file
from .headers import REPORT_POLICY, SecurityHeaders
from .page import NotFoundError, Page, View
from .pages import PAGES
from .query import EXPORT, Query
from .render import PLOTLY, render, script, style_sheet
from .sources import Sources, UnavailableError

FOREVER = "public, max-age=31536000, immutable"
SCRIPTS = ("figures.js", "app.js", "live.js", "theme.js")


def create_app(
    sources: Sources, *, hosts: Sequence[str] = ("*",), pages: Mapping[str, Page] = PAGES
) -> Starlette:
    """The app over some sources.

    hosts: names by which it may be asked; others are refused, so that no web site can read it by
        pointing a name of its own at this machine.
    """
    place = _place(sources)
    shown = list(pages.values())

    def answer(view: View, query: Query) -> Response:
        return HTMLResponse(render(view, query, shown, place), view.status)

    def endpoint_of(page: Page) -> Callable[[Request], Response]:
        def endpoint(request: Request) -> Response:
            query = _query(request)
            view = _view(page, sources, query)
            wanted = query.text(EXPORT)
            return _exported(view, wanted) if wanted else answer(view, query)

        return endpoint

    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        missing = error.status_code == 404
        text = "There is no such page." if missing else f"{error.detail.removesuffix('.')}."
        title = "Not found" if missing else "Not possible"
        return answer(View(title, [Note(text)], status=error.status_code), _query(request))

    def broken(request: Request, error: Exception) -> Response:
        text = "The dashboard has an error; its terminal shows the traceback."
        return answer(View("Error", [Note(text, notice=True)], status=500), _query(request))

    return Starlette(
        routes=[
            Route("/", lambda _: RedirectResponse(f"/{shown[0].path}")),
            Route("/static/{name}", _static),
            Route("/jobs/{job}/report", lambda request: _report(sources, request)),
            *(Route(f"/{page.path}", endpoint_of(page)) for page in shown),
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(GZipMiddleware, minimum_size=2000, compresslevel=5),
        ],
        exception_handlers={HTTPException: refused, Exception: broken},
    )


def _view(page: Page, sources: Sources, query: Query) -> View:
    """The view of a page, or one that says why there is none."""
    try:
        return page.build(sources, query)
    except NotFoundError as error:
        return View("Not found", [Note(str(error))], status=404)
    except UnavailableError as error:
        return View(page.title or "Unavailable", [Note(str(error), notice=True)], status=503)
    except SpecError as error:
        notes = [Note(str(problem), notice=True) for problem in error.problems]
        return View(page.title or "Not possible", notes, status=400)


def _exported(view: View, wanted: str) -> Response:
    """A table of the view as a file."""
    name, _, end = wanted.rpartition(".")
    table = next((one for one in tables_of(view.blocks) if one.name == name), None)
    if table is None or end not in TABLE_FORMATS:
        return PlainTextResponse(
            f"this view has no {wanted}\n", 404 if view.status == 200 else view.status
        )
    headers = {"content-disposition": f'attachment; filename="{name}.{end}"'}
    return Response(table_file(table, end), media_type=MEDIA_TYPES[end], headers=headers)


def _report(sources: Sources, request: Request) -> Response:
    """The HTML report of a job, which may do nothing but draw itself."""
    try:
        content = sources.report(request.path_params["job"])
    except FileNotFoundError:
        raise HTTPException(404) from None
    except UnavailableError as error:
        raise HTTPException(503, str(error)) from None
    return HTMLResponse(content, headers={"content-security-policy": REPORT_POLICY})


def _query(request: Request) -> Query:
    items = tuple(request.query_params.multi_items())
    return Query(request.url.path.strip("/"), items, dict(request.path_params))


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name == PLOTLY:
        headers = {"cache-control": FOREVER}
        return Response(_plotly(), media_type="text/javascript", headers=headers)
    if name == "app.css":
        return Response(style_sheet(), media_type="text/css")
    if name in SCRIPTS:
        return Response(script(name), media_type="text/javascript")
    raise HTTPException(404)


@cache
def _plotly() -> bytes:
    return bytes(get_plotlyjs(), encoding="utf-8")


def _place(sources: Sources) -> str:
    if not sources.has_tracking:
        return shown_uri(sources.storage)
    return f"{shown_uri(sources.tracking)} · {shown_uri(sources.storage)}"
