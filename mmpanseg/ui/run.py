"""Starts the web app."""
import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmpanseg.engine.command_line import UsageError
from mmpanseg.ui.limits import Limits
from mmpanseg.ui.private_folder import private_folder

LOOPBACK = ('127.0.0.1', 'localhost', '::1')
# gradio and the libraries below it ask for news and send figures of use, unless these are set
_SILENT = dict(GRADIO_ANALYTICS_ENABLED='False', HF_HUB_DISABLE_TELEMETRY='1',
               DISABLE_TELEMETRY='1', GRADIO_RUN_HISTORY='False')


@dataclass(frozen=True)
class UiOptions:
    """Options of the command line, see ``mmpanseg ui --help``."""
    models: Sequence[str] = ()
    host: str = '127.0.0.1'
    port: int = 7860
    reports: Sequence[Path] = ()
    report_parents: Sequence[Path] = ()
    device: str | None = None
    offline: bool = False
    limits: Limits = field(default_factory=Limits)
    load_options: dict[str, Any] = field(default_factory=dict)


def require_gradio() -> None:
    """Check that gradio is installed.

    Raises:
        UsageError: it is not; the text has the command that installs it.
    """
    if importlib.util.find_spec('gradio') is None:
        raise UsageError("the web app needs the package gradio: pip install 'mmpanseg[ui]'")


def run_ui(options: UiOptions, say: Callable[[str], None]) -> None:
    """Serve the web app until Ctrl-C.

    Args:
        options: of the command line.
        say: writes a line to the screen.

    Raises:
        UsageError: gradio is missing, a model or a report is not there, or no port is free.
    """
    require_gradio()
    os.environ.update(_SILENT)
    from mmpanseg.ui import examples
    from mmpanseg.ui.model_shelf import ModelShelf, given_models, published_models
    from mmpanseg.ui.report_folders import ReportFolders
    from mmpanseg.ui.session import Sessions
    from mmpanseg.ui.workbench import Workbench

    given = given_models(options.models)
    names = {choice.name for choice in given}
    choices = given + [choice for choice in published_models(options.offline)
                       if choice.name not in names]
    reports = ReportFolders(options.reports, options.report_parents)
    if not choices:
        raise UsageError('no model to choose: give some with --model NAME; without a network only '
                         'those that were downloaded before')
    shelf = ModelShelf(choices, options.device, options.offline, options.load_options)
    first = choices[0].name
    say(f'Loading {choices[0].title}')
    shelf.get(first)
    for number in range(examples.COUNT):
        examples.thumbnail(number)  # a page that opens shows them at once
    with private_folder() as folder:
        from mmpanseg.ui.page import Page
        from mmpanseg.ui.server import free_socket, make_app, page_address, serve

        sessions = Sessions(options.limits.pages)
        page = Page(Workbench(shelf, options.limits), sessions, reports, folder, first)
        with free_socket(options.host, options.port) as bound:
            port = bound.getsockname()[1]
            local = options.host in LOOPBACK
            app = make_app(page, sessions, reports, LOOPBACK if local else None)
            if options.port not in (0, port):
                say(f'Port {options.port} is in use; this is the next free one.')
            if not local:
                say(f'Warning: --host {options.host} lets every machine that reaches this one use '
                    'the page, without a password.')
            text = f'Open {page_address(options.host, port)} in a browser; Ctrl-C ends the server.'
            serve(app, bound, lambda: say(text))
    say('Stopped; nothing of it remains on the disk.')
