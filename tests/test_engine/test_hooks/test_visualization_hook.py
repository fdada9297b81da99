"""Pictures of a test: one for each image, whatever it is called and in whichever process."""
from types import SimpleNamespace

import cv2
import mmengine.dist
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData, PixelData
from mmengine.visualization import Visualizer

from mmpanseg.engine.hooks import PanopticVisualizationHook
from mmpanseg.structures import SegmentMap
from mmpanseg.structures.error_kinds import PixelKind
from mmpanseg.structures.panoptic_png import write_panoptic_png
from mmpanseg.visualization import PanopticVisualizer
from mmpanseg.visualization.error_map import draw_error_map, draw_legend
from mmpanseg.visualization.panoptic import font_size_for

META = dict(classes=('ball', 'sky'), thing_classes=('ball',), stuff_classes=('sky',),
            palette=[(200, 60, 60), (90, 150, 220)])


class Data:
    """Images of one name in two folders and with two endings, each of a color of its own."""

    names = ('a/1.png', 'b/1.png', 'b/1.JPG', 'b/x y.webp', 'b/2.ppm')

    def __init__(self, folder):
        self.paths = [str(folder / 'images' / name) for name in self.names]
        for shade, path in enumerate(self.paths):
            (folder / 'images' / path).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(path, np.full((32, 32, 3), 40 * shade + 40, np.uint8))

    def __len__(self):
        return len(self.paths)

    def get_data_info(self, index):
        return dict(img_path=self.paths[index])


@pytest.fixture(autouse=True)
def current_visualizer(monkeypatch):
    """What mmdet's hook looks for when it is built."""
    monkeypatch.setattr(Visualizer, 'get_current_instance', lambda: None)


def draw(folder, visualizer, sample_of):
    data = Data(folder)
    visualizer.dataset_meta = META
    runner = SimpleNamespace(work_dir=str(folder), timestamp='now', test_dataloader=SimpleNamespace(
        dataset=data))
    hook = PanopticVisualizationHook(draw=True, test_out_dir='pictures')
    hook._visualizer = visualizer
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, {}, [sample_of(path) for path in data.paths])
    return sorted(str(path.relative_to(folder / 'now/pictures'))
                  for path in (folder / 'now/pictures').rglob('*.*'))


def panoptic(path):
    sample = DetDataSample(metainfo=dict(img_path=path, ori_shape=(32, 32)))
    sample.pred_panoptic_seg = PixelData(sem_seg=torch.full((1, 32, 32), 2))
    sample.pred_panoptic_seg.set_metainfo(dict(segments_info=[]))
    return sample


PICTURES = ['a/1.png', 'b/1.JPG', 'b/1.png', 'b/2.ppm.png', 'b/x y.webp']


@pytest.mark.parametrize('rank', [0, 1])
def test_a_picture_for_each_image(tmp_path, monkeypatch, rank):
    monkeypatch.setattr(mmengine.dist.utils, 'get_rank', lambda group=None: rank)
    assert mmengine.dist.is_main_process() == (rank == 0)
    assert draw(tmp_path, PanopticVisualizer(min_side=1), panoptic) == PICTURES
    # nothing was found, so that pictures are the images
    for name, shade in (('a/1.png', 40), ('b/1.png', 80), ('b/1.JPG', 120), ('b/2.ppm.png', 200)):
        picture = cv2.imread(str(tmp_path / 'now/pictures' / name))
        assert abs(float(np.median(picture)) - shade) < 3


def test_mmdets_visualizer(tmp_path):
    def boxes(path):
        sample = DetDataSample(metainfo=dict(img_path=path))
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([[1.0, 1.0, 9.0, 9.0]]), labels=torch.zeros(1, dtype=torch.long),
            scores=torch.ones(1))
        return sample
    assert draw(tmp_path, DetLocalVisualizer(), boxes) == PICTURES


def test_nothing_is_drawn_unless_asked(tmp_path):
    hook = PanopticVisualizationHook()
    runner = SimpleNamespace(test_dataloader=None)
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, {}, [DetDataSample(metainfo=dict(img_path='absent.png'))])
    assert hook._test_index == 0 and not list(tmp_path.iterdir())


class Recorder:
    """A backend that keeps what it gets."""

    def __init__(self):
        self.pictures = []

    def add_image(self, name, image, step):
        self.pictures.append((name, image.shape, step))


