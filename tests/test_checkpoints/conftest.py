"""Published checkpoints as names and shapes."""
import json

import pytest
import torch


def entries(manifest, kind):
    """Shape by name."""
    return {name: shape[0] if shape and isinstance(shape[0], list) else shape
            for name, shape in manifest.get(kind, {}).items()}


@pytest.fixture
def published(golden):
    """State dict on the meta device of a manifest, e.g. ``mask2former/manifest_..._R50.json``."""
    def read(path, overrides=None):
        manifest = json.loads((golden / path).read_text())
        shapes = entries(manifest, 'parameters') | entries(manifest, 'buffers')
        for norm, channels in manifest.get('batch_norm_modules', {}).items():
            shapes |= {f'{norm}.running_mean': [channels], f'{norm}.running_var': [channels],
                       f'{norm}.num_batches_tracked': []}
        shapes |= overrides or {}
        return {name: torch.empty(shape, device='meta') for name, shape in shapes.items()}
    return read
