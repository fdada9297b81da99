"""Comparison of two reports: planted differences, other ground truths, missing images, files."""
import json
from dataclasses import replace

import numpy as np
import pytest

from mmpanseg.evaluation.panoptic_quality import PQStat
from mmpanseg.report.comparison import compare
from mmpanseg.report.comparison_page import largest_changes, verdict, write_comparison_page
from mmpanseg.report.records import IMAGES, read_records, record_line

from .made_reports import CLASSES, misses_some, right, write_report


def test_a_model_against_itself(tmp_path):
    a = write_report(tmp_path / 'a', misses_some)
    found = compare(a, a, samples=50)
    for groups in found.quality.values():
        for difference in groups.values():
            assert (difference.difference, difference.low, difference.high) == (0, 0, 0)
            assert difference.better == 0.5
    assert not any(image.won or image.lost or image.difference for image in found.images)
    assert all(entry.won == entry.lost == 0 for entry in found.classes)
    assert verdict(found.quality['all']['all']) == 'No choice of the images gives a difference.'
    assert not found.only_a and not found.only_b and not found.notes
    assert not largest_changes(found.images)


@pytest.mark.parametrize('order', [1, -1])
def test_planted_difference(tmp_path, order):
    a = write_report(tmp_path / 'a', right, title='good')
    b = write_report(tmp_path / 'b', misses_some, title='worse', order=order)
    found = compare(a, b, samples=300)
    assert (found.title_a, found.title_b) == ('good', 'worse')
    whole = found.quality['all']['all']
    # against the sums of all images
    totals = []
    for folder in (a, b):
        total = PQStat(3)
        for record in read_records(folder):
            for label, *sums in record.sums['all']:
                total.sums[label] += sums
        totals.append(total)
    assert whole.a == pytest.approx(totals[0].average()['pq']) == 1
    assert whole.b == pytest.approx(totals[1].average()['pq'])
    assert whole.difference == pytest.approx(whole.a - whole.b)
    assert 0 < whole.low < whole.difference < whole.high and whole.better > 0.99
    assert found.quality['all']['things'].b == pytest.approx(
        totals[1].average(np.array([True, True, False]))['pq'])
    for entry, pq in zip(found.classes, totals[1].per_class()[0]):
        assert entry.pq.b == pytest.approx(pq)
    # 12 images: 0, 3, 6, 9 miss a car, 5 takes the bus for a car
    assert [(entry.name, entry.segments, entry.won, entry.lost) for entry in found.classes] == [
        ('car', 24, 4, 0), ('bus', 12, 1, 0), ('road', 12, 0, 0)]
    won = {image.name: [(change.id, change.kind_b, change.text) for change in image.won]
           for image in found.images if image.won}
    assert list(won) == ['0000', '0003', '0005', '0006', '0009']
    assert won['0003'] == [(1, 'missed', 'missed, 100% of it is predicted as road')]
    assert won['0005'] == [(3, 'wrong_class', 'predicted as car (IoU 1.00)')]
    assert not any(image.lost for image in found.images)
    assert found.kinds['gt'] == {'matched': [48, 43], 'wrong_class': [0, 1], 'missed': [0, 4],
                                 'ignored': [12, 12]}
    assert found.kinds['pred']['wrong_class'] == [0, 1]
    assert found.changes['matched'] == {'matched': 43, 'wrong_class': 1, 'missed': 4}
    images = {image.name: image for image in found.images}
    for record_a, record_b in zip(read_records(a), list(read_records(b))[::order]):
        image = images[record_a.name]
        assert image.difference == pytest.approx(record_a.pq - record_b.pq)
        assert (image.number_a, image.number_b) == (record_a.number, record_b.number)
    # the other way round everything has the other sign
    reverse = compare(b, a, samples=300)
    back = reverse.quality['all']['all']
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-whole.difference, -whole.high, -whole.low), abs=0.02)
    assert sum(entry.lost for entry in reverse.classes) == 5
    assert {change.text for image in reverse.images for change in image.lost} == {
        'missed, 100% of it is predicted as road', 'predicted as car (IoU 1.00)'}


def test_variants_that_both_have(tmp_path):
    a = write_report(tmp_path / 'a', right, boundary=True)
    b = write_report(tmp_path / 'b', misses_some)
    assert list(compare(a, b, samples=10).quality) == ['all', 'small']
    assert list(compare(a, a, samples=10).quality) == ['all', 'boundary', 'small']


def test_images_of_one_report_only(tmp_path):
    a = write_report(tmp_path / 'a', right, numbers=range(10))
    b = write_report(tmp_path / 'b', misses_some, numbers=range(4, 12), order=-1)
    found = compare(a, b, samples=20)
    assert [image.name for image in found.images] == [f'{number:04d}' for number in range(4, 10)]
    assert found.only_a == ['0000', '0001', '0002', '0003'] and found.only_b == ['0010', '0011']
    assert found.notes == [
        'Left out, because only the report of A has their figures, not that of B: 4 images (0000, '
        '0001, 0002, 0003).', 'Left out, because only the report of B has their figures, not that '
        'of A: 2 images (0010, 0011).']
    assert sum(entry.segments for entry in found.classes) == 6 * 4


