"""Files that `mim` reads name what is there, and with the right numbers."""
import pytest
import yaml

from mmpanseg.analysis import count_parameters

SYSTEMS = ['mask2former', 'mp_former', 'panoptic_segformer', 'kmax_deeplab']


@pytest.fixture(params=SYSTEMS)
def metafile(request, repo_root):
    path = repo_root / f'configs/{request.param}/metafile.yml'
    return path, yaml.safe_load(path.read_text())


def test_names_and_files(repo_root, metafile):
    path, content = metafile
    collections = {collection['Name'] for collection in content['Collections']}
    for collection in content['Collections']:
        assert (repo_root / collection['README']).is_file()
    names = [model['Name'] for model in content['Models']]
    assert len(set(names)) == len(names)
    for model in content['Models']:
        config = repo_root / model['Config']
        assert config.is_file() and config.parent == path.parent, model['Name']
        assert config.stem == model['Name']
        assert model['In Collection'] in collections
        assert all(result['Metrics'] for result in model['Results'])


@pytest.mark.slow
def test_parameters(repo_root, metafile, build):
    for model in metafile[1]['Models']:
        stated = model.get('Metadata', {}).get('Parameters')
        if stated is not None:
            _, network = build(repo_root / model['Config'])
            assert count_parameters(network)['total'] == stated, model['Name']


def test_every_published_mask2former_config_is_listed(repo_root):
    folder = repo_root / 'configs/mask2former'
    content = yaml.safe_load((folder / 'metafile.yml').read_text())
    readme = (folder / 'README.md').read_text()
    ours = ('_r18_', '_custom-')
    published = {path.stem for path in folder.glob('*.py')
                 if not any(part in path.name for part in ours)}
    assert {model['Name'] for model in content['Models']} == published
    assert all(f'{name}.py' in readme for name in published)
