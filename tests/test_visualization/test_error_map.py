"""Error maps: colors that readers with color blindness can distinguish, lines, legend."""
import itertools

import numpy as np
import pytest

from mmpanseg.structures.error_kinds import PIXEL_COLORS, PIXEL_TITLES, PixelKind
from mmpanseg.visualization.color import rgb_to_oklch
from mmpanseg.visualization.error_map import draw_error_map, draw_legend

# Machado, Oliveira, Fernandes, "A physiologically-based model for simulation of color vision
# deficiency" (2009), severity 1; on linear RGB
VISION = {
    'full': np.eye(3),
    'protanopia': np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    'deuteranopia': np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    'tritanopia': np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]])}


def linear(color: tuple) -> np.ndarray:
    srgb = np.array(color) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def place(color: tuple, vision: np.ndarray) -> np.ndarray:
    """OKLab coordinates of a color as it is seen."""
    seen = np.clip(vision @ linear(color), 0, 1)
    srgb = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lightness, chroma, hue = rgb_to_oklch(255 * srgb)
    return np.array([lightness, chroma * np.cos(2 * np.pi * hue), chroma * np.sin(2 * np.pi * hue)])


def contrast(first: tuple, second: tuple) -> float:
    """Contrast ratio of the Web Content Accessibility Guidelines."""
    values = sorted(linear(color) @ (0.2126, 0.7152, 0.0722) + 0.05 for color in (first, second))
    return values[1] / values[0]


@pytest.mark.parametrize('vision', VISION)
def test_colors_differ_for_every_reader(vision):
    for first, second in itertools.combinations(PixelKind, 2):
        distance = np.linalg.norm(place(PIXEL_COLORS[first], VISION[vision])
                                  - place(PIXEL_COLORS[second], VISION[vision]))
        assert distance > 0.115, (first.name, second.name)


@pytest.mark.parametrize('page', [(255, 255, 255), (29, 35, 38)])
def test_colors_have_contrast_to_the_page(page):
    assert min(contrast(color, page) for color in PIXEL_COLORS.values()) > 1.6


def gray(value: int, size: tuple = (40, 60)) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


@pytest.mark.parametrize('value', [0, 128, 255])
def test_an_error_has_its_hue_on_any_ground(value):
    for kind in PixelKind:
        drawn = draw_error_map(gray(value), np.full((40, 60), kind, np.uint8))
        # without the lines
        color = np.median(drawn.reshape(-1, 3), axis=0)
        wanted = rgb_to_oklch(PIXEL_COLORS[kind])
        seen = rgb_to_oklch(color)
        if kind in (PixelKind.RIGHT, PixelKind.VOID):
            assert seen[1] < 0.03
        else:
            assert seen[1] > 0.06
            assert abs((seen[2] - wanted[2] + 0.5) % 1 - 0.5) < 0.06, kind


def test_lines_have_a_direction():
    def steps(kind: PixelKind) -> np.ndarray:
        drawn = draw_error_map(gray(128, (200, 200)), np.full((200, 200), kind, np.uint8))
        level = drawn.mean(2)
        return np.array([np.abs(level - np.roll(level, shift, (0, 1))).mean()
                         for shift in ((0, 1), (1, 0), (1, 1), (1, -1))])

    # no change along the lines
    assert steps(PixelKind.MERGED).argmin() == 0 and steps(PixelKind.SPLIT).argmin() == 1
    assert steps(PixelKind.INVENTED).argmin() == 2 and steps(PixelKind.MISSED).argmin() == 3
    assert steps(PixelKind.WRONG_CLASS).min() > 1 and steps(PixelKind.VOID).min() > 1
    assert steps(PixelKind.RIGHT).max() == steps(PixelKind.BOUNDARY).max() == 0


def test_what_is_right_is_the_gray_image():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)
    drawn = draw_error_map(image, np.zeros((30, 30), np.uint8))
    assert (drawn[..., 0] == drawn[..., 1]).all() and (drawn[..., 0] == drawn[..., 2]).all()
    brightness = image @ (0.299, 0.587, 0.114)
    assert np.corrcoef(brightness.ravel(), drawn[..., 0].ravel())[0, 1] > 0.999


