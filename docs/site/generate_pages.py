"""Pages that are made while the site is built: models, changelog, contributing, API reference."""
from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'mmpanseg'
# copied from outside docs/
COPIED = {'CHANGELOG.md': 'changelog.md', 'CONTRIBUTING.md': 'contributing.md'}
# room -> title, in the order of the reference
ROOMS = {
    'apis': 'Inference API',
    'results': 'Results',
    'video': 'Videos',
    'datasets': 'Data sets and transforms',
    'structures': 'Data structures',
    'models/segmentors': 'Segmentors',
    'models/heads': 'Heads',
    'models/backbones': 'Backbones',
    'models/pixel_decoders': 'Pixel decoders',
    'models/transformer_decoders': 'Transformer decoders',
    'models/losses': 'Criteria',
    'models/task_modules': 'Matching',
    'models/inference': 'From queries to results',
    'models/fusion_heads': 'Fusion heads',
    'models/layers': 'Layers',
    'evaluation': 'Metrics',
    'visualization': 'Visualization',
    'checkpoints': 'Checkpoints',
    'engine': 'Runner and hooks',
    'analysis': 'Analysis',
    'utils': 'Utilities',
}


def write(path: str, text: str) -> None:
    """Write a page of the site."""
    with mkdocs_gen_files.open(path, 'w') as page:
        page.write(text)


def model_pages() -> list[tuple[str, str]]:
    """The README of each system's configs as a page; returns titles and paths."""
    pages = []
    for readme in sorted((ROOT / 'configs').glob('*/README.md')):
        text = readme.read_text()
        path = f'models/{readme.parent.name}.md'
        write(path, text)
        mkdocs_gen_files.set_edit_path(path, readme.relative_to(ROOT).as_posix())
        pages.append((text.splitlines()[0].lstrip('# '), path))
    return pages


def reference_pages() -> list[tuple[str, str]]:
    """A page for each room, with its public modules; returns titles and paths."""
    pages = []
    for room, title in ROOMS.items():
        blocks = [f'# {title}\n', f'`mmpanseg.{room.replace("/", ".")}`\n']
        for module in sorted((PACKAGE / room).rglob('*.py')):
            if module.name.startswith('_'):
                continue
            name = module.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')
            blocks.append(f'## {name.rsplit(".", 1)[-1]}\n\n::: {name}\n'
                          '    options:\n      show_root_heading: false\n'
                          '      show_root_toc_entry: false\n      heading_level: 3\n')
        path = f'reference/{room.replace("/", "_")}.md'
        write(path, '\n'.join(blocks))
        pages.append((title, path))
    return pages


def summary(models: list[tuple[str, str]], reference: list[tuple[str, str]]) -> str:
    """The navigation: that of docs/nav.md, with the generated pages in their places."""
    nav = (ROOT / 'docs' / 'nav.md').read_text()
    for mark, pages in (('(models)', models), ('(reference)', reference)):
        nav = nav.replace(f'    * {mark}', '\n'.join(
            f'    * [{title}]({path})' for title, path in pages))
    return nav


for source, target in COPIED.items():
    if (ROOT / source).exists():
        write(target, (ROOT / source).read_text())
write('SUMMARY.md', summary(model_pages(), reference_pages()))
