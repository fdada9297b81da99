"""Notebooks of the tutorials, of their pages: ``python docs/site/notebooks.py`` writes them."""
import json
import re
from pathlib import Path

TUTORIALS = Path(__file__).resolve().parents[1] / 'tutorials'
# pages that are notebooks too
NOTEBOOKS = ('own_data', )
_BLOCK = re.compile(r'^```bash\n(.*?)^```\n|^<!-- show (\S+) -->\n', re.S | re.M)


def notebook(text: str) -> str:
    """Return the notebook of a page.

    A block of ``bash`` is a cell that runs its commands, ``<!-- show FILE -->`` one that shows a
    picture, and everything else is text.

    Args:
        text: Markdown of the page.
    """
    cells, end = [], 0
    for match in _BLOCK.finditer(text):
        cells.append(_text_cell(text[end:match.start()]))
        end = match.end()
        if match[2]:
            cells.append(_code_cell('from IPython.display import Image\n\n'
                                    f'Image({match[2]!r})'))
        else:
            commands = re.sub(r'(?m)^(?! )', '!', match[1].rstrip())
            cells.append(_code_cell(commands))
    cells.append(_text_cell(text[end:]))
    content = dict(
        cells=[dict(cell, id=f'cell-{number}') for number, cell in enumerate(
            cell for cell in cells if cell['source'])],
        metadata=dict(
            kernelspec=dict(display_name='Python 3', language='python', name='python3'),
            language_info=dict(name='python')),
        nbformat=4, nbformat_minor=5)
    return json.dumps(content, indent=1, ensure_ascii=False) + '\n'


def _text_cell(text: str) -> dict:
    return dict(cell_type='markdown', metadata={}, source=_lines(text))


def _code_cell(text: str) -> dict:
    return dict(cell_type='code', metadata={}, execution_count=None, outputs=[],
                source=_lines(text))


def _lines(text: str) -> list[str]:
    return text.strip('\n').splitlines(keepends=True)


def main() -> None:
    """Write all notebooks."""
    for name in NOTEBOOKS:
        text = (TUTORIALS / f'{name}.md').read_text()
        (TUTORIALS / f'{name}.ipynb').write_text(notebook(text))


if __name__ == '__main__':
    main()
