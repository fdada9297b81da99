"""What a fusion rule does with each query: kept, merged, or dropped by which option.

The rules tell their decisions to a log, which notes them only for :meth:`FusionHead.fates`. So
there is one copy of each decision.

Q queries of an image; n of them at a time.
"""
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmpanseg.models.fusion_heads.pixel_assignment import OrderedAssignment
from mmpanseg.utils.device import to_host

# what a query can become, with a title in a few words; only the first two have pixels
FATES = {
    'kept': 'kept as a segment',
    'merged': 'merged into the stuff segment of another query',
    'not_finite': 'logits are NaN or infinite',
    'no_object': 'predicts "no object"',
    'score': 'class score too low',
    'confidence': 'confidence too low',
    'empty': 'mask is empty',
    'overlap': 'too little of its mask left by other queries',
    'no_pixels': 'all its pixels belong to other queries',
    'area': 'segment too small',
    'unknown': 'dropped by a rule that does not say why',
}


@dataclass(frozen=True)
class Fate:
    """What became of one query in a fusion rule.

    Attributes:
        query: its number.
        label: its most likely class, "no object" excluded.
        score: class score of ``label``, in 0 .. 1.
        rule: a key of :data:`FATES`: 'kept' for the (best) query of a segment, 'merged', or the
            first check that the query failed.
        value: number that this check compared: a score, a share of the mask, or pixels. None where
            nothing is compared. An upper bound for 'confidence'.
        limit: number that it was compared with.
        option: option of the fusion head that sets the limit, None where no option does.
        segment: id of its segment in the panoptic map, None for dropped queries.
    """
    query: int
    label: int
    score: float
    rule: str
    value: float | None = None
    limit: float | None = None
    option: str | None = None
    segment: int | None = None

    @property
    def text(self) -> str:
        """What became of it, a main clause about the query: 'its mask is empty'."""
        value, limit = ('', '') if self.value is None or self.limit is None else contrast(
            self.value, self.limit)
        if self.option is None:
            bound = limit
        else:
            bound = f'{self.option} {self.limit:g}'
        if self.rule == 'overlap' and self.option == 'mask_overlap':
            return f'earlier things cover {value} of its mask, more than {bound}'
        if self.rule == 'overlap' and self.option == 'iou_thr':
            return f'it wins an area of only {value} of its mask, too little for {bound}'
        return {
            'kept': 'it is kept as a segment',
            'merged': 'its pixels belong to the stuff segment of another query',
            'not_finite': 'its logits are NaN or infinite',
            'no_object': f'"no object" has the higher score ({limit} against {value})',
            'score': f'its class score {value} is too low for {bound}' if self.option
                     else f'its class score is {value}',
            'confidence': f'its confidence is {value} at most, too low for {bound}',
            'empty': 'its mask is empty',
            'overlap': f'other queries leave it {value} of its mask, too little for {bound}',
            'no_pixels': 'other queries have all its pixels',
            'area': f'its segment has {value} pixels, too few for {bound}',
            'unknown': 'the fusion rule drops it and does not say why',
        }[self.rule]


def contrast(value: float, limit: float, digits: int = 2) -> tuple[str, str]:
    """Format two numbers with as few digits as tell them apart; whole numbers have none."""
    if value == round(value) and limit == round(limit):
        return f'{value:.0f}', f'{limit:.0f}'
    texts = f'{value:.{digits}f}', f'{limit:.{digits}f}'
    if texts[0] == texts[1] and digits < 6:
        return contrast(value, limit, digits + 1)
    return texts


# rule, value, limit, option, as in Fate
Failure = tuple[str, float | None, float | None, str | None]
Limit = Tensor | float


