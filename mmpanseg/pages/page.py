"""Writes HTML pages that open from a disk: one file with its style and script, pictures beside it.

Every text is escaped, and the policy of a page refuses other scripts, styles and addresses. What
cannot be a character of a page, such as bytes of a file name in no known encoding, becomes a
replacement character.
"""
import base64
import hashlib
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import quote

from mmpanseg.utils.atomic_files import result_file

# not a name of a tag or of an attribute
_NO_NAME = re.compile(r'[^a-zA-Z0-9-]')
_FORBIDDEN = re.compile('[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]')
_VOID_TAGS = frozenset(('br', 'hr', 'img', 'input', 'meta', 'link'))
_CODE_TAGS = frozenset(('script', 'style'))
_ADDRESSES = frozenset(('href', 'src', 'action', 'formaction'))


class Markup(str):
    """HTML that is inserted as it is; made by :func:`tag`."""


Content = object


def escape(text: object) -> Markup:
    """Convert a value to text of a page.

    Args:
        text: any value; :class:`Markup` stays as it is.
    """
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_FORBIDDEN.sub('\ufffd', str(text)), quote=True))


def tag(name: str, *children: Content,
        attributes: Mapping[str, object] | None = None, **more: object) -> Markup:
    """Create an element.

    Args:
        name: of the element.
        children: texts, which are escaped, :class:`Markup`, numbers, and lists of them. None is
            left out.
        attributes: name -> value; True is an attribute without value, None and False are left out.
        more: the same, with ``_`` for ``-`` in names and ``class_`` for ``class``.

    Raises:
        ValueError: a name has characters that names cannot have; an address leads out of the folder
            of the page; the element is code, which only :func:`write_page` adds.
    """
    if _NO_NAME.search(name) or not name or name in _CODE_TAGS:
        raise ValueError(f'{name!r} is no element of a page')
    pairs = {**(attributes or {}),
             **{key.rstrip('_').replace('_', '-'): value for key, value in more.items()}}
    opening = name + ''.join(_attribute(key, value) for key, value in pairs.items()
                             if value is not None and value is not False)
    if name in _VOID_TAGS:
        return Markup(f'<{opening}>')
    return Markup(f'<{opening}>{"".join(_flat(children))}</{name}>')


def _attribute(key: str, value: object) -> str:
    if _NO_NAME.search(key) or not key or key.lower().startswith('on'):
        raise ValueError(f'{key!r} is no attribute of a page')
    if value is True:
        return f' {key}'
    if key in _ADDRESSES:
        value = address(str(value))
    # a string, not its Markup: quotes end an attribute
    return f' {key}="{escape(str.__str__(str(value)) if isinstance(value, Markup) else value)}"'


def _flat(children: Iterable[Content]) -> Iterable[str]:
    for child in children:
        if child is None:
            continue
        if isinstance(child, str) or not isinstance(child, Iterable):
            yield escape(child)
        else:
            yield from _flat(child)


def address(path: str) -> str:
    """Encode a path beside the page, or a place in it (``#name``).

    Args:
        path: relative, with slashes.

    Raises:
        ValueError: the path leads out of the folder of the page.
    """
    place, mark, anchor = path.partition('#')
    if place.startswith(('/', '\\')) or '..' in place.split('/') or ':' in place.split('/')[0]:
        raise ValueError(f'{path!r} leads out of the folder of the page')
    return quote(place.encode('utf-8', 'surrogateescape')) + mark + quote(anchor, safe='/-_.')


def table(head: Sequence[Content], rows: Iterable[Sequence[Content]], numbers: Iterable[int] = (),
          **attributes: object) -> Markup:
    """Create a table.

    Args:
        head: titles of the columns.
        rows: cells of each row, as children of :func:`tag`. A row may be a ready ``tr``.
        numbers: columns that are aligned as numbers.
        attributes: of the table, as those of :func:`tag`.
    """
    columns = frozenset(numbers)

    def cells(kind: str, row: Sequence[Content]) -> list[Markup]:
        return [tag(kind, cell, class_='number' if column in columns else None)
                for column, cell in enumerate(row)]

    return tag('table', tag('thead', tag('tr', cells('th', head))), tag('tbody', [
        row if isinstance(row, Markup) else tag('tr', cells('td', row)) for row in rows]),
        attributes=None, **attributes)


def write_page(path: str | Path, title: str, body: Iterable[Content], styles: Sequence[str] = (),
               scripts: Sequence[str] = (), data: Mapping[str, Iterable[str]] | None = None
               ) -> None:
    """Write a page.

    Args:
        path: of the HTML file; missing folders are created.
        title: of the window.
        body: content, as children of :func:`tag`.
        styles: further CSS, after the shared one (colors, text, tables, dark and light).
        scripts: JavaScript of the page.
        data: id of an element -> pieces of one JSON text, which scripts read with ``JSON.parse``
            from its ``textContent``. A script from a file beside the page could not do that: under
            a strict policy, browsers differ in what a page from a disk may load.

    Raises:
        ValueError: a style or script ends its own element; an id is no name.
        FileWriteError: the file cannot be written.
    """
    style, script = '\n'.join((shared_style(), *styles)), '\n'.join(scripts)
    for text in (style, script):
        if '</' in text or '<!--' in text:
            raise ValueError('a style or script contains </ or <!--, which would end its element')
    policy = (f"default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'; "
              f"script-src '{_fingerprint(script)}'; base-uri 'none'; form-action 'none'")
    head = [
        tag('meta', charset='utf-8'),
        tag('meta', attributes={'http-equiv': 'Content-Security-Policy', 'content': policy}),
        tag('meta', name_='viewport', content='width=device-width, initial-scale=1'),
        tag('meta', name_='color-scheme', content='light dark'),
        tag('title', title), Markup(f'<style>\n{style}</style>')]
    code = [Markup(f'<script>{script}</script>')] if script else []
    content = tag('body', body).removesuffix('</body>')
    start = f'<!DOCTYPE html>\n<html lang="en">\n{tag("head", head)}\n{content}\n'
    with (result_file(path) as part, open(part, 'w', encoding='utf-8', newline='\n') as file):
        file.write(start)
        for name, pieces in (data or {}).items():
            if _NO_NAME.search(name):
                raise ValueError(f'{name!r} is no id of an element')
            file.write(f'<script type="application/json" id="{name}">')
            # < can only be in a text of JSON, and as \\u003c it ends no element
            file.writelines(_FORBIDDEN.sub('\ufffd', piece).replace('<', '\\u003c')
                            for piece in pieces)
            file.write('</script>\n')
        file.write(f'{"".join(code)}</body></html>\n')


@cache
def shared_style() -> str:
    """Return the CSS that all pages share."""
    return read_asset('page.css')


def read_asset(name: str, beside: str = __file__) -> str:
    """Read a style or script of the package.

    Args:
        name: of the file.
        beside: path of a module in the same folder, its ``__file__``.
    """
    return (Path(beside).parent / name).read_text(encoding='utf-8')


def _fingerprint(script: str) -> str:
    digest = hashlib.sha256(script.encode('utf-8')).digest()
    return f'sha256-{base64.b64encode(digest).decode()}'
