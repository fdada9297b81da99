"""The paired bootstrap: against a slow direct one with the same draws, and a known distribution."""
import tracemalloc

import numpy as np
import pytest
from scipy.stats import binom

from mmpanseg.evaluation import PQStat
from mmpanseg.report.bootstrap import ImageSums, compare_sums, draw_images

CLASSES = 6
GROUPS = {'all': np.ones(CLASSES, bool), 'things': np.arange(CLASSES) < 4,
          'stuff': np.arange(CLASSES) >= 4}


def random_sums(rng: np.random.Generator, images: int) -> list[list]:
    """Rows (label, IoU, tp, fp, fn) of each image; the last class is rare."""
    result = []
    for _ in range(images):
        rows = []
        for label in range(CLASSES):
            if rng.random() < (0.02 if label == CLASSES - 1 else 0.4):
                tp, fp, fn = (int(number) for number in rng.integers(0, 4, 3))
                if tp + fp + fn:
                    rows.append([label, float(rng.uniform(0.5, 1, tp).sum()), tp, fp, fn])
        result.append(rows)
    return result


def add_all(images: list[list]) -> ImageSums:
    sums = ImageSums(CLASSES)
    for rows in images:
        sums.add(rows)
    return sums


def direct(images: list[list], chosen: np.ndarray) -> PQStat:
    """The statistics of a selection, image after image."""
    total = PQStat(CLASSES)
    for image in chosen:
        part = PQStat(CLASSES)
        for label, *sums in images[image]:
            part.sums[label] = sums
        total += part
    return total


def test_against_direct_draws():
    rng = np.random.default_rng(3)
    a, b = random_sums(rng, 30), random_sums(rng, 30)
    samples = 150
    groups, classes = compare_sums(add_all(a), add_all(b), GROUPS, samples, seed=5)

    whole_a, whole_b = direct(a, np.arange(30)), direct(b, np.arange(30))
    generator = np.random.default_rng(5)
    draws = {name: [] for name in GROUPS}
    by_class = [[] for _ in range(CLASSES)]
    for _ in range(samples):
        chosen = generator.integers(0, 30, 30)
        drawn_a, drawn_b = direct(a, chosen), direct(b, chosen)
        for name, mask in GROUPS.items():
            draws[name].append(drawn_a.average(mask)['pq'] - drawn_b.average(mask)['pq'])
        pq_a, _, _, occurs_a = drawn_a.per_class()
        pq_b, _, _, occurs_b = drawn_b.per_class()
        for label in np.flatnonzero(occurs_a & occurs_b):
            by_class[label].append(pq_a[label] - pq_b[label])
    for name, mask in GROUPS.items():
        expected = (whole_a.average(mask)['pq'], whole_b.average(mask)['pq'])
        found = groups[name]
        assert (found.a, found.b) == pytest.approx(expected)
        assert found.difference == pytest.approx(expected[0] - expected[1])
        assert (found.low, found.high) == pytest.approx(
            tuple(np.percentile(draws[name], (2.5, 97.5))))
        assert found.better == pytest.approx(np.mean(np.array(draws[name]) > 0))
    # a rare class is in some draws only
    assert 0 < len(by_class[-1]) < samples
    for label, found in enumerate(classes):
        assert found.difference == pytest.approx(
            whole_a.per_class()[0][label] - whole_b.per_class()[0][label])
        assert (found.low, found.high) == pytest.approx(
            tuple(np.percentile(by_class[label], (2.5, 97.5))))


