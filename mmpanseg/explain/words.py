"""Sentences about a segment."""
from mmpanseg.explain.explanation import SegmentExplanation


def percent(share: float) -> str:
    """Write a share in 0 .. 1 in percent, without a fraction."""
    return f'{100 * share:.0f}%'


def facts(one: SegmentExplanation) -> str:
    """Area and box of a segment."""
    x1, y1, x2, y2 = (round(value) for value in one.segment.box)
    return f'{one.segment.area:,} pixels · box {x1}, {y1} to {x2}, {y2} (x, y)'


def what_became_of_it(one: SegmentExplanation) -> str:
    """What the fusion did with the query."""
    parts = [f'Query {one.query}: {one.fate.text}']
    mask = f'its own mask has {one.area:,} pixels'
    if one.iou < 0.9995:
        mask += f' (IoU {one.iou:.2f} with the segment)'
    parts.append(mask)
    merged = [other.query for other in one.runner_ups
              if other.fate.rule == 'merged' and other.fate.segment == one.segment.id]
    if merged:
        parts.append(f'merged with it: query {", ".join(map(str, merged))}')
    return '; '.join(parts) + '.'
