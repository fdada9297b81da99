"""Traces against direct definitions; a recorded forward pass predicts bitwise the same."""
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope

from mmpanseg.explain.recording import recording, trace_batch
from mmpanseg.explain.traces import Recorder
from mmpanseg.models.heads import PanopticHead
from mmpanseg.registry import MODELS

from ..test_models.systems import SEGFORMER, SYSTEMS, batch, build, change

SIZES = (64, 96), (48, 80)
DECODER = 'transformer_decoder'
# the first version of Panoptic SegFormer
FIRST = dict(panoptic_head=dict(
    location='center_scale', filter_queries=False, class_from='mask',
    location_decoder=dict(refine=False), criterion=dict(mask_cls_weight=2.0),
    mask_decoder=dict(num_layers=2, self_attention=True, tail=False), stuff_mask_decoder=None))
DETR = change(SEGFORMER, backbone=dict(out_indices=(0, 1, 2, 3)), panoptic_head=dict(
    type='mmpanseg.DETRPanopticHead', in_channels=[8, 16, 32, 64], num_queries=8, channels=128,
    max_per_image=8, pixel_decoder=SEGFORMER['panoptic_head']['pixel_decoder'],
    location_decoder=SEGFORMER['panoptic_head']['location_decoder'],
    mask_decoder=dict(type='mmpanseg.DETRMaskDecoder')))
CROSS = dict(panoptic_head={DECODER: dict(interaction='cross-attention')})


def model_of(name):
    init_default_scope('mmdet')
    if name == 'first':
        return build('panoptic_segformer', parts=FIRST).eval()
    if name == 'detr':
        torch.manual_seed(0)
        model = MODELS.build(dict(DETR, type='mmpanseg.MaskTransformer', num_things_classes=2,
                                  num_stuff_classes=2))
        model.init_weights()
        return model.eval()
    if name == 'kmax_cross':
        return build('kmax_deeplab', parts=CROSS).eval()
    if name == 'kmax_both':
        return build('kmax_deeplab', parts=dict(panoptic_head={DECODER: dict(
            interaction='dual-path-k-means-cross-attention')})).eval()
    if name in ('plain', 'smca', 'mask_pooling'):
        return build('mask2former', parts=dict(
            panoptic_head={DECODER: dict(cross_attention=name)})).eval()
    if name == 'naive':
        return build('mask2former', parts=dict(panoptic_head=dict(multi_scale='naive'))).eval()
    return build(name).eval()


def dense(masks, row, image=0):
    return masks.dense(-1, image, torch.tensor([row]))[0]


@pytest.mark.parametrize('name', [*SYSTEMS, 'first', 'detr', 'kmax_cross', 'kmax_both', 'smca'])
@torch.no_grad()
def test_a_recorded_forward_predicts_bitwise_the_same(name):
    model = model_of(name)
    data = batch(*SIZES)
    prepared = model.data_preprocessor(batch(*SIZES), False)
    metainfos = [sample.metainfo for sample in prepared['data_samples']]
    expected_logits, expected = model.predict_queries(prepared['inputs'], metainfos)
    samples, logits, masks, trace = trace_batch(model, data)
    assert [sample.metainfo for sample in samples] == metainfos
    assert torch.equal(logits, expected_logits)
    rows = torch.arange(logits.shape[1])
    for image in range(2):
        assert torch.equal(masks.dense(-1, image, rows), expected.dense(-1, image, rows))
    assert not any(module._forward_hooks for module in model.panoptic_head.modules())
    # what the last layer predicts is the result
    _, _, queries = model.panoptic_head.predict_with_queries(
        model.extract_feat(prepared['inputs']), metainfos)
    for row in (0, 3):
        last = trace.layers(1, row)[-1]
        torch.testing.assert_close(dense(last.masks, last.row, 0 if 'segformer' in name or name in (
            'first', 'detr') else 1), dense(masks, row, 1))
        assert trace.query(1, row) == int(queries[1, row])


