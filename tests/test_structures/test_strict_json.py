"""No JSON contains NaN or Infinity."""
import ast
import io
import json
import math
from pathlib import Path

import mmengine
import numpy as np
import pytest

from mmpanseg.apis.prediction_files import INSTANCES, PredictionFiles
from mmpanseg.utils import strict_json

ROOT = Path(__file__).resolve().parents[2]
VALUES = dict(a=math.nan, b=[1.5, math.inf, dict(c=-math.inf)], d='NaN', e=(1, None, True))
STRICT = dict(a=None, b=[1.5, None, dict(c=None)], d='NaN', e=[1, None, True])


def refuse(constant: str) -> None:
    raise AssertionError(constant)


def strict(text: str) -> object:
    return json.loads(text, parse_constant=refuse)


def test_logs_have_null_and_results_are_refused():
    assert strict(strict_json.dumps_with_null(VALUES)) == STRICT
    assert strict_json.dumps_with_null(dict(a=0.1)) == json.dumps(dict(a=0.1))
    with pytest.raises(ValueError, match='not JSON compliant'):
        strict_json.dumps(VALUES)


def test_the_engine_writes_null(tmp_path):
    values = dict(VALUES, f=np.array([math.nan, 1]), g=np.float32('nan'), h={3})
    expected = dict(STRICT, f=[None, 1.0], g=None, h=[3])
    mmengine.dump(values, tmp_path / 'a.json')
    assert strict((tmp_path / 'a.json').read_text()) == expected
    assert strict(mmengine.dump(values, file_format='json')) == expected
    file = io.StringIO()
    mmengine.dump(values, file, file_format='json', indent=1)
    assert strict(file.getvalue()) == expected and '\n ' in file.getvalue()
    assert mmengine.load(tmp_path / 'a.json') == expected


def test_curves_of_a_training(tmp_path):
    backend = mmengine.visualization.LocalVisBackend(str(tmp_path))
    backend.add_config(mmengine.Config())
    backend.add_scalars(dict(loss=math.nan, lr=0.1), step=3)
    assert strict((tmp_path / 'scalars.json').read_text()) == dict(loss=None, lr=0.1, step=3)


def test_nothing_else_writes_json():
    """Every writer of this project is one of the two functions, or the engine's."""
    found = []
    for folder in ('mmpanseg', 'tools'):
        for path in (ROOT / folder).rglob('*.py'):
            if path.name == 'strict_json.py' or '.mim' in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and node.attr in ('dump', 'dumps') and (
                        isinstance(node.value, ast.Name) and node.value.id == 'json'):
                    found.append(f'{path}:{node.lineno}')
    assert not found


def test_results_of_an_earlier_version(tmp_path):
    (tmp_path / INSTANCES).write_text('[{"image_id": 7, "score": NaN}]')
    (tmp_path / 'unfinished.jsonl').write_text(
        '{"image": {"id": 1}, "instances": [{"image_id": 1, "score": 0.5}]}\n')
    files = object.__new__(PredictionFiles)
    files.folder, files.categories = tmp_path, []
    with pytest.raises(ValueError, match='instances.json is not valid JSON .it contains NaN.'):
        files.finish()