def test_each_pixel_has_its_own_kind_at_its_own_size():
    errors = np.zeros((40, 60), np.uint8)
    errors[10:20, 30:50] = PixelKind.BOUNDARY
    drawn = draw_error_map(gray(100), errors)
    colored = np.ptp(drawn.astype(int), axis=2) > 20
    np.testing.assert_array_equal(colored, errors == PixelKind.BOUNDARY)
    drawn = draw_error_map(gray(100), errors, min_side=600)
    assert drawn.shape == (400, 600, 3)
    colored = np.ptp(drawn.astype(int), axis=2) > 20
    np.testing.assert_array_equal(colored, np.kron(errors == PixelKind.BOUNDARY,
                                                   np.ones((10, 10), bool)))


def test_borders_of_the_ground_truth():
    gt_map = np.zeros((20, 20), int)
    gt_map[:, 10:] = 7
    drawn = draw_error_map(gray(60, (20, 20)), np.zeros((20, 20), np.uint8), gt_map)
    assert np.unique(np.nonzero(drawn[..., 0] > 150)[1]).tolist() == [10]


@pytest.mark.parametrize('width', [60, 300, 1500])
def test_legend_names_what_occurs(width):
    errors = np.zeros((width * 2 // 3, width), np.uint8)
    errors[0, 0] = PixelKind.SPLIT
    image = np.zeros((*errors.shape, 3), np.uint8)
    with_legend = draw_error_map(image, errors, legend=True)
    plain = draw_error_map(image, errors)
    np.testing.assert_array_equal(with_legend[:len(plain)], plain)
    strip = with_legend[len(plain):]
    assert strip.shape[1] == width and len(strip) > 10
    # the sample of what occurs, and of nothing else; lines cover a part of it
    present = {kind for kind in PixelKind for color in (PIXEL_COLORS[kind], )
               if kind not in (PixelKind.RIGHT, PixelKind.VOID)
               and (np.abs(strip - (0.38 * 152.5 + 0.62 * np.array(color))).max(2) < 3).any()}
    assert present == {PixelKind.SPLIT}


@pytest.mark.parametrize('dark', [False, True])
def test_legend_on_both_grounds(dark):
    strip = draw_legend(list(PixelKind), 900, 20, dark=dark)
    ground, ink = ((24, 29, 32), (255, 255, 255))[::1 if dark else -1]
    assert (strip[-1, -1] == ground).all()
    assert (np.abs(strip.astype(int) - ink).max(2) < 8).sum() > 100
    rows = draw_legend(list(PixelKind), 200, 20, dark=dark)
    assert len(rows) > 2 * len(strip)
    assert set(PIXEL_TITLES) == set(PixelKind)


@pytest.mark.parametrize('what', ['error map', 'ground truth'])
def test_sizes_must_agree(what):
    good, wrong = np.zeros((40, 60), np.uint8), np.zeros((60, 40), np.uint8)
    errors, gt_map = (wrong, good) if what == 'error map' else (good, wrong)
    with pytest.raises(ValueError, match=f'the {what}.*resize one of them'):
        draw_error_map(gray(0), errors, gt_map)


@pytest.mark.parametrize('share, text', [(1.0, '100%'), (0.9997, '>99.9%'), (0.996, '99.6%'),
                                         (0.94, '94%'), (0.0995, '10%'), (0.0234, '2.3%'),
                                         (0.0005, '0.1%'), (5e-6, '<0.1%')])
def test_shares_are_written_for_readers(share, text, monkeypatch):
    written = []
    monkeypatch.setattr('mmpanseg.visualization.error_map.text_ink',
                        lambda text, size, width, height:
                        written.append(text) or np.zeros((height, width), np.float32))
    draw_legend([PixelKind.MISSED], 400, 12, {PixelKind.MISSED: share})
    assert written == [f'missed {text}']
