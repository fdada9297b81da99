"""What ``mmpanseg doctor`` does, from its options to its exit status."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from mmpanseg.cli.doctor_screen import DoctorScreen, Progress
from mmpanseg.cli.screen import fail
from mmpanseg.cli.verbs.convert import config_path
from mmpanseg.doctor import Source, run_doctor, sources_of_config
from mmpanseg.doctor.file_sources import read_class_names, sources_of_files
from mmpanseg.doctor.fixes.fix import fix_lines, fix_sources, read_things
from mmpanseg.doctor.source import SPLITS, TargetError
from mmpanseg.engine.command_line import UsageError
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import result_file


def doctor(targets: Sequence[str], images: Sequence[str], maps: Sequence[str], kind: str | None,
           classes: tuple[str, ...], splits: Sequence[str], fast: bool, strict: bool,
           show_all: bool, json_file: Path | None, fix_folder: Path | None,
           things: str | None, max_pixels: int | None, workers: int | None,
           cfg_options: dict[str, Any] | None) -> int:
    """Run the verb; arguments are its options.

    Returns:
        the exit status.

    Raises:
        SystemExit: status 2, with one line, for targets that cannot be checked.
    """
    try:
        known_things = None if things is None else read_things(things)
    except ValueError as error:
        _refuse(str(error))
    try:
        if _are_files(targets):
            sources = _file_sources(targets, images, maps, kind, classes, splits, cfg_options)
        else:
            for option, value in (('--images', images), ('--maps', maps), ('--kind', kind),
                                  ('--classes', classes)):
                if value:
                    raise click.UsageError(f'{option} is for JSONs and folders; the config names '
                                           'its own')
            sources = _config_sources(targets, splits, cfg_options)
    except (TargetError, UsageError) as error:
        _refuse(str(error))
    as_text = json_file is None or str(json_file) != '-'
    screen = DoctorScreen(show_all, strict)
    with Progress('images') as progress:
        report = run_doctor(sources, fast=fast, max_pixels=max_pixels, workers=workers,
                            progress=progress.advance)
    if as_text:
        screen.show(report)
    if json_file is not None:
        text = strict_json.dumps(report.as_dict(), indent=1)
        if as_text:
            with result_file(json_file) as part:
                part.write_text(text + '\n', encoding='utf-8')
            screen.line(f'everything as JSON: {json_file}')
        else:
            screen.line(text)
    if fix_folder is not None:
        _fix(sources, fix_folder, known_things, screen if as_text else None, fast=fast,
             max_pixels=max_pixels, workers=workers)
    return report.exit_status(strict)


def _refuse(text: str) -> NoReturn:
    fail(text, status=2)


def _are_files(targets: Sequence[str]) -> bool:
    return all(Path(target).is_dir() or Path(target).suffix.lower() == '.json'
               for target in targets)


def _file_sources(targets: Sequence[str], images: Sequence[str], maps: Sequence[str],
                  kind: str | None, classes: tuple[str, ...], splits: Sequence[str],
                  cfg_options: dict[str, Any] | None) -> list[Source]:
    if cfg_options:
        raise click.UsageError('--cfg-options is for configs')
    if len(classes) == 1 and classes[0].endswith('.json'):
        classes = read_class_names(Path(classes[0]))
    sources = sources_of_files(targets, images, maps, kind, classes)
    kept = [source for source in sources if not splits or source.role in splits]
    if not kept:
        raise TargetError(f'none of the targets belongs to --split {" ".join(splits)}; they are '
                          f'{", ".join(source.split for source in sources)}')
    return kept


def _config_sources(targets: Sequence[str], splits: Sequence[str],
                    cfg_options: dict[str, Any] | None) -> list[Source]:
    if len(targets) != 1:
        raise click.UsageError('give one config, or JSONs and folders')
    from mmpanseg.engine.launch import load_config

    return sources_of_config(load_config(config_path(targets[0]), cfg_options),
                             splits or SPLITS)


def _fix(sources: Sequence[Source], out: Path, things: tuple[str, ...] | None,
         screen: DoctorScreen | None, **options: Any) -> None:
    """Write a repaired copy, check it, and show what is left for its author."""
    try:
        with Progress('repairs') as progress:
            fixed = fix_sources(
                sources, out, fast=options['fast'], things=things, workers=options['workers'],
                progress=progress.advance)
    except ValueError as error:
        _refuse(f'--fix: {error}')
    except OSError as error:
        raise UsageError(f'--fix {out}: {error}') from error
    with Progress('repaired images') as progress:
        after = run_doctor(fixed.sources, progress=progress.advance, **options)
    if screen is not None:
        screen.show_repairs(fix_lines(fixed, after), out)
