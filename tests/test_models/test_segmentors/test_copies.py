"""Models of all systems can be copied, pickled, saved as a whole and sent to other processes."""
import copy
import io
import multiprocessing
import pickle

import pytest
import torch

from ..systems import SYSTEMS, VARIANTS, batch, build

SIZES = (64, 96), (40, 70)
TASKS = dict(panoptic=dict(), semantic=dict(things=0, stuff=4, panoptic_on=False),
             instance=dict(things=4, stuff=0, panoptic_on=False, semantic_on=False))
JOINT = dict(panoptic_head=dict(stuff_mask_decoder=None))


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = dict(pickled=lambda model: pickle.loads(pickle.dumps(model)), copied=copy.deepcopy,
              saved=saved)


def predict(model):
    """All results as plain tensors."""
    found = []
    for sample in model.eval().test_step(batch(*SIZES)):
        for key in ('pred_panoptic_seg', 'pred_sem_seg'):
            if key in sample:
                found.append(sample.get(key).sem_seg)
        if 'pred_instances' in sample:
            found += [sample.pred_instances.masks, sample.pred_instances.scores]
    return found


def train(model):
    """Losses of a step after its backward pass."""
    torch.manual_seed(0)
    losses = model(**model.train().data_preprocessor(batch(*SIZES), True), mode='loss')
    sum(losses.values()).backward()
    return losses


@pytest.mark.parametrize('name, task', [
    *((name, 'panoptic') for name in VARIANTS),
    *((name, task) for name in SYSTEMS for task in TASKS if task != 'panoptic')])
def test_copies_give_equal_outputs(name, task):
    parts = JOINT if (name, task) == ('panoptic_segformer', 'semantic') else {}
    model = build(name, parts=parts, **TASKS[task])
    train(copy.deepcopy(model))  # also after a step
    expected = predict(model)
    assert expected and sum(x.numel() for x in expected)
    for how, make in COPIES.items():
        other = make(model)
        assert all(map(torch.equal, predict(other), expected)), how
        assert not ({id(p) for p in other.parameters()} & {id(p) for p in model.parameters()})
    losses, others = train(model), train(other)
    assert losses.keys() == others.keys()
    for key, loss in losses.items():
        assert torch.equal(loss, others[key]), key


def _work(models, queue):
    queue.put({name: [x.numpy() for x in predict(model)] for name, model in models.items()})


@pytest.mark.slow
def test_models_go_to_processes_that_start_afresh():
    models = {name: build(name) for name in SYSTEMS}
    context = multiprocessing.get_context('spawn')
    queue = context.Queue()
    process = context.Process(target=_work, args=(models, queue))
    process.start()
    found = queue.get(timeout=120)
    process.join()
    for name, model in models.items():
        for ours, theirs in zip(predict(model), found[name], strict=True):
            assert torch.equal(ours, torch.from_numpy(theirs))
