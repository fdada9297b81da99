"""What ``mmpanseg import`` shows: progress, classes, what the doctor says, the next commands."""
from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmpanseg.cli.doctor_screen import DoctorScreen, Progress
from mmpanseg.cli.screen import console
from mmpanseg.engine.command_line import UsageError
from mmpanseg.importers.class_selection import ClassOptions
from mmpanseg.importers.reader import ReadOptions
from mmpanseg.importers.run import Imported, OutputOptions, run_import
from mmpanseg.importers.source_image import SourceError
from mmpanseg.importers.split import SplitOptions


def import_with_progress(format_name: str, src: Path, dst: Path,
                         options: Mapping[str, Any]) -> Imported:
    """Import with a progress bar, and show a table of the classes.

    Args:
        format_name: the format.
        src: the source.
        dst: the result.
        options: those of the verb.

    Raises:
        UsageError: an option or the source is wrong.
        FileWriteError: the result cannot be written.
    """
    def path(name: str) -> Path | None:
        return None if options[name] is None else Path(options[name]).expanduser()

    read = ReadOptions(
        images=path('images'), annotations=path('annotations'), classes=path('classes'),
        stuff_maps=path('stuff_maps'), instances=path('instances'),
        instance_ids=options['instance_ids'], label_suffix=options['label_suffix'])
    if options['ignore']:
        read = read._replace(ignore=options['ignore'])
    screen = console(stderr=True)
    if screen.is_terminal:
        screen.print(f'reading {src}', style='dim', markup=False)
    with Progress('images') as progress:
        try:
            imported = run_import(
                format_name, src, dst, read=read,
                split=SplitOptions(options['val'], options['seed'], options['group']),
                classes=ClassOptions(options['things'], options['stuff'], options['rename'],
                                     options['drop'], options['background']),
                output=OutputOptions(options['task'], options['images_by'], options['min_area'],
                                     options['skip_errors']),
                workers=options['workers'], progress=progress.advance)
        except SourceError as error:
            raise UsageError(str(error)) from error
    show_classes(imported)
    return imported


def show_classes(imported: Imported) -> None:
    """Show numbers of images, of segments (of label maps: images) by class, and notes."""
    screen = console()
    images = ', '.join(f'{count} {split}' for split, count in imported.images.items())
    screen.print(f'{imported.folder}: {imported.task}, images: {images}', markup=False,
                 style='bold')
    what = 'images' if imported.task == 'semantic' else 'segments'
    for kind, title in ((1, 'things'), (0, 'stuff')):
        names = [entry['name'] for entry in imported.classes if entry['isthing'] == kind]
        counts = [sum(split[name] for split in imported.segments.values()) for name in names]
        if names:
            shown = [f'{name} {count}' for name, count in zip(names, counts) if count]
            if unused := len(names) - len(shown):
                shown.append(f'{unused} class{"es" if unused > 1 else ""} without any')
            listed = ', '.join(shown)
            screen.print(f'{len(names)} {title} ({what}): {listed}', markup=False)
    for note in imported.notes:
        screen.print(f'note: {note}', markup=False)


def check_result(imported: Imported, system: str | None, backbone: str | None,
                 base: str | None) -> int:
    """Write a config, run the doctor on its data sets, and show the next commands.

    Without validation images there is no config; the doctor checks the folder.

    Args:
        imported: the import.
        system: system of the config, None for the default.
        backbone: backbone of the config, None for the default.
        base: weights that the config starts from, None for those of the backbone.

    Returns:
        exit status of the doctor.
    """
    from mmpanseg.doctor.file_sources import sources_of_files
    from mmpanseg.doctor.run import run_doctor
    from mmpanseg.doctor.source import sources_of_config
    from mmpanseg.engine.launch import load_config
    from mmpanseg.hub.new_config import write_config

    config = None
    if imported.images.get('val'):
        config = write_config(imported.folder, system=system, backbone=backbone, base=base,
                              force=True)
        sources = sources_of_config(load_config(str(config)))
    else:
        sources = sources_of_files([str(imported.folder)])
    with Progress('doctor') as progress:
        report = run_doctor(sources, progress=progress.advance)
    DoctorScreen().show(report)
    screen = console()
    if config is None:
        screen.print('\nno config: it needs validation images; import with --val 0.2, or name '
                     'those of another folder in `mmpanseg init`', markup=False)
        return report.exit_status()
    screen.print(f'\nconfig: {config}', markup=False)
    for verb, meaning in (('browse', 'see what training sees'), ('train', 'train')):
        screen.print(f'  mmpanseg {verb} {shlex.quote(str(config))}', markup=False, end='')
        screen.print(f'   # {meaning}', style='dim', markup=False)
    folder = shlex.quote(str(imported.folder))
    screen.print(f'  mmpanseg init {folder} --system kmax_deeplab', markup=False, end='')
    screen.print('   # another model', style='dim', markup=False)
    return report.exit_status()
