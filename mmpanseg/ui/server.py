"""The server: gradio's page, and the pictures, files and reports that the page shows."""
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.ui import downloads, examples
from mmpanseg.ui.page import Page, asset, theme
from mmpanseg.ui.report_folders import ReportFolders
from mmpanseg.ui.session import Session, Sessions
from mmpanseg.ui.view import frame_view

# ports that are tried after the one that is wanted
PORTS = 20
# the page may load nothing from elsewhere; gradio's components need the rest
POLICY = ("default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
          "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
          "media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
          "worker-src 'self' blob:; frame-src 'self'; object-src 'none'; base-uri 'self'; "
          "form-action 'self'; frame-ancestors 'self'")


class Guard:
    """Refuses requests of other sites, and says in every answer what a browser may do with it.

    Args:
        app: the application.
        hosts: names under which the server may be addressed; None for any.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] | None) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get('host', '')
        origin = headers.get('origin')
        if self.hosts is not None and _host_name(host) not in self.hosts:
            await Response('unknown host', 403)(scope, receive, send)
            return
        # a sandboxed report has the origin null, and only reads
        if scope['method'] not in ('GET', 'HEAD') and origin is not None and (
                urlsplit(origin).netloc != host):
            await Response('other origin', 403)(scope, receive, send)
            return
        report = scope['path'].startswith('/app/report/')

        async def answer(message: Message) -> None:
            if message['type'] == 'http.response.start':
                found = MutableHeaders(scope=message)
                # the page of a report has a stricter policy of its own
                found['Content-Security-Policy'] = 'sandbox allow-scripts' if report else POLICY
                found['X-Content-Type-Options'] = 'nosniff'
                found['Referrer-Policy'] = 'no-referrer'
                if not scope['path'].startswith(('/assets/', '/static/')):
                    found['Cache-Control'] = 'no-store'
            await send(message)

        await self.app(scope, receive, answer)


def make_app(page: Page, sessions: Sessions, reports: ReportFolders,
             hosts: Sequence[str] | None) -> FastAPI:
    """Make the application.

    Args:
        page: of gradio.
        sessions: of the open pages.
        reports: folders of the second tab.
        hosts: see :class:`Guard`.
    """
    import gradio as gr

    silent: dict[str, Any] = dict(docs_url=None, redoc_url=None, openapi_url=None)
    app = FastAPI(**silent)

    @app.get('/app/example/{number}.jpg')
    def example(number: int) -> Response:
        if not 0 <= number < examples.COUNT:
            raise HTTPException(404)
        return Response(examples.thumbnail(number), media_type='image/jpeg')

    @app.get('/app/page/{token}/{version}/image/{number}.jpg')
    def image(token: str, version: int, number: int) -> Response:
        session = _session(sessions, token, version, number)
        return Response(session.frames[number].jpeg, media_type='image/jpeg')

    @app.get('/app/page/{token}/{version}/frame/{number}')
    def frame(token: str, version: int, number: int) -> Response:
        return JSONResponse(frame_view(_session(sessions, token, version, number), number))

    @app.get('/app/page/{token}/{version}/files/{kind}')
    def file(token: str, version: int, kind: str, frame: int = 0, hidden: str = '',
             alpha: float = 0.55, names: bool = True) -> Response:
        session = _session(sessions, token, version, frame)
        labels = {int(part) for part in hidden.split('-') if part.isdecimal()}
        try:
            content = downloads.make_file(session, kind, frame, labels, min(max(alpha, 0), 1),
                                          names)
        except KeyError:
            raise HTTPException(404) from None
        except (ValueError, OSError) as error:
            return Response(one_line(error), 422, media_type='text/plain')
        return Response(content, media_type=downloads.KINDS[kind], headers={
            'Content-Disposition': _attachment(downloads.file_name(session, kind, frame))})

    @app.get('/app/report/{key}/{path:path}')
    async def report(key: str, path: str) -> Response:
        try:
            found, kind = await run_in_threadpool(reports.file, key, path)
        except (FileNotFoundError, OSError):
            raise HTTPException(404) from None
        return FileResponse(found, media_type=kind)

    blocks = page.build()
    gr.mount_gradio_app(
        app, blocks, '/', app_kwargs=silent, footer_links=[], run_history=False, show_error=False,
        max_file_size=page.bench.limits.num_bytes, ssr_mode=False, pwa=False,
        enable_monitoring=False, mcp_server=False, theme=theme(), css=asset('page.css'))
    app.add_middleware(Guard, hosts=hosts)
    return app


def _session(sessions: Sessions, token: str, version: int, number: int) -> Session:
    """Session with a token that still shows the image of a version."""
    session = sessions.find(token)
    if session is None or session.version != version or not 0 <= number < len(session.frames):
        raise HTTPException(404)
    return session


def _attachment(name: str) -> str:
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


def _host_name(host: str) -> str:
    """Name in a Host header, without its port."""
    return urlsplit(f'//{host}').hostname or ''


@contextlib.contextmanager
def free_socket(host: str, port: int) -> Iterator[socket.socket]:
    """Bind the wanted port or the next free one.

    Args:
        host: address to bind to.
        port: the first one that is tried; 0 for any.

    Yields:
        the socket.

    Raises:
        UsageError: no port is free, or the host is none of this machine.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    bound = None
    for candidate in range(port, min(port + PORTS, 65536)):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, candidate))
            # a browser that comes at once waits for the server
            sock.listen(128)
            bound = sock
            break
        except OSError as error:
            sock.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise UsageError(f'--host {host}: {error.strerror or error}') from error
    if bound is None:
        raise UsageError(f'--port {port}: this port and the {PORTS - 1} after it are in use')
    try:
        yield bound
    finally:
        bound.close()


def serve(app: FastAPI, bound: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until the process is interrupted or told to end.

    Args:
        app: the application.
        bound: socket to listen at.
        ready: called when a browser can open the page.
    """
    # uvicorn raises the signals that ended it once more: without a handler SIGTERM would kill
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    # pages keep a connection open, which would delay the end
    config = uvicorn.Config(app, log_level='warning', timeout_graceful_shutdown=1,
                            server_header=False)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            ready()
            uvicorn.Server(config).run(sockets=[bound])
    finally:
        signal.signal(signal.SIGTERM, former)


def page_address(host: str, port: int) -> str:
    """Address of the page for a browser on this machine.

    Args:
        host: that the server is bound to.
        port: of the server.
    """
    name = '127.0.0.1' if host in ('0.0.0.0', '::') else host
    return f'http://{f"[{name}]" if ":" in name else name}:{port}/'