def rewrite(folder, change):
    """Change the records of a report."""
    records = list(read_records(folder))
    for record in records:
        change(record)
    (folder / IMAGES).write_text(''.join(f'{record_line(record)}\n' for record in records))


def test_image_without_figures_is_left_out(tmp_path):
    a = write_report(tmp_path / 'a', right, numbers=range(3))
    b = write_report(tmp_path / 'b', right, numbers=range(3))

    def fail(record):
        if record.number == 1:
            record.error, record.segments, record.sums = 'damaged', [], {}

    rewrite(b, fail)
    found = compare(a, b, samples=10)
    assert [image.name for image in found.images] == ['0000', '0002']
    assert (found.only_a, found.only_b) == (['0001'], [])


def differ(what):
    def change(record):
        if record.number != 2:
            return
        if what == 'size':
            record.size = (60, 30)
        elif what == 'gone':
            record.segments = [entry for entry in record.segments
                               if (entry.side, entry.id) != ('gt', 2)]
        else:
            entry = next(e for e in record.segments if (e.side, e.id) == ('gt', 2))
            if what == 'label':
                entry.label = 1
            elif what == 'area':
                entry.area += 1
            elif what == 'crowd':
                entry.kind = 'ignored'
    return change


@pytest.mark.parametrize('what, text', [
    ('size', '60x30 pixels .width x height. in the first, 30x60 in the second'),
    ('gone', r'segment 2 is not the same \(5 and 4 segments\)'),
    ('label', 'segment 2 is not the same'), ('area', 'segment 2 is not the same'),
    ('crowd', 'segment 2 is not the same')])
def test_different_ground_truth_is_refused(tmp_path, what, text):
    a, b = (write_report(tmp_path / name, right, numbers=range(4)) for name in 'ab')
    rewrite(b, differ(what))
    with pytest.raises(ValueError, match=rf'ground truths of image 102 \(0002\) differ: {text}.*; '
                       'make both reports with the same ground truth'):
        compare(a, b, samples=10)


@pytest.mark.parametrize('classes, text', [
    (CLASSES[:2], r"class 2 is 'road' \(stuff\) in the first and none in the second \(3 and 2"),
    ([CLASSES[1], CLASSES[0], CLASSES[2]], r"class 0 is 'car' \(thing\) in the first and 'bus'"),
    ([*CLASSES[:2], replace(CLASSES[2], is_thing=True)],
     r"class 2 is 'road' \(stuff\).*'road' \(thing\)")])
def test_different_classes_are_refused(tmp_path, classes, text):
    a = write_report(tmp_path / 'a', right)
    b = write_report(tmp_path / 'b', right, classes=classes)
    with pytest.raises(ValueError, match=f'their classes differ: {text}'):
        compare(a, b)


def test_no_image_in_common(tmp_path):
    a = write_report(tmp_path / 'a', right, numbers=range(3))
    b = write_report(tmp_path / 'b', right, numbers=range(3, 6))
    with pytest.raises(ValueError, match='no image with figures in common'):
        compare(a, b)


def test_two_images_of_one_id(tmp_path):
    a = write_report(tmp_path / 'a', right, numbers=[0, 1, 0])
    with pytest.raises(ValueError, match='has two images with id 100'):
        compare(a, a)


def test_folder_without_report(tmp_path):
    a = write_report(tmp_path / 'a', right)
    with pytest.raises(ValueError, match='is no folder of `mmpanseg report`'):
        compare(a, tmp_path / 'absent')


def test_notes_of_reports_that_are_less(tmp_path):
    a = write_report(tmp_path / 'a', right, reasons={'never_proposed': 1},
                     options=dict(tta=True, sample=3, cfg_options={'x.thr': '0.9', 'y': '1'}))
    b = write_report(tmp_path / 'b', right)
    summary = json.loads((b / 'report.json').read_text())
    (b / 'report.json').write_text(json.dumps(dict(summary, complete=False)))
    assert compare(a, b, samples=10).notes == [
        'The report of B is not complete.', 'Options differ, tta: True for A, none for B.',
        'Options differ, cfg_options: x.thr=0.9, y=1 for A, none for B.',
        'The queries of B are unknown: what it lost in the fusion is counted under other kinds.']


@pytest.mark.parametrize('sources, titles', [
    (({'checkpoint': 'x/one.pth'}, {'checkpoint': 'y/two.pth'}),
     ('model (one.pth)', 'model (two.pth)')),
    (({'checkpoint': 'x/one.pth'}, {'predictions': 'two.json'}),
     ('model (one.pth)', 'model (two.json)')),
    (({'checkpoint': 'x/one.pth'}, {'checkpoint': 'y/one.pth'}), ('model (A)', 'model (B)')),
    (({}, {}), ('model (A)', 'model (B)'))])
