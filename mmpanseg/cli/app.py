"""The click group ``mmpanseg``, which finds its verbs in :mod:`mmpanseg.cli.verbs`.

Exit statuses: 0 success, 1 a mistake in files or values, or some inputs that failed, 2 a mistake in
the command line, 130 Ctrl-C.
"""
import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mmpanseg.cli.screen import error_handling
from mmpanseg.cli.verb import SECTIONS, Verb, write_lines
from mmpanseg.version import __version__

_VERBS = 'mmpanseg.cli.verbs'


class VerbGroup(click.Group):
    """Group whose commands are the files of a package, imported when they are needed.

    A file ``name.py`` contains a click command ``command``; ``_`` in its name is ``-`` there.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        package = importlib.import_module(_VERBS)
        names = [path.stem.replace('_', '-') for folder in package.__path__
                 for path in Path(folder).glob('*.py') if not path.stem.startswith('_')]
        return sorted(names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f'{_VERBS}.{cmd_name.replace("-", "_")}')
        module.command.name = cmd_name
        return module.command

    def resolve_command(self, ctx: click.Context, args: list[str]
                        ) -> tuple[str | None, click.Command | None, list[str]]:
        name, names = args[0], self.list_commands(ctx)
        if not name.startswith('-') and name not in names:
            near = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
            raise click.UsageError(
                f'{name} is no verb' + (f', did you mean {" or ".join(near)}?' if near else
                                        f': there are {", ".join(names)}'), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        verbs = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        for section in SECTIONS:
            rows = [(name, verb.get_short_help_str(formatter.width - 20)) for name, verb in verbs
                    if verb is not None and getattr(verb, 'section', SECTIONS[-1]) == section]
            if rows:
                with formatter.section(click.style(section, bold=True)):
                    formatter.write_dl(rows)
        write_lines(formatter, 'Examples',
                    [verb.examples[0] for _, verb in verbs
                     if isinstance(verb, Verb) and verb.examples])

    def invoke(self, ctx: click.Context) -> Any:
        with error_handling(lambda: ' '.join(
                name for name in (ctx.command_path, ctx.invoked_subcommand) if name)):
            return super().invoke(ctx)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None,
             complete_var: str | None = None, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the command and exit with its status.

        A verb's function may return its exit status; None is 0.
        """
        prog_name = prog_name or self.name
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        with error_handling(lambda: prog_name or ''):
            status = super().main(args, prog_name, complete_var, False, **extra)
        sys.exit(status if isinstance(status, int) else 0)


@click.group('mmpanseg', cls=VerbGroup, subcommand_metavar='VERB [OPTIONS]',
             context_settings=dict(help_option_names=['-h', '--help'], max_content_width=100),
             epilog='`mmpanseg VERB --help` lists the options of a verb.')
@click.version_option(__version__, message='mmpanseg %(version)s')
def main() -> None:
    """Panoptic, instance and semantic segmentation with mask-classification models."""