def test_known_distribution():
    """One pair an image: PQ is the mean IoU, and its difference a binomial number."""
    images, differing, gap, samples = 80, 20, 0.3, 4000
    a, b = ImageSums(1), ImageSums(1)
    for image in range(images):
        a.add([[0, 0.6 + gap * (image < differing), 1, 0, 0]])
        b.add([[0, 0.6, 1, 0, 0]])
    groups, _ = compare_sums(a, b, {'all': np.ones(1, bool)}, samples, seed=1)
    found = groups['all']
    assert found.difference == pytest.approx(gap * differing / images)
    law = binom(images, differing / images)
    step = gap / images
    # a quantile of 4000 draws is within one step of that of the law
    assert found.low == pytest.approx(step * law.ppf(0.025), abs=1.01 * step)
    assert found.high == pytest.approx(step * law.ppf(0.975), abs=1.01 * step)
    assert found.better == pytest.approx(1)


def test_share_of_better_draws():
    """Two images, one better for each model: A is better, equal, worse in 1/4, 1/2, 1/4."""
    a, b = ImageSums(1), ImageSums(1)
    for iou_a, iou_b in ((0.9, 0.6), (0.6, 0.9)):
        a.add([[0, iou_a, 1, 0, 0]])
        b.add([[0, iou_b, 1, 0, 0]])
    found = compare_sums(a, b, {'all': np.ones(1, bool)}, 4000, seed=0)[0]['all']
    assert found.better == pytest.approx(0.5, abs=0.03)
    assert (found.low, found.high) == pytest.approx((-0.3, 0.3))


def test_same_model_has_no_difference():
    sums = add_all(random_sums(np.random.default_rng(0), 25))
    groups, classes = compare_sums(sums, sums, GROUPS, 50, seed=0)
    for found in (*groups.values(), *classes):
        assert (found.difference, found.low, found.high, found.better) == (0, 0, 0, 0.5)


def test_interval_does_not_depend_on_how_many_draws_are_made_at_a_time(monkeypatch):
    rng = np.random.default_rng(1)
    a, b = add_all(random_sums(rng, 20)), add_all(random_sums(rng, 20))
    results = []
    for chunk in (1, 7, 64):
        monkeypatch.setattr('mmpanseg.report.bootstrap._CHUNK', chunk)
        results.append(compare_sums(a, b, GROUPS, 65, seed=2)[0]['all'])
    for other in results[1:]:
        assert (other.low, other.high) == pytest.approx((results[0].low, results[0].high))


def test_draws_have_as_many_images_as_the_set():
    drawn = np.concatenate(list(draw_images(9, 130, seed=4)), axis=1)
    assert drawn.shape == (9, 130)
    assert (drawn.sum(0) == 9).all()
    # each image once on average
    assert drawn.mean() == 1 and np.abs(drawn.mean(1) - 1).max() < 0.4


def test_class_that_one_model_invents():
    a, b = ImageSums(2), ImageSums(2)
    a.add([[0, 0.8, 1, 0, 0]])
    b.add([[0, 0.8, 1, 0, 0], [1, 0, 0, 1, 0]])
    groups, classes = compare_sums(a, b, {'all': np.ones(2, bool), 'none': np.zeros(2, bool)},
                                   10, seed=0)
    assert classes[1] is None
    # the invented class is one of two for B
    assert (groups['all'].a, groups['all'].b) == pytest.approx((0.8, 0.4))
    assert (groups['none'].a, groups['none'].high) == (0, 0)


@pytest.mark.parametrize('images_a, images_b', [(0, 0), (2, 3)])
def test_both_need_the_same_images(images_a, images_b):
    a, b = add_all([[]] * images_a), add_all([[]] * images_b)
    with pytest.raises(ValueError, match=f'{images_a} and {images_b} images'):
        compare_sums(a, b, GROUPS, 10, seed=0)


def test_memory_is_bounded_for_large_sets():
    """5,000 images, 133 classes, 1,000 draws."""
    rng = np.random.default_rng(0)
    sums = []
    for _ in range(2):
        part = ImageSums(133)
        for _ in range(5000):
            labels = rng.choice(133, 8, replace=False)
            part.add([[int(label), 0.8, 1, 1, 0] for label in labels])
        sums.append(part)
    tracemalloc.start()
    compare_sums(*sums, {'all': np.ones(133, bool)}, 1000, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
