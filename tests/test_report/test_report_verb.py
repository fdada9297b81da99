"""The verb on saved predictions: figures against the metric, files, options, mistakes."""
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmpanseg.evaluation import PanopticMetric, pq_compute
from mmpanseg.report import run as run_module
from mmpanseg.report.records import IMAGES, read_records, record_line
from mmpanseg.report.statistics import Totals
from mmpanseg.utils import strict_json

from .made_sets import CATEGORY, NAMES, STUFF, THINGS, write_set


def from_files(folder: Path, *further):
    return ['--predictions', folder / 'pred.json', '--truth', folder / 'truth.json', '--images',
            folder / 'images', *(() if '--pictures' in further else ('--pictures', '1')),
            '--max-side', '64', *further]


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_equals_the_official_evaluation(report, made_set):
    """PQ, SQ, RQ of all groups, classes (exactly), sizes and boundaries."""
    made = report(*from_files(made_set, '--boundary'))
    expected = pq_compute(made_set / 'truth.json', made_set / 'pred.json', boundary_width=0.02,
                          by_size=True)
    quality = made.summary.quality
    # averages over classes in another order
    for variant, official in (('all', expected), *(
            (name, expected[name.capitalize()])
            for name in ('boundary', 'small', 'medium', 'large'))):
        for group in ('All', 'Things', 'Stuff'):
            assert quality[variant][group.lower()] == pytest.approx(official[group], rel=1e-12)
    for entry in made.summary.classes:
        found = entry.quality['all']
        assert {key: found[key] for key in ('pq', 'sq', 'rq')} == (
            expected['per_class'][CATEGORY[entry.name]])
    assert made.summary.complete and made.summary.num_scored == 6
    assert f'PQ {100 * expected["All"]["pq"]:.1f} ' in made.out.splitlines()[0]
    assert made.out.splitlines()[1].startswith('most frequent errors: ')
    assert made.out.splitlines()[-1] == '6 images -> out/index.html'


def test_metrics_are_those_of_the_metric(report, made_set):
    """All numbers of PanopticMetric under its names; images.jsonl alone gives them again."""
    made = report(made_set / 'config.py', '--predictions', made_set / 'pred.json', '--boundary',
                  '--pictures', '0')
    metric = PanopticMetric(boundary_width=0.02, by_size=True, classwise=False)
    metric.dataset_meta = dict(classes=NAMES, thing_classes=THINGS, stuff_classes=STUFF)
    label_of = {category: NAMES.index(name) for name, category in CATEGORY.items()}
    sides = [json.loads((made_set / f'{side}.json').read_text())['annotations']
             for side in ('truth', 'pred')]
    for gt, pred in zip(*sides):
        colors = cv2.imread(str(made_set / 'pred' / pred['file_name']))[..., ::-1].astype(int)
        ids = colors @ [1, 256, 65536]
        coded = np.full(ids.shape, 4)
        for at, info in enumerate(pred['segments_info']):
            label = label_of[info['category_id']]
            coded[ids == info['id']] = label + (label < 2) * 1000 * (1 + at)
        metric.process(None, [dict(
            img_id=gt['image_id'], img_path='', img_orientation=1,
            seg_map_path=str(made_set / 'truth' / gt['file_name']),
            segments_info=[dict(info, category=label_of[info['category_id']])
                           for info in gt['segments_info']],
            pred_panoptic_seg=dict(sem_seg=torch.from_numpy(coded)[None]))])
    expected = metric.compute_metrics(metric.results)
    assert made.summary.metrics == {f'panoptic/{key}': value for key, value in expected.items()}
    totals = Totals(4)
    for record in made.records:
        totals.add(record)
    for variant, groups in made.summary.quality.items():
        assert totals.stats[variant].average() == groups['all']
    assert totals.kinds_of() == made.summary.kinds
    assert totals.confusion.as_dict(NAMES) == made.summary.confusion
    assert totals.calibration.as_dict() == made.summary.calibration


def test_config_gives_the_same(report, made_set):
    """Ground truth of a config in place of a JSON: other order of labels, same figures."""
    one = report(*from_files(made_set), out='one').summary
    two = report(made_set / 'config.py', '--predictions', made_set / 'pred.json', '--pictures',
                 '0', out='two').summary
    assert one.metrics == pytest.approx(two.metrics)
    assert one.kinds == two.kinds and one.calibration == two.calibration
    assert [entry.name for entry in two.classes] == list(NAMES)


