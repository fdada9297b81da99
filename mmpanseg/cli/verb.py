"""A verb of the command: a click command with a section, examples and options of several values."""
from collections.abc import Sequence
from typing import Any

import click

# Sections of `mmpanseg --help`, from top to bottom.
SECTIONS = ('Use models', 'Train and score', 'Data', 'Files and machine')


class Verb(click.Command):
    """A click command, described in :class:`mmpanseg.cli.app.VerbGroup`'s help.

    An option with ``multiple=True`` also accepts its values as argparse does: ``--cfg-options A=1
    B=2`` is ``--cfg-options A=1 --cfg-options B=2``, if it is named in ``several``.

    Args:
        args: of ``click.Command``.
        section: one of :data:`SECTIONS`.
        examples: command lines, the first one is also in the help of the command.
        several: option -> text that each of its further values contains.
        kwargs: of ``click.Command``.
    """

    def __init__(self, *args: Any, section: str = SECTIONS[-1], examples: Sequence[str] = (),
                 several: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if section not in SECTIONS:
            raise ValueError(f'section of a verb must be one of {", ".join(SECTIONS)}, '
                             f'got {section}')
        self.section, self.examples = section, tuple(examples)
        self.several = {'--cfg-options': '='} if several is None else several

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._repeat_options(args))

    def _repeat_options(self, args: Sequence[str]) -> list[str]:
        """Write an option before each of its values."""
        repeated: list[str] = []
        option, values = None, 0
        for index, argument in enumerate(args):
            if argument == '--':
                return repeated + list(args[index:])
            if argument.startswith('-') and argument != '-':
                option, values = argument if argument in self.several else None, 0
            elif option is not None:
                if values and self.several[option] not in argument:
                    option = None
                elif values:
                    repeated.append(option)
                values += 1
            repeated.append(argument)
        return repeated

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        write_lines(formatter, 'Examples' if len(self.examples) > 1 else 'Example', self.examples)


def write_lines(formatter: click.HelpFormatter, title: str, lines: Sequence[str]) -> None:
    """Write a section of command lines, which are never wrapped."""
    if lines:
        with formatter.section(click.style(title, bold=True)):
            for line in lines:
                formatter.write(f'{"":>{formatter.current_indent}}{line}\n')