def test_equal_titles_get_a_difference(tmp_path, sources, titles):
    a, b = (write_report(tmp_path / name, right, numbers=range(2), source=source)
            for name, source in zip('ab', sources))
    found = compare(a, b, samples=5)
    assert (found.title_a, found.title_b) == titles


def test_page_and_figures(tmp_path):
    a = write_report(tmp_path / 'a', right, title='good <b>')
    b = write_report(tmp_path / 'b', misses_some, title='worse')
    found = compare(a, b, samples=40)
    page = write_comparison_page(a, found, b)
    text = page.read_text()
    assert 'good &lt;b&gt;' in text and '<b>worse' not in text
    assert 'B: missed, 100% of it is predicted as road' in text
    # where the bus is taken for a car
    assert text.count('Predicted segments without a match') == 1
    assert 'Predicted segments without a match: 0 of A, 1 of B.' in text
    # the five images that differ, with both predictions and error maps
    assert text.count('<article') == 5
    assert text.count('data-panel="prediction-a"') == text.count('data-panel="errors-b"') == 5
    copied = sorted(path.name for path in (a / 'other').iterdir())
    assert len(copied) == 5 * 4 and all(f'other/{name}' in text for name in copied)
    content = json.loads((a / 'comparison.json').read_text())
    assert content['format'] == 'mmpanseg.comparison' and len(content['images']) == 12
    assert content['quality']['all']['all']['low'] == found.quality['all']['all'].low
    assert [len(entry['won']) for entry in content['images']].count(1) == 5
    # again with other images: no picture of before is left
    write_comparison_page(a, compare(a, a, samples=10), a)
    assert 'No image differs.' in page.read_text() and not list((a / 'other').iterdir())


def test_page_without_pictures(tmp_path):
    a = write_report(tmp_path / 'a', right)
    b = write_report(tmp_path / 'b', misses_some, pictures=False)
    text = write_comparison_page(a, compare(a, b, samples=10), b).read_text()
    assert text.count('The report of B has no pictures of this image;') == 5
    assert 'data-panel="errors-a"' in text and 'data-panel="errors-b"' not in text
    assert not (a / 'other').exists()


def test_pictures_stay_in_the_folder_of_the_other_report(tmp_path):
    """An address of a report that somebody sent cannot make a copy of another file."""
    a = write_report(tmp_path / 'a', right)
    b = write_report(tmp_path / 'b', misses_some)
    (tmp_path / 'secret.jpg').write_bytes((b / 'pictures/000000_errors.jpg').read_bytes())

    def lead_out(record):
        record.pictures['errors'] = 'pictures/../../secret.jpg'

    rewrite(b, lead_out)
    write_comparison_page(a, compare(a, b, samples=10), b)
    assert not (a / 'other/secret.jpg').exists()


@pytest.mark.parametrize('gain', [True, False])
def test_largest_changes(tmp_path, gain):
    a, b = (write_report(tmp_path / name, preds, pictures=False)
            for name, preds in (('a', right), ('b', misses_some)))
    images = compare(*((a, b) if gain else (b, a)), samples=5).images
    chosen = largest_changes(images, limit=3)
    sizes = sorted((abs(image.difference) for image in images), reverse=True)
    assert [abs(image.difference) for image in chosen] == sizes[:3]


def test_verdict_says_whether_it_is_sure(tmp_path):
    a, b = (write_report(tmp_path / name, preds, pictures=False)
            for name, preds in (('a', right), ('b', misses_some)))
    sure = compare(b, a, samples=200).quality['all']['all']
    assert verdict(sure) == (
        f'B is better by {100 * abs(sure.difference):.2f} points of PQ, and in 100.0 % of random '
        'draws of the images.')
    text = verdict(replace(sure, low=-0.1, high=0.01, better=0.06))
    assert text.endswith('The interval contains 0: these images cannot show that A is worse.')


def test_what_the_other_report_shows_has_pictures(made_set, report):
    """A is right everywhere: its own worst image is not the one where the difference is."""
    truth = ('--truth', made_set / 'truth.json', '--images', made_set / 'images')
    other = report('--predictions', made_set / 'pred.json', *truth, '--pictures', 2, out='other')
    shown = {record.name for record in other.records if record.pictures}
    assert len(shown) == 2
    one = report('--predictions', made_set / 'truth.json', *truth, '--pictures', 0,
                 '--compare', 'other')
    assert {record.name for record in one.records if record.pictures} == shown
    assert ('Pictures are those of the 0 images with the lowest PQ, and of those that the compared '
            'report has pictures of.') in one.summary.notes
    page = (one.folder / 'compare.html').read_text()
    assert page.count('data-panel="prediction-a"') == page.count('data-panel="errors-b"') == 2
    assert 'A − B' in page and ' is better by ' in one.out
    found = json.loads((one.folder / 'comparison.json').read_text())['quality']['all']['all']
    assert found['a'] == 1 and found['b'] == pytest.approx(
        other.summary.quality['all']['all']['pq'])