def validate(data, steps, **arguments):
    """Names and steps of the pictures of validations after these steps."""
    backend, messages = Recorder(), []
    hook = PanopticVisualizationHook(**arguments)
    hook._visualizer = PanopticVisualizer(min_side=1)
    hook._visualizer.dataset_meta = META
    hook._visualizer._vis_backends = dict(recorder=backend)
    for step in steps:
        runner = SimpleNamespace(
            val_dataloader=SimpleNamespace(dataset=data), _train_loop=object(), iter=step,
            logger=SimpleNamespace(warning=messages.append))
        hook.before_val(runner)
        for batch, path in enumerate(data.paths):
            hook.after_val_iter(runner, batch, {}, [panoptic(path)])
    return [(name, step) for name, _, step in backend.pictures], messages


def test_validations_draw_the_same_images(tmp_path):
    pictures, _ = validate(Data(tmp_path), (10, 25), val_images=2)
    # the first and the third of five
    assert pictures == [('val/a/1', 10), ('val/b/1', 10), ('val/a/1', 25), ('val/b/1', 25)]


def test_images_by_name_and_every_second_validation(tmp_path):
    pictures, messages = validate(Data(tmp_path), (10, 20, 30), val_images=['b/2', 'b/1.J'],
                                  val_interval=2)
    assert sorted(pictures) == [('val/1', 10), ('val/1', 30), ('val/2', 10), ('val/2', 30)]
    assert not messages
    pictures, messages = validate(Data(tmp_path), (10, ), val_images=['absent'])
    assert not pictures and 'no image of the validation set' in messages[0]


def test_more_images_than_there_are(tmp_path):
    pictures, _ = validate(Data(tmp_path), (10, ), val_images=50)
    assert len(pictures) == len({name for name, _ in pictures}) == 5


def test_no_pictures_on_other_ranks(tmp_path, monkeypatch):
    monkeypatch.setattr(mmengine.dist.utils, 'get_rank', lambda group=None: 1)
    assert validate(Data(tmp_path), (10, ), val_images=3) == ([], [])


@pytest.mark.parametrize('arguments', [
    dict(val_images=-1), dict(val_images=True), dict(val_images='all'), dict(val_images=['']),
    dict(errors=1), dict(val_images=2, val_interval=0), dict(val_images=2, val_interval=1.5)])
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match=f'PanopticVisualizationHook.{[*arguments][-1]}='):
        PanopticVisualizationHook(**arguments)


SIZE = (40, 60)


class Errors:
    """An image whose ground truth has a ball on the left, which the prediction lacks, a crowd on
    the right, and sky; the prediction has the sky, and a ball of a low score at the bottom."""

    def __init__(self, folder, size=SIZE):
        self.ids = np.full(size, 7)
        self.ids[5:20, 5:20], self.ids[5:20, -20:] = 8, 9
        self.ids[:, 30:32] = 0
        self.infos = [dict(id=7, category=1, is_thing=False),
                      dict(id=8, category=0, is_thing=True),
                      dict(id=9, category=0, is_thing=True, iscrowd=1)]
        self.image, self.png = str(folder / 'image.png'), str(folder / 'truth.png')
        self.pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        cv2.imwrite(self.image, self.pixels[..., ::-1])
        write_panoptic_png(self.png, self.ids)
        self.pred = np.ones(SIZE, int)
        self.pred[30:, :20] = 1000
        self.kinds = np.full(SIZE, PixelKind.RIGHT)
        self.kinds[30:, :20] = PixelKind.INVENTED
        self.kinds[5:20, 5:20] = PixelKind.MISSED
        self.kinds[5:20, -20:] = self.kinds[:, 30:32] = PixelKind.VOID

    def sample(self, **metainfo):
        known = dict(img_path=self.image, img_id=3, ori_shape=SIZE, seg_map_path=self.png,
                     segments_info=self.infos)
        sample = DetDataSample(metainfo={key: value for key, value in {
            **known, **metainfo}.items() if value != 'absent'})
        sample.pred_panoptic_seg = PixelData(sem_seg=torch.from_numpy(self.pred)[None])
        sample.pred_panoptic_seg.set_metainfo(dict(segments_info=[
            dict(id=1, label=1, isthing=False), dict(id=1000, label=0, isthing=True, score=0.1)]))
        index = {0: -1, 7: 0, 8: 1, 9: -1}
        sample.gt_segments = SegmentMap(torch.tensor([1, 0]), map=torch.tensor(
            np.vectorize(index.get)(self.ids[:SIZE[0], :SIZE[1]])))
        return sample