@pytest.mark.parametrize('name', ['mask2former', 'mp_former', 'plain', 'smca', 'naive'])
@torch.no_grad()
def test_cross_attention_is_softmax_of_q_k(name):
    model = model_of(name)
    model.data_preprocessor.eval()
    decoder = model.panoptic_head.transformer_decoder
    inner = Recorder([layer.cross_attn.attn for layer in decoder.layers])
    with inner:
        _, _, _, trace = trace_batch(model, batch(*SIZES))
    restricted = 0
    for number, layer in enumerate(decoder.layers):
        attn = layer.cross_attn.attn
        call = inner.last(attn)
        query, key, value, mask = call.args
        heads, width = attn.num_heads, attn.embed_dim // attn.num_heads
        q_weight, k_weight, v_weight = attn.in_proj_weight.chunk(3)
        q_bias, k_bias, v_bias = attn.in_proj_bias.chunk(3)
        for image, row in ((0, 2), (1, 5)):
            maps = trace.layers(image, row)[number + 1].attention
            assert [tuple(part.heads.shape[1:]) for part in maps] == list(
                sizes_of(trace, number))
            found = torch.cat([part.heads.flatten(1) for part in maps], 1)
            torch.testing.assert_close(found.sum(1), torch.ones(heads))
            attended = []
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                q = q_weight[part] @ query[image, row] + q_bias[part]
                scores = torch.tensor([
                    float(q @ (k_weight[part] @ token + k_bias[part])) / width ** 0.5
                    for token in key[image]])
                if mask is not None and mask.dtype == torch.bool:
                    scores[~mask[image, row]] = -torch.inf
                    restricted += int((~mask[image, row]).sum())
                elif mask is not None:
                    scores += mask[image, head, row]
                expected = scores.exp() / scores.exp().sum()
                torch.testing.assert_close(found[head], expected, atol=1e-6, rtol=1e-4)
                attended.append(found[head] @ (value[image] @ v_weight[part].T + v_bias[part]))
            # the weights reproduce what the layer computed
            torch.testing.assert_close(
                attn.out_proj(torch.cat(attended)), call.output[image, row], atol=1e-5, rtol=1e-4)
            for part in maps:
                if mask is None:
                    assert part.allowed is None
                elif mask.dtype == torch.bool:
                    assert (part.heads[:, ~part.allowed] == 0).all()
    assert bool(restricted) == (name in ('mask2former', 'mp_former', 'naive'))


def sizes_of(trace, number):
    return trace._attention[number][1][2].sizes


