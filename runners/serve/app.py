"""The pages by their addresses. No part of an address becomes part of a path: runs and trials are looked up by keys."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from results.exporters import EXPORTERS
from results.live.library import Library
from results.live.overview import Query, overview_page, overview_part
from results.live.part import STATIC
from results.live.run_page import DOWNLOADS, figures_page, run_page, run_part, run_versions
from results.live.run_state import RunState
from results.live.trial_page import Found, find_trial, samples_picture, trial_page, trial_part, trial_version
from results.live.trials_page import trials_page, trials_part
from results.live.watched_run import WatchedRun
from results.markup.html_templates import asset
from results.report import make_report
from results.report.document import vega_script
from results.run_files.path_csv import write_path_csv
from results.run_files.shapley_csv import write_shapley_csv
from results.run_files.tidy_csv import write_curves_csv, write_long_csv
from results.store.links import open_within
from results.store.run_layout import IN_RUN_DIR
from results.table.merge import table_of_runs
from runners.serve.access import Door
from search_space.parsing.errors import SpecError

__all__ = ["make_app"]

_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# A document of a run: its scripts are its own, so it is given another origin, without our cookie, and no network.
_DOCUMENT = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PICTURE = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_EVERY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Content-Security-Policy": _PAGE,
}
_KEPT = {"Cache-Control": "private, max-age=86400"}  # scripts and styles, which hold nothing of any run
_MOST_REPORT = 100_000_000
_TYPES = {"csv": "text/csv", "tex": "application/x-tex", "md": "text/markdown", "html": "text/html"}
_Scope = MutableMapping[str, Any]
_App = Callable[[_Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


def make_app(library: Library, door: Door) -> _App:
    """The application; every request passes the door first."""
    pages = _Pages(library)
    routes = [
        Route("/", pages.overview),
        Route("/versions", pages.overview_versions),
        Route("/part/runs", pages.overview_part),
        Route("/static/{name}", pages.static),
        Route("/run/{run}", pages.run),
        Route("/run/{run}/versions", pages.run_versions),
        Route("/run/{run}/part/{part}", pages.run_part),
        Route("/run/{run}/figures", pages.figures),
        Route("/run/{run}/report", pages.report),
        Route("/run/{run}/file/{name}", pages.file),
        Route("/run/{run}/trials", pages.trials),
        Route("/run/{run}/trials/versions", pages.trials_versions),
        Route("/run/{run}/trials/part/trials", pages.trials_part),
        Route("/run/{run}/trial/{trial}", pages.trial),
        Route("/run/{run}/trial/{trial}/versions", pages.trial_versions),
        Route("/run/{run}/trial/{trial}/part/trial", pages.trial_part),
        Route("/run/{run}/trial/{trial}/samples.svg", pages.samples),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _not_found, SpecError: _unreadable})
    return _Guarded(GZipMiddleware(app, minimum_size=1000, compresslevel=5), door)


class _Guarded:
    """The application behind its door, with the headers that every answer has."""

    def __init__(self, app: _App, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: _Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = [(name.lower().encode(), value.encode()) for name, value in _EVERY.items()]
                message["headers"] = [*message["headers"], *(pair for pair in more if pair[0] not in given)]
            await send(message)

        request = Request(scope)
        refused = self._door.refusal(
            request.method,
            scope["path"],
            host=request.headers.get("host", ""),
            query=parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True),
            cookies=request.cookies,
            fetch_site=request.headers.get("sec-fetch-site", ""),
        )
        if refused is None:
            await self._app(scope, receive, send_guarded)
        else:
            answer = PlainTextResponse(refused.words, refused.status, dict(refused.headers))
            await answer(scope, receive, send_guarded)


class _Pages:
    """Answers; each is called in a thread of its own, so that one that waits for a file lets others go on."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._one_file = threading.Lock()  # files of whole ledgers are made one at a time

    def overview(self, request: Request) -> Response:
        query = Query.of(request.query_params)
        return _html(overview_page(self._library.shelf(), query, str(self._library.folder)))

    def overview_versions(self, request: Request) -> Response:
        part = overview_part(self._library.shelf(), Query.of(request.query_params))
        return _versions(request, {part.name: part.version})

    def overview_part(self, request: Request) -> Response:
        return _html(overview_part(self._library.shelf(), Query.of(request.query_params)).html())

    def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name == "vega.js":
            return Response(str(vega_script()), media_type="text/javascript", headers=_KEPT)
        if name not in STATIC:
            return _not_found(request)
        kind, paths = STATIC[name]
        return Response("".join(map(asset, paths)), media_type=kind, headers=_KEPT)

    def run(self, request: Request) -> Response:
        run = self._run(request)
        return _html(run_page(run)) if run else _not_found(request)

    def run_versions(self, request: Request) -> Response:
        run = self._run(request)
        return _versions(request, run_versions(run)) if run else _not_found(request)

    def run_part(self, request: Request) -> Response:
        run = self._run(request)
        part = run_part(run, request.path_params["part"]) if run else None
        return _html(part.html()) if part else _not_found(request)

    def figures(self, request: Request) -> Response:
        run = self._run(request)
        return _html(figures_page(run)) if run else _not_found(request)

    def report(self, request: Request) -> Response:
        """The report as `archsweep report` wrote it."""
        run = self._run(request)
        if run is None:
            return _not_found(request)
        try:
            with open_within(run.found.files.report, run.found.files) as stream:
                content = stream.read(_MOST_REPORT + 1)
        except OSError:
            return _not_found(request)
        if len(content) > _MOST_REPORT:
            return PlainTextResponse("The report is larger than 100 MB: open it from the disk.", 413)
        return Response(content, media_type="text/html", headers={"Content-Security-Policy": _DOCUMENT})

    def file(self, request: Request) -> Response:
        """A table or report of the present records, as a download."""
        run, name = self._run(request), request.path_params["name"]
        if run is None or name not in DOWNLOADS:
            return _not_found(request)
        with self._one_file:
            content = _made(run, name)
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Security-Policy": _DOCUMENT}
        return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)

    def trials(self, request: Request) -> Response:
        run, state = self._state(request)
        if run is None or state is None:
            return _not_found(request)
        return _html(trials_page(run, state, Query.of(request.query_params)))

    def trials_versions(self, request: Request) -> Response:
        run, state = self._state(request)
        if run is None or state is None:
            return _not_found(request)
        return _versions(request, {"trials": _trials_version(run, request)})

    def trials_part(self, request: Request) -> Response:
        run, state = self._state(request)
        if run is None or state is None:
            return _not_found(request)
        query = Query.of(request.query_params)
        return _html(trials_part(run, state, query, _trials_version(run, request)).html())

    def trial(self, request: Request) -> Response:
        run, found = self._trial(request)
        return _html(trial_page(run, found)) if run and found else _not_found(request)

    def trial_versions(self, request: Request) -> Response:
        _, found = self._trial(request)
        return _versions(request, {"trial": trial_version(found)}) if found else _not_found(request)

    def trial_part(self, request: Request) -> Response:
        run, found = self._trial(request)
        return _html(trial_part(run, found).html()) if run and found else _not_found(request)

    def samples(self, request: Request) -> Response:
        _, found = self._trial(request)
        picture = samples_picture(found) if found else None
        if picture is None:
            return _not_found(request)
        return Response(picture, media_type="image/svg+xml", headers={"Content-Security-Policy": _PICTURE})

    def _run(self, request: Request) -> WatchedRun | None:
        return self._library.run(request.path_params["run"])

    def _state(self, request: Request) -> tuple[WatchedRun | None, RunState | None]:
        run = self._run(request)
        if run is None:
            return None, None
        seen = run.state.seen()
        if seen.value is None and seen.error is None:
            seen = run.state.seen(_FIRST_WAIT)
        if seen.value is None and seen.error:
            raise seen.error
        return run, seen.value

    def _trial(self, request: Request) -> tuple[WatchedRun | None, Found | None]:
        run, state = self._state(request)
        return run, find_trial(state, request.path_params["trial"]) if state else None


