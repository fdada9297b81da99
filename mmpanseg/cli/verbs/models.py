"""``mmpanseg models``: the table of all models."""
from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING, Any

import click

from mmpanseg.cli.screen import console
from mmpanseg.cli.verb import Verb
from mmpanseg.engine.command_line import UsageError
from mmpanseg.utils import strict_json

if TYPE_CHECKING:
    from mmpanseg.hub import ModelInfo

# Columns of a terminal from which the table also has task, data set and backbone.
_WIDE = 150
_COLUMNS = ('name', 'short_name', 'system', 'task', 'dataset', 'backbone', 'parameters', 'metric',
            'score', 'license', 'by_name')
_BY_NAME = {
    'cached': 'yes, in the cache', 'yes': 'yes, with a download',
    'drive': 'yes, from Google Drive, which may send a page instead of the file',
    'no': 'no weights are published'}


@click.command(cls=Verb, section='Use models', examples=(
    'mmpanseg models swin coco panoptic', 'mmpanseg models mask2former-r50-coco-panoptic',
    'mmpanseg models --json'))
@click.argument('pattern', nargs=-1)
@click.option('--json', 'as_json', is_flag=True, help='Write JSON.')
def command(pattern: tuple[str, ...], as_json: bool) -> None:
    """List the models: configs, published results and weights.

    PATTERN: words that are all parts of a name, system, task, data set or backbone, or a pattern of
    names with *. A whole name shows everything about one model. Where the output is no terminal, it
    is a table with tabs.
    """
    from mmpanseg.hub import list_models

    text = ' '.join(pattern)
    models = list_models(text or None)
    if not models:
        raise UsageError(f'no model matches {text}; {_near(text, list_models())}')
    exact = len(models) == 1 and text in (models[0].name, models[0].short_name)
    if as_json:
        click.echo(strict_json.dumps([_as_dict(model) for model in models], indent=2))
    elif exact or len(models) == 1 and sys.stdout.isatty():
        _show(models[0])
    elif sys.stdout.isatty():
        _show_table(models)
    else:
        _write_rows(models)


def _near(text: str, models: list[ModelInfo]) -> str:
    names = [name for model in models for name in (model.short_name, model.name) if name]
    near = difflib.get_close_matches(text, names, n=4, cutoff=0.5)
    return f'near names are {", ".join(near)}' if near else '`mmpanseg models` lists all of them'


def _as_dict(model: ModelInfo) -> dict[str, Any]:
    release = model.release
    found = dict(
        name=model.name, short_name=model.short_name or None, config=str(model.config),
        system=model.system, task=model.task, dataset=model.dataset, backbone=model.backbone,
        parameters=model.parameters, scores=model.scores, by_name=model.by_name)
    if release is None:
        return dict(found, weights=None)
    return dict(found, weights=dict(
        url=release.url, license=release.license, md5=release.md5 or None,
        sha256=release.sha256 or None, size=release.size,
        cached=str(model.cached) if model.cached else None))


def _write_rows(models: list[ModelInfo]) -> None:
    click.echo('\t'.join(_COLUMNS))
    for model in models:
        metric, value = model.score or ('', '')
        license_name = model.release.license if model.release else ''
        click.echo('\t'.join(map(str, (
            model.name, model.short_name, model.system, model.task, model.dataset, model.backbone,
            model.parameters or '', metric, value, license_name, model.by_name))))


def _show(model: ModelInfo) -> None:
    """Everything about one model."""
    release = model.release
    rows = {
        'config': model.config, 'system': model.system, 'task': model.task,
        'data set': model.dataset, 'backbone': model.backbone,
        'parameters': _millions(model.parameters),
        'published': ', '.join(f'{key} {value}' for key, value in model.scores.items()),
        'by name': _BY_NAME[model.by_name]}
    if release is not None:
        from mmpanseg.hub.published import download_path, read_record

        hashes = read_record(release)
        rows.update({
            'short name': release.short_name, 'weights': release.url,
            'license': release.license + (', no commercial use' if release.is_noncommercial
                                          else ''),
            'MD5': hashes.get('md5') or (f'{release.md5}...' if release.md5 else 'not published'),
            'SHA-256': release.sha256 or hashes.get('sha256') or 'not published',
            'in the cache': model.cached or f'no; a file at {download_path(release)} is used'})
    width = max(map(len, rows))
    screen = console()
    screen.print(model.name, style='bold', markup=False)
    for key, value in rows.items():
        if value:
            screen.print(f'  {key:<{width}}  {value}', markup=False)


def _show_table(models: list[ModelInfo]) -> None:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    screen = console()
    wide = screen.width >= _WIDE
    for system in dict.fromkeys(model.system for model in models):
        table = Table(title=system, title_justify='left', title_style='bold', box=None,
                      header_style='dim', pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column('config, short name', overflow='fold')
        for title in ('task', 'data set', 'backbone') if wide else ():
            table.add_column(title, no_wrap=True)
        table.add_column('params', justify='right', no_wrap=True)
        table.add_column('published, license', no_wrap=True)
        table.add_column('by name', no_wrap=True)
        for model in models:
            if model.system != system:
                continue
            metric, value = model.score or ('', '')
            name, score = Text(model.name), Text(f'{metric} {value}'.strip())
            release = model.release
            table.add_row(
                Group(name, Text(f'  {release.short_name}', style='cyan')) if release else name,
                *((model.task, model.dataset, model.backbone) if wide else ()),
                _millions(model.parameters),
                Group(score, Text(release.license)) if release else score,
                '' if model.by_name == 'no' else model.by_name)
        screen.print(table)
        screen.print()
    screen.print('--model takes both names. A short name brings its weights, `by name`: yes (by '
                 'download), cached,\ndrive (from Google Drive).', style='dim', markup=False)


def _millions(count: int | None) -> str:
    return f'{count / 1e6:.1f} M' if count else ''