@torch.no_grad()
def test_mask_pooling_has_equal_weights_inside():
    model = model_of('mask_pooling')
    layers = model.panoptic_head.transformer_decoder.layers
    outer = Recorder([layer.cross_attn for layer in layers])
    with outer:
        _, _, _, trace = trace_batch(model, batch(SIZES[0]))
    for number, layer in enumerate(layers):
        look, = trace.layers(0, 4)[number + 1].attention
        weights = look.heads[0][look.allowed]
        torch.testing.assert_close(weights, torch.full_like(weights, 1 / len(weights)))
        memory = outer.last(layer.cross_attn).args[2]
        mean = look.heads[0].flatten() @ memory.value[0]
        torch.testing.assert_close(layer.cross_attn.proj(mean),
                                   outer.last(layer.cross_attn).output[0, 4], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('name', ['mask2former', 'mp_former'])
@torch.no_grad()
def test_layers_of_mask2former_are_those_of_forward(name):
    model = model_of(name)
    _, _, _, trace = trace_batch(model, batch(*SIZES))
    inputs = model.data_preprocessor(batch(*SIZES), False)['inputs']
    logits, masks = model.panoptic_head(model.extract_feat(inputs))
    layers = trace.layers(1, 6)
    assert [layer.title for layer in layers] == ['initial query', 'layer 1', 'layer 2']
    for number, layer in enumerate(layers):
        torch.testing.assert_close(layer.scores, logits[number, 1, 6].softmax(0))
        torch.testing.assert_close(dense(layer.masks, layer.row, 1),
                                   masks.dense(number, 1, torch.tensor([6]))[0])
    # where layer 2 looked is inside of the mask that layer 1 predicted
    look, = layers[2].attention
    resized = F.interpolate(dense(layers[1].masks, 6, 1)[None, None], look.heads.shape[1:],
                            mode='bilinear')[0, 0] >= 0
    # bilinear resizing of features rounds differently from that of masks
    assert (look.allowed == (resized | ~resized.any())).float().mean() > 0.95


@pytest.mark.parametrize('name', ['panoptic_segformer', 'first'])
@torch.no_grad()
def test_sampled_points_reproduce_deformable_attention(name):
    model = model_of(name)
    head = model.panoptic_head
    layers = [layer.cross_attn for layer in head.location_decoder.decoder.layers]
    torch.nn.init.normal_(layers[0].attention_weights.weight)
    inner = Recorder(layers)
    with inner:
        _, _, _, trace = trace_batch(model, batch(*SIZES))
    row = 3
    query = trace.query(1, row)
    for number, layer in enumerate(layers):
        call, points = inner.last(layer), trace.layers(1, row)[number].points
        torch.testing.assert_close(points.weights.sum((1, 2)), torch.ones(layer.num_heads))
        value = layer.value_proj(call.kwargs['value'][1])
        padding = call.kwargs['key_padding_mask']
        if padding is not None:
            value[padding[1]] = 0
        attended, start = torch.zeros(layer.num_heads, layer.embed_dims // layer.num_heads), 0
        for level, (height, width) in enumerate(call.kwargs['spatial_shapes']):
            end = start + height * width
            maps = value[start:end].T.unflatten(0, (layer.num_heads, -1)).unflatten(
                2, (height, width))
            sampled = F.grid_sample(maps, 2 * points.places[:, level][:, None] - 1,
                                    align_corners=False)[:, :, 0]
            attended += (sampled * points.weights[:, level][:, None]).sum(-1)
            start = end
        identity = call.kwargs['query'][1, query]
        torch.testing.assert_close(layer.output_proj(attended.flatten()) + identity,
                                   call.output[1, query], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(points.reference, call.kwargs['reference_points'][1, query, 0])


@pytest.mark.parametrize(('name', 'row'), [('panoptic_segformer', 2), ('panoptic_segformer', 9),
                                           ('first', 2)])
@torch.no_grad()
def test_mask_decoder_attention_reproduces_its_layers(name, row):
    model = model_of(name)
    head = model.panoptic_head
    decoder = head.mask_decoder if row < 8 else head.stuff_mask_decoder
    layers = [layer.cross_attn for layer in decoder.layers]
    inner = Recorder(layers)
    with inner:
        _, _, _, trace = trace_batch(model, batch(*SIZES))
    found = [layer for layer in trace.layers(1, row) if layer.masks is not None]
    assert len(found) == len(layers) + (decoder.tail is not None)
    for layer, traced in zip(layers, found):
        call = inner.last(layer)
        value = layer.v_proj(call.args[2][1])
        weights = torch.cat([part.heads.flatten(1) for part in traced.attention], 1)
        torch.testing.assert_close(weights.sum(1), torch.ones(layer.num_heads))
        attended = torch.einsum('hs,shd->hd', weights, value.unflatten(-1, (layer.num_heads, -1)))
        torch.testing.assert_close(layer.out_proj(attended.flatten()),
                                   call.output[0][1, row % 8], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_classes_of_panoptic_segformer_by_layer():
    model = model_of('panoptic_segformer')
    _, cls_logits, _, trace = trace_batch(model, batch(*SIZES))
    head = model.panoptic_head
    layers = trace.layers(0, 1)
    assert [layer.title for layer in layers] == [
        'location layer 1', 'mask layer 1', 'last attention']
    # the row has the logit of the class that it was selected for
    label = int(cls_logits[0, 1].argmax())
    torch.testing.assert_close(layers[0].scores[label], cls_logits[0, 1, label].sigmoid())
    assert layers[0].scores[2:].tolist() == [0, 0, 0]  # stuff and "no object"
    stuff = trace.layers(0, 9)
    assert trace.query(0, 9) == head.num_queries + 1
    torch.testing.assert_close(stuff[0].scores, F.pad(cls_logits[0, 9].sigmoid(), (0, 1)))


@torch.no_grad()
def test_clusters_of_kmax():
    model = model_of('kmax_deeplab')
    layers = model.panoptic_head.transformer_decoder.layers
    norms = Recorder([layer.update_norm for layer in layers])
    projections = Recorder([layer.pixel_proj for layer in layers])
    with norms, projections:
        _, _, _, trace = trace_batch(model, batch(*SIZES))
    found = trace.layers(1, 3)
    assert [layer.title for layer in found] == ['layer 1', 'layer 2', 'layer 3', 'result']
    for layer, traced in zip(layers, found):
        values = projections.last(layer.pixel_proj).output.flatten(2)[
            1, -layer.pixel_splits[2]:]
        # the pixels of the cluster sum up to what updates the query
        total = values[:, (traced.owner == 3).flatten()].sum(1)
        torch.testing.assert_close(total, norms.last(layer.update_norm).args[0][1, :, 3],
                                   atol=1e-4, rtol=1e-4)
        best = dense(traced.masks, 3, 1)[traced.owner == 3]
        every = traced.masks.dense(-1, 1, torch.arange(8))
        torch.testing.assert_close(best, every.amax(0)[traced.owner == 3])
    assert found[-1].owner is None


@pytest.mark.parametrize('name', ['kmax_cross', 'kmax_both'])
@torch.no_grad()
def test_cross_attention_of_kmax(name):
    model = model_of(name)
    layers = model.panoptic_head.transformer_decoder.layers
    inner = Recorder([layer.self_attn for layer in layers])
    with inner:
        _, _, _, trace = trace_batch(model, batch(*SIZES))
    found = trace.layers(1, 3)
    for layer, traced in zip(layers, found):
        attn = layer.self_attn
        query, key, value = (x[1].unflatten(0, (attn.num_heads, -1))
                             for x in inner.last(attn).args)
        look, = traced.attention
        norm = attn.norm_similarity
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        logits = torch.einsum('hd,hdm->hm', query[:, :, 3], key)
        logits = (logits - norm.running_mean[:, None]) * scale[:, None] + norm.bias[:, None]
        weights = logits.softmax(1)
        pixels = look.heads.flatten(1)
        torch.testing.assert_close(pixels, weights[:, :pixels.shape[1]], atol=1e-6, rtol=1e-4)
        assert look.queries_share == pytest.approx(1 - float(pixels.sum(1).mean()), abs=1e-5)
        attended = torch.einsum('hdm,hm->hd', value, weights).flatten()
        expected = F.gelu(attn.norm_value(attended[None, :, None]))[0, :, 0]
        torch.testing.assert_close(inner.last(attn).output[1, :, 3], expected, atol=1e-5,
                                   rtol=1e-4)
    if name == 'kmax_cross':
        assert [layer.scores is None for layer in found] == [True, True, True, False]


def test_other_heads_are_refused():
    model = model_of('mask2former')
    model.panoptic_head = PanopticHead()
    with pytest.raises(ValueError, match='PanopticHead cannot be explained: .*Mask2FormerHead'), \
            recording(model):
        pass


def test_a_trace_needs_a_forward_pass():
    model = model_of('mask2former')
    with recording(model) as made, pytest.raises(ValueError, match='was not called: run'):
        made.trace()


def test_heads_of_subclasses_are_known():
    model = model_of('mask2former')
    model.panoptic_head.__class__ = type('OwnHead', (type(model.panoptic_head), ), {})
    with recording(model) as made:
        assert made.recorder.calls