class QueryLog:
    """Takes the decisions of a fusion rule and forgets them; the log of every fusion head."""

    def check(self, rule: str, passed: Tensor, values: Tensor | None = None,
              limits: Limit | None = None, option: str | None = None,
              queries: Tensor | None = None) -> None:
        """Take the results of a check.

        Args:
            rule: a key of :data:`FATES`.
            passed: bool [n].
            values: [n], the numbers that were compared.
            limits: [n] or one number.
            option: option with the limit.
            queries: int64 [n]; all queries by default.
        """

    def drop(self, rule: str, query: int, value: float | None = None,
             limit: float | None = None, option: str | None = None) -> None:
        """Take a failed check of one query, as in :meth:`check`."""

    def keep(self, query: int, segment: int) -> None:
        """Note that pixels of a query get the id of a segment."""

    def assigned(self, queries: Tensor, found: OrderedAssignment, limits: Limit, option: str,
                 covered: bool = False) -> None:
        """Take the result of :func:`assign_in_order`.

        Args:
            queries: int64 [n].
            found: the result.
            limits: least free share of each mask; if ``covered``, the largest share that others may
                cover.
            option: option with the limit.
            covered: whether the option limits the covered share.
        """

    def painted(self, queries: Tensor, areas: Tensor, values: Sequence[int]) -> None:
        """Take the map value of queries int64 [n] with their pixels, int64 [n]; 0 for dropped."""


class FateLog(QueryLog):
    """Keeps the first check that each query fails, and the segments of the others.

    Args:
        total: Q.
    """

    def __init__(self, total: int) -> None:
        self.failed: list[Failure | None] = [None] * total
        self.segments: dict[int, int] = {}

    def check(self, rule: str, passed: Tensor, values: Tensor | None = None,
              limits: Limit | None = None, option: str | None = None,
              queries: Tensor | None = None) -> None:
        failing = (~passed).nonzero()[:, 0]
        columns = [failing if queries is None else queries[failing]]
        for numbers in (values, limits):
            if numbers is not None:
                numbers = torch.as_tensor(numbers, device=passed.device)
                columns.append(numbers.double().expand(len(passed))[failing])
        for query, *compared in zip(*(column.tolist() for column in to_host(*columns))):
            self._fail(query, (rule, *compared, *[None] * (2 - len(compared)), option))

    def drop(self, rule: str, query: int, value: float | None = None,
             limit: float | None = None, option: str | None = None) -> None:
        self._fail(query, (rule, value, limit, option))

    def _fail(self, query: int, failure: 'Failure') -> None:
        if self.failed[query] is None:
            self.failed[query] = failure

    def keep(self, query: int, segment: int) -> None:
        self.segments[query] = segment

    def assigned(self, queries: Tensor, found: OrderedAssignment, limits: Limit, option: str,
                 covered: bool = False) -> None:
        self.check('empty', found.totals > 0, queries=queries)
        share = found.free / found.totals.clamp(min=1)
        self.check('overlap', found.accepted, 1 - share if covered else share, limits, option,
                   queries)
        self.check('no_pixels', found.areas > 0, queries=queries)

    def painted(self, queries: Tensor, areas: Tensor, values: Sequence[int]) -> None:
        for query, area, value in zip(*(x.tolist() for x in to_host(queries, areas)), values):
            if area:
                self.keep(query, value)

    def fates(self, labels: Sequence[int], scores: Sequence[float], no_object: Sequence[float],
              leaders: dict[int, int]) -> list[Fate]:
        """Tell what became of each query.

        Args:
            labels: most likely class of each of the Q queries, "no object" excluded.
            scores: its score.
            no_object: score of "no object".
            leaders: number of the (best) query of each segment by the segment's id.
        """
        own = {query: segment for segment, query in leaders.items()}
        fates = []
        for query, (label, score, nothing, failure) in enumerate(
                zip(labels, scores, no_object, self.failed)):
            fate = Fate(query, label, score, 'unknown')
            segment = self.segments.get(query, own.get(query))
            if segment is not None:
                fate = replace(fate, rule='kept' if query in own else 'merged', segment=segment)
            elif failure is not None:
                rule, value, limit, option = failure
                if rule == 'no_object':
                    value, limit = score, nothing
                # a rule of its own can call a query "no object"
                if rule != 'no_object' or nothing > score:
                    fate = replace(fate, rule=rule, value=value, limit=limit, option=option)
            fates.append(fate)
        return fates
