"""The house as docs/design.md describes it: which room imports which, and that its files exist."""
import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'mmpanseg'
# from the bottom to the top: a room imports only rooms before it, and itself
ROOMS = (
    'utils', 'structures', 'compat', 'registry', 'datasets', 'doctor', 'importers', 'checkpoints',
    'visualization', 'pages',
    'models.layers', 'models.task_modules', 'models.losses', 'models.data_preprocessors',
    'models.backbones', 'models.pixel_decoders', 'models.transformer_decoders', 'models.heads',
    'models.inference', 'models.fusion_heads', 'models.segmentors', 'models', 'evaluation',
    'engine', 'analysis', 'curves', 'browse', 'results', 'hub', 'apis', 'video', 'explain',
    'report', 'ui', 'cli')
# first words of the files that belong to one system; MP-Former is a Mask2Former
SYSTEMS = {
    'Mask2Former': ('mask2former', 'mp_former', 'mask_piloting', 'masked_attention',
                    'mask_criterion', 'msdeformattn'),
    'Panoptic SegFormer': ('panoptic_segformer', 'detr_', 'location_', 'segformer_',
                           'deformable_tokens'),
    'kMaX-DeepLab': ('kmax', 'kmeans')}


def room_of(module: str) -> str:
    """Room of a module's full name; '' for the package itself."""
    parts = module.split('.')[1:]
    return next(('.'.join(parts[:n]) for n in (2, 1) if '.'.join(parts[:n]) in ROOMS), '')


def system_of(module: str) -> str:
    """The system that a module of models/ belongs to; '' for shared ones."""
    if not module.startswith('mmpanseg.models.'):
        return ''
    name = module.rsplit('.', 1)[-1]
    return next((system for system, words in SYSTEMS.items() if name.startswith(words)), '')


def imports() -> list[tuple[str, str]]:
    """(importing module, imported module) for every import of the package by itself."""
    found = []
    for path in sorted(PACKAGE.rglob('*.py')):
        if '.mim' in path.parts:
            continue
        name = '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('mmpanseg'):
                for alias in node.names:
                    below = ROOT / node.module.replace('.', '/') / alias.name
                    inside = below.is_dir() or below.with_suffix('.py').is_file()
                    found.append((name, f'{node.module}.{alias.name}' if inside else node.module))
            elif isinstance(node, ast.Import):
                found += [(name, alias.name) for alias in node.names
                          if alias.name.startswith('mmpanseg')]
    return found


def test_no_room_imports_a_room_above_it():
    upward = [f'{source} -> {target}' for source, target in imports()
              if room_of(source) and room_of(target)
              and ROOMS.index(room_of(target)) > ROOMS.index(room_of(source))]
    assert not upward


def test_systems_do_not_import_each_other():
    sideways = [f'{source} -> {target}' for source, target in imports()
                if system_of(source) and system_of(target)
                and system_of(source) != system_of(target)]
    assert not sideways


def test_every_module_has_a_room():
    homeless = {name for name, _ in imports() if not room_of(name)}
    assert homeless <= {'mmpanseg', 'mmpanseg.__main__'}


def test_files_that_the_architecture_names_exist():
    text = (ROOT / 'docs/design.md').read_text()
    missing = []
    for name in re.findall(r'`([\w/{},*]+\.py)`', text):
        # heads/{a,b}.py
        match = re.fullmatch(r'(.*)\{([^}]*)\}(.*)', name)
        names = [match[1] + part + match[3] for part in match[2].split(',')] if match else [name]
        for one in names:
            places = (ROOT, PACKAGE, PACKAGE / 'models', PACKAGE / 'datasets')
            if not any(list(place.glob(one)) for place in places):
                missing.append(one)
    assert not missing


@pytest.mark.parametrize(('source', 'target', 'allowed'), [
    ('mmpanseg.models.heads.base', 'mmpanseg.models.fusion_heads.base', False),
    ('mmpanseg.models.fusion_heads.base', 'mmpanseg.models.inference.full_size_masks', True)])
def test_the_order_is_read_from_bottom_to_top(source, target, allowed):
    assert (ROOMS.index(room_of(target)) <= ROOMS.index(room_of(source))) == allowed