def with_errors(folder, samples, visualizer=None, errors=True):
    """Pictures of a test."""
    hook = PanopticVisualizationHook(draw=True, test_out_dir='pictures', errors=errors)
    hook._visualizer = visualizer or PanopticVisualizer(min_side=0)
    hook._visualizer.dataset_meta = META
    hook._names, hook._folder = {samples[0].img_path: 'image.png'}, folder / 'now/pictures'
    pictures = []
    for sample in samples:
        hook.after_test_iter(None, 0, {}, [sample])
        pictures.append(cv2.imread(str(folder / 'now/pictures/image.png'))[..., ::-1])
    return pictures


def test_the_error_map_is_the_fourth_picture(tmp_path):
    case = Errors(tmp_path)
    sample = case.sample()
    picture, = with_errors(tmp_path, [sample])
    truth = sample.gt_segments.map.numpy()
    expected = draw_error_map(case.pixels, case.kinds.astype(np.uint8), truth)
    height, width = SIZE
    caption = round(2.2 * font_size_for(SIZE))
    np.testing.assert_array_equal(
        picture[height + caption:2 * height + caption, -width:], expected)
    np.testing.assert_array_equal(picture[:height, :width], case.pixels)
    # segments of low scores count as errors, so that they are drawn
    ball = picture[:height, -width:][32:38, 3:17].astype(int)
    assert ball[..., 0].mean() > ball[..., 2].mean() + 30
    # the legend says how much of the image is wrong
    legend = draw_legend([PixelKind.RIGHT, PixelKind.MISSED, PixelKind.INVENTED, PixelKind.VOID],
                         picture.shape[1], font_size_for(SIZE),
                         {kind: (case.kinds == kind).mean() for kind in PixelKind})
    np.testing.assert_array_equal(picture[-len(legend):], legend)


@pytest.mark.parametrize('metainfo', [
    dict(seg_map_path=None), dict(seg_map_path='absent'), dict(segments_info='absent')])
def test_images_without_ground_truth_have_no_error_map(tmp_path, metainfo):
    sample = Errors(tmp_path).sample(**metainfo)
    with_none, = with_errors(tmp_path, [sample])
    usual, = with_errors(tmp_path, [sample], errors=False)
    np.testing.assert_array_equal(with_none, usual)


@pytest.mark.parametrize('damage, text', [
    ('size', '61x40'), ('label', 'has label 5'), ('file', 'truth.png')])
def test_ground_truths_that_do_not_fit_are_reported_once(tmp_path, monkeypatch, damage, text):
    messages = []
    monkeypatch.setattr(MMLogger, 'get_current_instance', lambda: SimpleNamespace(
        warning=messages.append))
    case = Errors(tmp_path, (SIZE[0], SIZE[1] + 1) if damage == 'size' else SIZE)
    if damage == 'label':
        case.infos[0]['category'] = 5
    elif damage == 'file':
        case.png = str(tmp_path / 'none' / 'truth.png')
    pictures = with_errors(tmp_path, [case.sample(), case.sample()])
    usual, = with_errors(tmp_path, [case.sample()], errors=False)
    for picture in pictures:
        np.testing.assert_array_equal(picture, usual)
    assert len(messages) == 1 and text in messages[0] and 'no error map' in messages[0]


def test_error_maps_of_validations(tmp_path):
    case, shapes = Errors(tmp_path), []
    for arguments in (dict(val_images=1), dict(draw=True, interval=1)):
        hook, backend = PanopticVisualizationHook(errors=True, **arguments), Recorder()
        hook._visualizer = PanopticVisualizer(min_side=0)
        hook._visualizer.dataset_meta = META
        hook._visualizer._vis_backends = dict(recorder=backend)
        hook._chosen = {case.image: 'image'}
        hook.after_val_iter(SimpleNamespace(iter=0, _train_loop=object()), 0, {}, [case.sample()])
        shapes += [shape for _, shape, _ in backend.pictures]
    picture, = with_errors(tmp_path, [case.sample()])
    assert shapes == [picture.shape] * 2


def test_other_visualizers_get_no_error_map(tmp_path, monkeypatch):
    class Other:
        def add_datasample(self, name, image, out_file=None, **arguments):
            given.append(arguments)
            cv2.imwrite(out_file, image)
    given, messages = [], []
    monkeypatch.setattr(MMLogger, 'get_current_instance', lambda: SimpleNamespace(
        warning=messages.append))
    (tmp_path / 'now/pictures').mkdir(parents=True)
    with_errors(tmp_path, [Errors(tmp_path).sample()] * 2, Other())
    assert len(given) == 2 and 'errors' not in given[0]
    assert len(messages) == 1 and 'Other draws no error maps' in messages[0]
