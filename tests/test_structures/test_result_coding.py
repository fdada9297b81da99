"""Coding of panoptic results: as mmdet reads it, and nothing that would be read as another."""
import numpy as np
import pytest
import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET

from mmpanseg.models.fusion_heads import PixelwiseFusionHead
from mmpanseg.models.fusion_heads.segments import paint, segment_table
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.structures.result_coding import (
    MAX_CLASSES,
    check_class_count,
    segment_value,
    split_values,
)


def test_values_are_read_back():
    labels, numbers = np.meshgrid([0, 5, 998], [0, 1, 40, 2_147_482])
    values = np.vectorize(segment_value)(labels, numbers)
    assert values.max() < 2 ** 31 and len(set(values.ravel())) == values.size
    assert (values % INSTANCE_OFFSET == labels).all()
    found = split_values(values)
    assert (found[0] == labels).all() and (found[1] == numbers).all()


@pytest.mark.parametrize('label, number', [(999, 0), (1005, 1), (-1, 2), (5, 2_147_484)])
def test_what_would_be_another_segment(label, number):
    with pytest.raises(ValueError, match=f'label {label} with instance number {number}'):
        segment_value(label, number)


def test_void_must_be_no_segment():
    """With 1000 classes void would be instance 1 of label 0."""
    check_class_count(MAX_CLASSES, 'the model')
    assert segment_value(0, 1) == MAX_CLASSES + 1
    with pytest.raises(ValueError, match='the model has 1000 classes, .* 1000 x .* at most 999'):
        check_class_count(MAX_CLASSES + 1, 'the model')


def test_many_classes_without_a_segmentor():
    labels, one = torch.tensor([5, 1005]), torch.ones(2)
    with pytest.raises(ValueError, match='label 1005'):
        segment_table(torch.arange(2), labels, one, one.long(), 1200)
    with pytest.raises(ValueError, match='panoptic_fusion_head has 1200 classes'):
        PixelwiseFusionHead(1000, 200).fuse([], OutputOptions())
    values, segments = segment_table(torch.arange(2), torch.tensor([5, 998]), one, one.long(), 998)
    result = paint(torch.tensor([[0, 1]], dtype=torch.int32), values, segments)
    assert result.sem_seg.tolist() == [[[1005, 998]]]
