"""Damage to JSON files: entries that are absent, of another type, huge or negative."""
import copy
import json

from hypothesis import strategies as st

# values that an entry may be replaced with
WRONG = [None, True, False, '', 'x', '7', '\0', '../..', [], [[]], [None], [-1], ['x'], {},
         {'a': 1}, [{'a': 1}], 0, -1, 3, 7, 1 << 24, 1 << 31, 1 << 63, 10**30, -10**30, 0.5, -0.5,
         1e308, float('nan'), float('inf'), [1e300] * 6, [float('nan')] * 6]


def places(content, path=()):
    """Paths of all entries of a JSON."""
    found = [path] if path else []
    items = (content.items() if isinstance(content, dict)
             else enumerate(content) if isinstance(content, list) else ())
    for key, value in items:
        found += places(value, (*path, key))
    return found


@st.composite
def damaged(draw, content):
    """A JSON with one or two damaged entries, and (path, value or None where removed) of each."""
    content, done = copy.deepcopy(content), []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        path = draw(st.sampled_from(places(content)))
        parent = content
        for key in path[:-1]:
            parent = parent[key]
        what = draw(st.sampled_from(['remove', 'replace', 'replace', 'repeat']))
        if what == 'repeat' and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[path[-1]]))
        elif what == 'remove':
            del parent[path[-1]]
        else:
            parent[path[-1]] = copy.deepcopy(draw(st.sampled_from(WRONG)))
        done.append((path, what))
        if not places(content):
            break
    return content, done


def write(path, content):
    """Write a JSON, with NaN and Infinity as Python writes them."""
    path.write_text(json.dumps(content))


def check_told(error, *files):
    """The error is a ValueError of one line that names a file."""
    text = str(error)
    assert isinstance(error, ValueError), f'{type(error).__name__}: {text}'
    assert not isinstance(error, UnicodeError) or any(str(file) in text for file in files)
    assert any(str(file) in text for file in files), text
    assert '\n' not in text, text
