from mmpanseg.results.from_samples import result_from_sample
from mmpanseg.results.result import Result
from mmpanseg.results.segment import Segment

__all__ = ['Result', 'Segment', 'result_from_sample']
