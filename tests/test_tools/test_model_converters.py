"""convert.py, export.py and publish_model.py, called with a command line."""
import pytest
import torch

from mmpanseg.checkpoints import read_weights
from mmpanseg.engine import UsageError

COCO = 'configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'
CITYSCAPES = 'configs/mask2former/mask2former_r50_8xb2-90k_cityscapes-panoptic.py'


@pytest.fixture
def cityscapes(published, tmp_path):
    """A file with random values, as detectron2 writes it."""
    shapes = published('mask2former/manifest_cityscapes_panoptic_R50.json')
    state = {key: torch.rand(value.shape) if value.dim() else torch.tensor(0)
             for key, value in shapes.items()}
    torch.save(dict(model=state, iteration=9), tmp_path / 'model_final.pth')
    return state, tmp_path / 'model_final.pth'


def test_convert_export_publish(tool, repo_root, tmp_path, cityscapes, capsys):
    state, source = cityscapes
    ours = tmp_path / 'ours.pth'
    tool('model_converters/convert', source, ours, '--config', repo_root / CITYSCAPES)
    text = capsys.readouterr().out
    assert 'from facebookresearch/Mask2Former' in text
    assert 'from the order of cityscapes to things first' in text
    weights = torch.load(ours, weights_only=True)['state_dict']
    bias = state['sem_seg_head.predictor.class_embed.bias']
    assert torch.equal(weights['panoptic_head.cls_embed.bias'],
                       torch.cat([bias[11:19], bias[:11], bias[19:]]))
    with pytest.raises(UsageError, match='has 19 classes, as cityscapes .*give --config, or --cla'):
        tool('model_converters/convert', source, ours)
    tool('model_converters/convert', source, tmp_path / 'same.pth', '--class-order', 'same')
    assert torch.equal(read_weights(tmp_path / 'same.pth')['panoptic_head.cls_embed.bias'], bias)
    capsys.readouterr()

    tool('model_converters/export', ours, tmp_path / 'mmdet.pth', '--to', 'mmdet')
    assert read_weights(tmp_path / 'mmdet.pth').keys() == weights.keys()
    pytest.importorskip('safetensors', reason='safetensors is not installed')
    with pytest.raises(UsageError, match='needs --config'):
        tool('model_converters/export', ours, tmp_path / 'folder', '--to', 'huggingface')
    tool('model_converters/export', ours, tmp_path / 'folder', '--to', 'huggingface', '--config',
         repo_root / CITYSCAPES)
    again = tmp_path / 'again.pth'
    tool('model_converters/convert', tmp_path / 'folder', again, '--class-order', 'same')
    back = read_weights(again)
    assert all(torch.equal(back[key], value) for key, value in weights.items())

    tool('publish_model', ours, tmp_path / 'out/model')
    file, = (tmp_path / 'out').glob('model_*-*.pth')
    assert read_weights(file).keys() == weights.keys()
    assert f'{file}: ' in capsys.readouterr().out


def test_mistakes_are_told_in_one_line(tool, repo_root, tmp_path, cityscapes):
    _, source = cityscapes
    out = tmp_path / 'out.pth'
    with pytest.raises(UsageError, match='has 20 rows|is .*the model has') as error:
        tool('model_converters/convert', source, out, '--config', repo_root / COCO)
    assert 'class_embed' in str(error.value) and '\n' not in str(error.value)
    with pytest.raises(UsageError, match='not a checkpoint of zhiqi-li/Panoptic-SegFormer'):
        tool('model_converters/convert', source, out, '--source', 'panoptic_segformer')
    with pytest.raises(UsageError, match='--class-order berlin: one of cityscapes, '):
        tool('model_converters/convert', source, out, '--class-order', 'berlin')
    with pytest.raises(UsageError, match='does not exist'):
        tool('model_converters/convert', tmp_path / 'none.pth', out)
    with pytest.raises(UsageError, match='not a checkpoint of .*this library'):
        tool('model_converters/export', source, out, '--to', 'mmdet')
    with pytest.raises(UsageError, match='model_final.pth: it contains no state_dict'):
        tool('publish_model', source, out)
    assert not out.exists()


def test_files_that_convert_py_cannot_read(tool, repo_root, tmp_path):
    out, config = tmp_path / 'out.pth', repo_root / COCO
    (tmp_path / 'empty.pth').touch()
    (tmp_path / 'folder').mkdir()
    torch.save(dict(state_dict={'bbox_head.fc.weight': torch.ones(1)}), tmp_path / 'other.pth')
    torch.save(dict(optimizer=dict(lr=1.)), tmp_path / 'none.pth')
    for file, text in (
            ('empty.pth', 'empty.pth: not a checkpoint, .*it is empty'),
            ('folder', 'folder: a folder without any of model.safetensors'),
            ('other.pth', 'other.pth: not a checkpoint of a known model: .*first is bbox_head.fc'),
            ('none.pth', 'none.pth: there are no tensors in it; its entries are optimizer')):
        for options in ([], ['--config', config]):
            with pytest.raises(UsageError, match=text) as error:
                tool('model_converters/convert', tmp_path / file, out, *options)
            assert '\n' not in str(error.value) and not out.exists()