def test_files(report, made_set):
    """Strict JSON; every picture exists; the folder is replaced as a whole."""
    for _ in range(2):
        made = report(*from_files(made_set, '--pictures', '2'))
    for text in ((made.folder / 'report.json').read_text(),
                 *(made.folder / IMAGES).read_text().splitlines()):
        json.loads(text, parse_constant=strict_json.refuse_constant)
    pictured = [record for record in made.records if record.pictures]
    worst = sorted(made.records, key=lambda record: (record.pq, record.number))[:2]
    assert {record.number for record in pictured} == {record.number for record in worst}
    files = {f'pictures/{path.name}' for path in (made.folder / 'pictures').iterdir()}
    assert files == {address for record in pictured for address in record.pictures.values()}
    assert len(files) == 16 and made.summary.num_pictured == 2
    picture = cv2.imread(str(made.folder / pictured[0].pictures['errors']))
    assert max(picture.shape) == 64
    assert any('lowest PQ' in note for note in made.summary.notes)
    assert [record.name for record in made.records] == [f'{number:04d}' for number in range(6)]


def test_no_pictures_and_no_images(report, made_set):
    """--pictures 0; without --images segments are drawn on gray and no image is promised."""
    made = report(*from_files(made_set, '--pictures', '0'), out='none')
    assert not (made.folder / 'pictures').exists() and made.summary.num_pictured == 0
    made = report('--predictions', made_set / 'pred.json', '--truth', made_set / 'truth.json',
                  '--pictures', 'all', '--max-side', '64', out='gray')
    assert all(set(record.pictures) == {kind + size for kind in ('prediction', 'truth', 'errors')
                                        for size in ('', '_small')} for record in made.records)
    assert made.err == ''


def test_sample(report, made_set):
    """The same seed gives the same images; the report says that it is a sample."""
    one = report(*from_files(made_set, '--sample', '3', '--seed', '1'), out='one')
    two = report(*from_files(made_set, '--sample', '3', '--seed', '1'), out='two')
    names = [record.name for record in one.records]
    assert len(names) == 3 and names == [record.name for record in two.records] == sorted(names)
    assert one.summary.seed == 1 and one.summary.num_images == 6
    assert ('A random sample of 3 of 6 images, seed 1: figures of all '
            'images differ.') in one.summary.notes
    assert report(*from_files(made_set, '--sample', '99')).summary.seed is None


def test_broken_image_is_reported(report, own_set):
    """One broken prediction, one ground truth of another size, one missing image: status 1."""
    (own_set / 'pred/0001.png').write_bytes(b'no picture')
    small = cv2.imread(str(own_set / 'truth/0002.png'))[:-1]
    cv2.imwrite(str(own_set / 'truth/0002.png'), small)
    (own_set / 'images/0003.jpg').unlink()
    made = report(*from_files(own_set, '--pictures', 'all'), status=1)
    first, second, third = made.err.splitlines()
    assert first.startswith('0001: ') and second.startswith('0002: ')
    assert 'has 128x96 pixels' in second and '128x95' in second
    assert third == '0003: the image file does not exist'
    assert made.summary.num_failed == 2 and made.summary.num_scored == 4
    assert ('2 images could not be scored and are not in the figures; they '
            'are the last ones of the list, which says why.') in made.summary.notes
    assert [bool(record.error) for record in made.records] == [0, 1, 1, 0, 0, 0]
    assert made.records[3].note and 'prediction' in made.records[3].pictures
    assert made.records[1].pq is None and not made.records[1].segments


def test_interruption_leaves_a_report(report, made_set, monkeypatch):
    """Ctrl-C: status 130, the figures until then, and a message."""
    def stop(self, number, answer):
        if number == 4:
            raise KeyboardInterrupt
        return score(self, number, answer)

    score = run_module._Run._score
    monkeypatch.setattr(run_module._Run, '_score', stop)
    made = report(*from_files(made_set), status=130)
    assert 'interrupted: the report contains the images until now' in made.err
    assert not made.summary.complete and 0 < made.summary.num_scored < 6
    assert len(made.records) == made.summary.num_scored
    assert made.summary.notes[0].startswith('Interrupted after ')
    monkeypatch.undo()


def test_foreign_folder(report, made_set, tmp_path):
    """Files of others are never touched."""
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/thesis.txt').write_text('mine')
    made = report(*from_files(made_set), status=1)
    assert 'holds files that `mmpanseg report` did not write (thesis.txt)' in made.err
    report(*from_files(made_set), out='other')
    (tmp_path / 'other/pictures/holiday.jpg').write_text('mine')
    made = report(*from_files(made_set), out='other', status=1)
    assert 'holds pictures/holiday.jpg' in made.err
    assert (tmp_path / 'other/report.json').is_file()


@pytest.mark.parametrize('arguments, text', [
    ([], 'name a CONFIG with a CHECKPOINT'),
    (['--truth', 'a.json'], '--truth needs --predictions'),
    (['c.py', '--truth', 'a.json'], 'leave out one of them'),
    (['--predictions', 'a.json', '--images', 'b', '--truth', 'x.json', '--tta'], '--tta belongs'),
    (['--truth', 'a.json', '--predictions', 'a.pkl'], 'labels without names'),
    (['c.py', 'a.pth', '--predictions', 'a.json'], 'leave out CHECKPOINT'),
    (['--predictions', 'no.json', '--truth', 'no.json'], 'no.json'),
    (['missing.py', 'missing.pth'], 'missing.py'),
])
def test_arguments(report, arguments, text):
    """Each mistake has its text."""
    made = report(*arguments, status=1)
    assert text in made.err and made.err.count('\n') == 1


