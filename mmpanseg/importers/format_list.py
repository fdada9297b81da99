"""The names of formats, which need no import of their readers."""
import ast
from pathlib import Path

FORMATS_FOLDER = Path(__file__).parent / 'formats'


def list_formats() -> dict[str, str]:
    """Return the formats by name with their one line of help.

    ``formats/NAME.py`` is the format ``NAME``, with ``-`` for ``_``; its help is the first line of
    its docstring.
    """
    formats = {}
    for path in sorted(FORMATS_FOLDER.glob('*.py')):
        if not path.stem.startswith('_'):
            text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
            formats[path.stem.replace('_', '-')] = text.partition('\n')[0].rstrip('.')
    return formats
