"""Links of the pages, which are read in a checkout too, made into links of the site."""
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r'(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)')
# place of a file in the checkout -> page of the site
PAGES = {'CHANGELOG.md': 'changelog.md', 'CONTRIBUTING.md': 'contributing.md',
         'README.md': 'index.md'}
# page of the site -> its file in the checkout, where that lies outside docs/
SOURCES = {page: file for file, page in PAGES.items() if file != 'README.md'}


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Replace links to files of the checkout: by pages of the site, or by the path as text."""
    own = page.file.src_uri
    source = SOURCES.get(own, f'docs/{own}')
    if own.startswith('models/'):
        source = f'configs/{Path(own).stem}/README.md'

    def replace(match: re.Match) -> str:
        image, text, target, anchor = match.groups()
        if '://' in target or target.startswith('mailto:'):
            return match.group(0)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        site = page_of(path)
        if site is not None:
            link = posixpath.relpath(site, posixpath.dirname(own) or '.')
            return f'{image}[{text}]({link}{anchor or ""})'
        if (ROOT / path).exists():
            return text if text == f'`{path}`' else f'{text} (`{path}`)'
        return match.group(0)

    return LINK.sub(replace, markdown)


def page_of(path: str) -> str | None:
    """Page of the site, or picture, that shows a file of the checkout; None if none does."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith('docs/') and not path.startswith('docs/site/'):
        return path.removeprefix('docs/')
    match = re.fullmatch(r'configs/(\w+)(/README\.md)?', path)
    if match and (ROOT / 'configs' / match[1] / 'README.md').exists():
        return f'models/{match[1]}.md'
    return None
