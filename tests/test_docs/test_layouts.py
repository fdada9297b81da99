"""The folder trees of the data document are those that the configs read."""
import itertools
import re

import pytest
from blocks import ROOT, all_blocks, blocks_of
from mmengine.config import Config

from mmpanseg.registry import TRANSFORMS


def expand(name: str) -> list[str]:
    """All names of a pattern with braces: a{b,c} -> ab, ac."""
    parts = [part.split(',') for part in re.split(r'[{}]', name)]
    # outside of braces a comma would be part of the name
    return [''.join(choice) for choice in itertools.product(*parts)]


def paths_of(tree: str) -> set[str]:
    """The paths of an indented tree; behind names with a suffix or an arrow is explanation."""
    found, folders = set(), []
    for line in tree.splitlines():
        text = re.split(r'  +(?=<-|images$)', line.strip())[0]
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [''] if not depth else folders[depth - 1]
        names = [name for word in text.split() for name in expand(word)]
        paths = [parent + name for parent in parents for name in names]
        folders[depth:] = [[path for path in paths if path.endswith('/')]]
        for path in paths:
            parts = path.split('/')
            found.update('/'.join(parts[:k]) for k in range(1, len(parts) + 1))
    return found


def dataset_of(config: Config, loader: str) -> dict:
    """Config of the data set of a loader, without what wraps it."""
    data = config[loader].dataset
    while 'dataset' in data:
        data = data.dataset
    return data


def read_by(config: Config) -> set[str]:
    """Files and folders of annotation and images that a config names."""
    found = set()
    for loader in ('train_dataloader', 'val_dataloader'):
        data = dataset_of(config, loader)
        names = [data.get('ann_file'), *data.get('data_prefix', {}).values(),
                 data.get('config_file')]
        found.update((data.data_root + name).rstrip('/') for name in names if name)
    return found


@pytest.mark.parametrize('block', blocks_of('layout'), ids=str)
def test_trees_have_what_configs_read(block):
    root = block.text.split('\n')[0]
    tree, checked = paths_of(block.text), 0
    for path in (ROOT / 'configs/_base_/datasets').glob('*.py'):
        config = Config.fromfile(path)
        if ('train_dataloader' not in config
                or dataset_of(config, 'train_dataloader').get('data_root') != root):
            continue
        checked += 1
        for name in read_by(config):
            assert name in tree, f'{path.name} reads {name}, which {block} does not show'
    assert checked


def test_a_tree_in_words():
    tree = 'data/x/\n  {a,b}/img/*.jpg\n  annotations/\n    one.json   <- converted\n'
    assert {'data/x', 'data/x/a/img', 'data/x/b/img/*.jpg', 'data/x/annotations/one.json'} <= (
        paths_of(tree))


def test_the_way_of_the_data_names_real_transforms():
    flow, = (b for b in all_blocks()
             if b.page == 'docs/design.md' and 'PackPanopticInputs' in b.text)
    for name in ('LoadPanopticMap', 'LoadSemanticMap', 'PackPanopticInputs'):
        assert name in flow.text and TRANSFORMS.get(f'mmpanseg.{name}')


def test_all_other_blocks_are_known():
    """A block of no kind would be checked by nothing."""
    rest = [b for b in all_blocks() if b.kind == 'flow' and b.page != 'docs/design.md']
    assert [(b.page, b.text.split()[0]) for b in rest] == [
        ('docs/doctor.md', 'train'), ('docs/explain.md', 'segment'), ('docs/import.md', 'road'),
        ('docs/import.md', 'DST/'), ('docs/install.md', 'PIP_EXTRA_INDEX_URL=<that'),
        ('docs/train.md', 'mask2former_r18_1xb4-scratch-demo_scenes-panoptic'),
        ('docs/train.md', 'step')]
