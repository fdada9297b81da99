"""A report of a few images by hand, with evil names, and of many images by rule."""
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from mmpanseg.report.page import write_report_page
from mmpanseg.report.records import ImageRecord, SegmentRecord, Summary
from mmpanseg.report.statistics import Totals
from mmpanseg.report.summary import summarize

EVIL = '</script><img src=x onerror="alerted=1">\' & 図'
NAMES = ['car', EVIL, 'road']
PANELS = ('image', 'prediction', 'truth', 'errors')


class Classes:
    """What a summary needs of a data set."""

    names, is_thing = NAMES, [True, True, False]
    palette, category_ids = [(200, 30, 30), (30, 30, 200), (90, 90, 90)], {0: 1, 1: 2, 2: 3}

    def __len__(self):
        return len(self.names)


def segment(side, id, label, area, kind, iou, **more):
    box = more.pop('box', (10, 20, 40, 50))
    return SegmentRecord(side, id, label, area, box, kind, iou, **more)


def pair(id, label, iou, score, area=2000):
    """A matched pair."""
    return [segment('gt', id, label, area, 'matched', iou, match=id, partner=id),
            segment('pred', id, label, area, 'matched', iou, score=score, match=id, partner=id)]


def image(number, segments, rows, name=None, **more):
    """An image with its rows [label, iou, tp, fp, fn]."""
    qualities = [(iou / (tp + fp / 2 + fn / 2), iou / tp if tp else 0.0,
                  tp / (tp + fp / 2 + fn / 2)) for _, iou, tp, fp, fn in rows]
    pq, sq, rq = np.mean(qualities, 0).tolist() if qualities else (None, None, None)
    pictures = {f'{panel}{small}': f'pictures/{number:06d}_{panel}{small}.jpg'
                for panel in PANELS for small in ('', '_small')}
    counts = np.sum([row[2:] for row in rows], 0).tolist() if rows else [0, 0, 0]
    return ImageRecord(number, number, name or f'{number:04d}.jpg', f'{number:04d}.jpg', (60, 80),
                       pq, sq, rq, *counts, dict(all=rows), dict(right=3600, missed=1200),
                       sorted(segments, key=lambda entry: entry.side == 'pred'),
                       dict(more.pop('pictures', pictures)), **more)


def by_hand():
    """Five images; PQ of car, EVIL and road: 0.4, 0 and 0.95."""
    missed = segment('gt', 2, 0, 500, 'missed', 0.1, text='missed, 60% of it is road <b>',
                     reason='never_proposed', query=7, box=(50, 10, 60, 30))
    return [
        image(0, [*pair(1, 0, 0.8, 0.95), missed,
                  segment('pred', 3, 1, 900, 'invented', 0.0, text='invented', score=0.65)],
              [[0, 0.8, 1, 0, 1], [1, 0.0, 0, 1, 0]], EVIL),
        image(1, [segment('gt', 1, 0, 20000, 'wrong_class', 0.7, partner=5, reason='other_class',
                          text=f'predicted as {EVIL} (IoU 0.70)'),
                  segment('pred', 5, 1, 21000, 'wrong_class', 0.7, partner=1, score=0.85,
                          text='truly car (IoU 0.70)'), *pair(2, 2, 0.9, 0.95)],
              [[0, 0.0, 0, 0, 1], [1, 0.0, 0, 1, 0], [2, 0.9, 1, 0, 0]]),
        image(2, pair(1, 2, 1.0, 0.95), [[2, 1.0, 1, 0, 0]], note='drawn on gray'),
        ImageRecord(3, 3, '0003.jpg', '0003.jpg', (60, 80), error='cannot be read <i>'),
        image(4, [], [])]


def by_rule(number):
    """Many images; image k has 1 + k % 4 missed cars, k % 3 == 0 an invented EVIL, and a road."""
    for k in range(number):
        missed = 1 + k % 4
        segments = pair(1, 2, 0.6 + 0.3 * k / number, 0.9)
        segments += [segment('gt', 10 + j, 0, 400 + 3000 * (j % 2), 'missed', 0.0, text='missed',
                             reason='never_proposed') for j in range(missed)]
        rows = [[0, 0.0, 0, 0, missed], [2, segments[0].iou, 1, 0, 0]]
        if k % 3 == 0:
            segments.append(segment('pred', 20, 1, 700, 'invented', 0.0, text='invented',
                                    score=0.5))
            rows.append([1, 0.0, 0, 1, 0])
        yield image(k, segments, sorted(rows))


def summary_of(records, **more):
    """The summary that the report computes."""
    totals = Totals(len(NAMES))
    for record in records:
        totals.add(record)
    summary = Summary(f'Report {EVIL}', True, dict(config=EVIL), num_images=totals.num_scored,
                      **more)
    summarize(summary, totals, Classes(), SimpleNamespace(
        finish=lambda: ({'instance/AP': 31.25, 'semantic/mIoU': 66.0}, {0: 0.125}, {2: 0.5})), True)
    return summary


def write(folder: Path, records, pictures=False):
    """Write the page, with small pictures on demand."""
    records = list(records)
    summary = summary_of(records)
    write_report_page(folder, summary, iter(records))
    if pictures:
        (folder / 'pictures').mkdir()
        for record in records:
            for place, address in enumerate(record.pictures.values()):
                cv2.imwrite(str(folder / address), np.full(
                    (60, 80, 3), (40 * place, record.number % 250, 99), np.uint8))
    return summary
