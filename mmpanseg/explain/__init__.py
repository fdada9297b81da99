"""Why a model sees a segment: its query, masks and classes by layer, and where it looked.

:func:`explain` follows the query of a segment through the decoder of a loaded model,
:func:`write_explanation` writes what it finds as pictures, page and numbers.
"""
from mmpanseg.explain.explanation import Explanation, SegmentExplanation
from mmpanseg.explain.folder import write_explanation
from mmpanseg.explain.recording import recording, trace_batch
from mmpanseg.explain.run import explain

__all__ = ['Explanation', 'SegmentExplanation', 'explain', 'recording', 'trace_batch',
           'write_explanation']