def test_wrong_predictions(report, own_set, tmp_path):
    """A missing prediction, an unknown category, another format, a folder without predictions."""
    good = (own_set / 'pred.json').read_text()
    arguments = from_files(own_set)
    edit(own_set / 'pred.json', lambda content: content['annotations'].pop())
    assert 'no prediction for the image with id 105' in report(*arguments, status=1).err
    (own_set / 'pred.json').write_text(good)
    edit(own_set / 'pred.json', lambda content: content['annotations'][0]['segments_info'][0]
         .update(category_id=77))
    assert 'category_id 77 is none of the ground truth' in report(*arguments, status=1).err
    (own_set / 'pred.txt').write_text('')
    arguments[1] = own_set / 'pred.txt'
    assert 'must end in .json, .jsonl, .pkl, .pickle' in report(*arguments, status=1).err
    arguments[1] = own_set / 'images'
    assert 'contains no panoptic.json and no predictions.jsonl' in report(*arguments, status=1).err
    assert not (tmp_path / 'out').exists()


def test_without_ground_truth(report, own_set):
    """A test set without annotations."""
    edit(own_set / 'truth.json', lambda content: content.update(annotations=[]))
    made = report(own_set / 'config.py', '--predictions', own_set / 'pred.json', status=1)
    assert 'no image has ground truth' in made.err


def test_semantic_ground_truth(report, own_set):
    """Label images are no panoptic ground truth."""
    shutil.move(own_set / 'truth', own_set / 'labels')
    (own_set / 'config.py').write_text(f"""
test_dataloader = dict(dataset=dict(
    type='mmpanseg.SemanticDataset', data_root={str(own_set)!r}, img_suffix='.jpg',
    data_prefix=dict(img='images', seg='labels'), metainfo=dict(classes={NAMES}),
    pipeline=[dict(type='LoadImageFromFile')], test_mode=True))
""")
    made = report(own_set / 'config.py', '--predictions', own_set / 'pred.json', status=1)
    assert 'panoptic' in made.err and made.err.count('\n') == 1


def test_compare(report, made_set, own_set):
    """With another report, and with predictions, of which a report is made beside."""
    report(*from_files(made_set), out='first')
    edit(own_set / 'pred.json', lambda content: [
        info.update(category_id=CATEGORY['box']) for annotation in content['annotations']
        for info in annotation['segments_info'] if info['category_id'] == CATEGORY['ball']])
    made = report(*from_files(own_set, '--compare', 'first'), out='second')
    assert (made.folder / 'compare.html').is_file()
    assert made.out.splitlines()[-1] == 'comparison -> second/compare.html'
    once = json.loads((made.folder / 'comparison.json').read_text())
    made = report(*from_files(own_set, '--compare', made_set / 'pred.json'), out='second')
    twice = json.loads((made.folder / 'comparison.json').read_text())
    assert once['quality'] == twice['quality']
    assert (made.folder.parent / 'second-other/index.html').is_file()
    made = report(*from_files(own_set, '--compare', 'second'), out='second', status=1)
    assert 'name another --out' in made.err


def test_damaged_report(report, made_set):
    """A damaged line names file and line."""
    made = report(*from_files(made_set, '--pictures', '0'))
    path = made.folder / IMAGES
    lines = path.read_text().splitlines()
    assert record_line(made.records[0]) == lines[0]
    path.write_text('\n'.join([lines[0], lines[1][:50]]))
    with pytest.raises(ValueError, match=r'images\.jsonl, line 2: .*make the report again'):
        list(read_records(made.folder))
    path.unlink()
    with pytest.raises(ValueError, match='is no folder of `mmpanseg report`'):
        list(read_records(made.folder))


@pytest.mark.slow
def test_memory_does_not_grow(tmp_path, report):
    """The peak of Python's memory is that of few images."""
    import tracemalloc

    peaks = []
    for count in (40, 400):
        write_set(tmp_path / f'set{count}', count, size=(48, 64), images=False)
        folder = tmp_path / f'set{count}'
        arguments = ['--predictions', folder / 'pred.json', '--truth', folder / 'truth.json',
                     '--pictures', '4', '--max-side', '64']
        report(*arguments, out='warm')
        tracemalloc.start()
        report(*arguments, out=f'out{count}')
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # lists of the data set and the predictions grow, about 1 kB an image and segment
    assert peaks[1] < peaks[0] + 400 * 12_000, peaks
