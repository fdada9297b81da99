"""The tutorials run as they stand, and the notebook has the commands of its page."""
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import ROOT

FOLDER = ROOT / 'docs/tutorials'
# in the order of reading: the second one starts from the model of the first
PAGES = ('own_data', 'instance_masks', 'semantic_maps')
# the score of a page: its name in the output of `mmpanseg train`, and in the text
SCORES = dict(own_data=('panoptic/PQ', 'PQ'), instance_masks=('instance/AP', 'mask AP'),
              semantic_maps=('semantic/mIoU', 'mIoU'))
# what the doctor says at its end, as the page says
VERDICTS = dict(own_data='1 warning in 200 images', instance_masks='7 warnings, 30 notes in 150',
                semantic_maps='no problems in 150 images')
# short trainings amplify the last bits of sums, which differ between machines and numbers of
# threads: whole classes are found or missed
TOLERANCE = 12


def text_of(page):
    return (FOLDER / f'{page}.md').read_text()


def blocks(page):
    """The blocks that are run; those of `sh` need a network or a GPU."""
    return re.findall(r'^```bash\n(.*?)^```', text_of(page), re.S | re.M)


def shown(page):
    return re.findall(r'^<!-- show (\S+) -->$', text_of(page), re.M)


def written_score(page):
    return float(re.search(rf'\b{SCORES[page][1]} of (\d+\.\d)\b', text_of(page))[1])


def test_the_notebook_is_that_of_the_page():
    tool = runpy.run_path(str(ROOT / 'docs/site/notebooks.py'))
    for page in tool['NOTEBOOKS']:
        made = (FOLDER / f'{page}.ipynb').read_text()
        assert made == tool['notebook'](text_of(page)), 'run python docs/site/notebooks.py'
        cells = json.loads(made)['cells']
        code = [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']
        commands = [line.removeprefix('!') for cell in code if cell[0] == '!'
                    for line in cell.splitlines()]
        assert commands == [line for block in blocks(page) for line in block.splitlines()]
        pictures = [cell for cell in code if cell[0] != '!']
        assert [eval(cell.partition('Image(')[2][:-1]) for cell in pictures] == shown(page)
        for cell in pictures:
            compile(cell, page, 'exec')


def test_pictures_and_links_exist():
    for page in PAGES:
        targets = re.findall(r'\]\(([^)#]+)', text_of(page))
        assert any(name.endswith('.jpg') for name in targets)
        for name in targets:
            assert (FOLDER / name).is_file(), f'{page}: {name}'


@pytest.mark.slow
def test_the_tutorials_run(tmp_path):
    env = dict(os.environ, MMPANSEG_CACHE=str(tmp_path / 'cache'), PYTHONPATH=str(ROOT),
               PATH=f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}')
    env.pop('OMP_NUM_THREADS', None)  # users have all cores
    for page in PAGES:
        outputs = []
        for block in blocks(page):
            done = subprocess.run(['bash', '-e', '-c', block], cwd=tmp_path, env=env,
                                  capture_output=True, text=True, timeout=1800)
            assert done.returncode == 0, f'{page}: {block}{done.stdout}{done.stderr}'
            outputs.append(done.stdout + done.stderr)
        assert VERDICTS[page] in '\n'.join(outputs), page
        for file in shown(page):
            assert (tmp_path / file).is_file(), f'{page} shows {file}'
        name = SCORES[page][0]
        best = float(re.findall(rf'{name} .* best (\d+\.\d+)', '\n'.join(outputs))[-1])
        assert best == pytest.approx(written_score(page), abs=TOLERANCE), page
        assert best > 0.5, page  # an untrained model has 0
