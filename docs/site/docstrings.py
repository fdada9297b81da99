"""Docstrings in the form that the parser of the reference reads.

It expects one name in each entry, and Markdown: an entry for several arguments, ``height, width:
...``, becomes one for each, and a role such as ``:class:`X` `` becomes code.
"""
import re
from typing import Any

import griffe

_SECTION = re.compile(r'^( *)(Args|Attributes|Returns|Raises|Yields):\s*$')
_ROLE = re.compile(r':(?:class|meth|func|mod|attr|data|exc):`~?([^`]+)`')
_GROUP = re.compile(r'^( *)((?:\*{0,2}\w+, *\n? *)+\*{0,2}\w+):(.*)$', re.S)


def ungroup(text: str) -> str:
    """A docstring whose entries of ``Args`` and ``Attributes`` describe one name each."""
    lines, result, inside = text.split('\n'), [], None
    entry: list[str] = []

    def flush() -> None:
        if entry:
            result.extend(split_entry('\n'.join(entry)).split('\n'))
            entry.clear()

    for line in lines:
        section = _SECTION.match(line)
        indent = len(line) - len(line.lstrip())
        if section:
            flush()
            inside = len(section[1]) if section[2] in ('Args', 'Attributes') else None
            result.append(line)
        elif inside is None or (line.strip() and indent <= inside) or not line.strip():
            flush()
            if line.strip() and inside is not None and indent <= inside:
                inside = None
            result.append(line)
        elif indent == inside + 4:
            # a list of names may go on in the next line
            if entry and entry[-1].rstrip().endswith(',') and ':' not in ''.join(entry):
                entry.append(line)
            else:
                flush()
                entry.append(line)
        else:
            entry.append(line)
    flush()
    return '\n'.join(result)


def split_entry(entry: str) -> str:
    """One entry, with the names that it describes together apart."""
    group = _GROUP.match(entry)
    if not group:
        return entry
    indent, names, text = group.groups()
    return '\n'.join(f'{indent}{name.strip()}:{text}' for name in names.split(','))


class ReadableDocstrings(griffe.Extension):
    """Changes every docstring that is loaded for the reference."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of a loaded object."""
        if obj.docstring is not None:
            text = _ROLE.sub(r'`\1`', obj.docstring.value)
            obj.docstring.value = ungroup(text)
