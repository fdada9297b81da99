"""Two ranks, one of which has no ground truth for some steps: collective calls stay in step."""
import os
import textwrap

import pytest
import torch

from ... import forked

SCRIPT = '''
    import os
    import sys
    from datetime import timedelta
    import torch
    import torch.distributed as dist
    from mmdet.structures import DetDataSample
    from torch.nn.parallel import DistributedDataParallel
    import mmpanseg
    from mmpanseg.registry import MODELS
    from mmpanseg.structures import SegmentMap

    rank = int(sys.argv[1])
    dist.init_process_group(
        'gloo', init_method='file://' + sys.argv[2], rank=rank, world_size=2,
        timeout=timedelta(seconds=60))
    calls = []
    all_reduce = dist.all_reduce
    dist.all_reduce = lambda *args, **kwargs: calls.append(1) or all_reduce(*args, **kwargs)

    torch.manual_seed(0)
    head = MODELS.build(dict(
        type='mmpanseg.MPFormerHead', in_channels=[8, 8, 8, 8], num_things_classes=2,
        num_stuff_classes=1, channels=16, out_channels=16, num_queries=4,
        piloting=dict(assignment=sys.argv[3]),
        pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=1, num_heads=2,
                           feedforward_channels=16, norm_cfg=dict(type='GN', num_groups=4)),
        transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=2,
                                 num_heads=2, feedforward_channels=16),
        criterion=dict(type='mmpanseg.MaskCriterion', num_points=16)))
    head.forward = head.loss
    model = DistributedDataParallel(head)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def sample(count):
        cells = torch.arange(4).clamp(max=count - 1).view(2, 2).int()
        index = cells.repeat_interleave(32, 0).repeat_interleave(32, 1)
        return DetDataSample(metainfo=dict(batch_input_shape=(64, 64)), gt_segments=SegmentMap(
            torch.arange(count) % 3, map=index))

    reductions, names = [], []
    for counts in ((3, 2), (2, 0), (0, 4), (0, 0), (1, 1)):
        torch.manual_seed(rank)
        features = [torch.randn(1, 8, 16 >> i, 16 >> i) for i in range(4)]
        before = len(calls)
        losses = model(features, [sample(counts[rank])])
        reductions.append(len(calls) - before)
        names.append(sorted(losses))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        assert head.label_embed.weight.grad is not None
        optimizer.step()
    assert reductions == [1] * 5, reductions
    assert all(n == names[0] for n in names) and len(names[0]) == 18
    torch.save(head.state_dict(), sys.argv[2] + f'.rank{rank}')
'''


@pytest.mark.slow
@pytest.mark.parametrize('assignment', ['hard', 'matching'])
def test_one_process_without_ground_truth(tmp_path, repo_root, assignment):
    script = tmp_path / 'step.py'
    script.write_text(textwrap.dedent(SCRIPT))
    meeting = tmp_path / 'meeting'
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join(
        [str(repo_root), os.environ.get('PYTHONPATH', '')]))
    processes = [forked.Process([script, rank, meeting, assignment], env=env, merged=True)
                 for rank in range(2)]
    try:
        for process in processes:
            process.wait(240)
    finally:
        for process in processes:
            process.kill()
    for process in processes:
        assert process.returncode == 0, process.stdout[-3000:]
    one, two = (torch.load(f'{meeting}.rank{rank}') for rank in range(2))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=0, msg=name)