_FIRST_WAIT = 30.0


def _trials_version(run: WatchedRun, request: Request) -> str:
    return f"{run.state.seen().version} {_digest(str(request.query_params))}"


def _made(run: WatchedRun, name: str) -> str:
    if name == IN_RUN_DIR.report.name:
        return make_report([run.subject()]).html
    stream = io.StringIO(newline="")
    if name == IN_RUN_DIR.curves_csv.name:
        write_curves_csv(run.open(curves=True), stream)
    elif name == IN_RUN_DIR.trials_csv.name:
        write_long_csv(run.open(curves=False), stream)
    elif name == IN_RUN_DIR.shapley_csv.name:
        write_shapley_csv(table_of_runs([run.open(curves=False)]), stream)
    elif name == IN_RUN_DIR.path_csv.name:
        write_path_csv(table_of_runs([run.open(curves=False)]), stream)
    else:
        EXPORTERS[name.rpartition(".")[2]](table_of_runs([run.open(curves=False)]), stream)
    return stream.getvalue()


def _html(content: str) -> Response:
    return Response(content, media_type="text/html")


def _versions(request: Request, versions: dict[str, str]) -> Response:
    """The versions; status 304 without content where the browser has the same."""
    content = json.dumps(versions, sort_keys=True)
    tag = f'"{_digest(content)}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(content, media_type="application/json", headers={"ETag": tag})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _not_found(request: Request, err: Exception | None = None) -> Response:
    return PlainTextResponse("Nothing is here (any more). The overview has all runs: /", 404)


def _unreadable(request: Request, err: Exception) -> Response:
    return PlainTextResponse(f"This run cannot be read.\n\n{err}\n", 500)
