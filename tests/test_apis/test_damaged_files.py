"""Damaged JSONs that prediction reads: of the data set, and of an earlier run."""
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given

from mmpanseg.apis.dataset_ids import DatasetIds
from mmpanseg.apis.prediction_files import INSTANCES, PANOPTIC, PredictionFiles

from ..damage import check_told, damaged, write
from ..fuzz import cases

CATEGORIES = [dict(id=1, name='ball', isthing=1), dict(id=2, name='sky', isthing=0)]
IMAGES = [dict(id=1, file_name='a.png', height=4, width=6),
          dict(id=2, file_name='b.png', height=4, width=6)]
PREDICTION = dict(panoptic_seg=np.ones((4, 6), np.int32),
                  segments_info=[dict(id=1, label=0, score=0.5)],
                  instances=[dict(label=0, score=0.5, bbox=[0, 0, 6, 4],
                                  mask=dict(size=[4, 6], counts='0h0'))])


def run(folder):
    """Write predictions of one image, as a run does."""
    files = PredictionFiles(folder, DatasetIds(('ball', 'sky'), None, None), 1)
    files.announce(['x/a.png'])
    files.write('x/a.png', (4, 6), dict(PREDICTION))
    files.finish()


@cases(60)
@given(damage=damaged(dict(images=IMAGES, categories=CATEGORIES)))
def test_ids_of_the_data_set(tmp_path, damage):
    file = tmp_path / 'data.json'
    write(file, damage[0])
    data = SimpleNamespace(ann_file=str(file), data_prefix=dict(img=str(tmp_path)))
    try:
        ids = DatasetIds(('ball', 'sky'), None, data)
        assert len(ids.categories) == 2
        ids.image(str(tmp_path / 'a.png'), (4, 6))
        assert isinstance(ids.first_free_image, int)
    except ValueError as error:
        check_told(error, file)


@pytest.mark.parametrize('name', ['images.json', PANOPTIC, INSTANCES])
def test_files_of_an_earlier_run(tmp_path, name):
    import json

    run(tmp_path)
    undamaged = {path: path.read_text() for path in tmp_path.glob('*.json')}
    assert {path.name for path in undamaged} == {'images.json', PANOPTIC, INSTANCES}
    content = json.loads((tmp_path / name).read_text())

    @cases(40)
    @given(damage=damaged(content))
    def attempt(damage):
        for path, text in undamaged.items():
            path.write_text(text)
        write(tmp_path / name, damage[0])
        try:
            run(tmp_path)
        except ValueError as error:
            check_told(error, tmp_path)
        (tmp_path / 'unfinished.jsonl').unlink(missing_ok=True)

    attempt()
