"""Every config builds."""
import pytest
from mmengine.config import Config

from mmpanseg.analysis import build_on_meta


@pytest.mark.slow
def test_every_config_builds(repo_root, each_backbone_once):
    paths = [*repo_root.glob('configs/[a-z]*/**/*.py'), *repo_root.glob('projects/*/configs/*.py')]
    assert len(paths) > 70
    failed, built = {}, set()
    for path in paths:
        try:  # not with the fixture `build`, which would keep all of them
            model = Config.fromfile(path).model
            if (text := repr(model)) in built:  # such as that of another schedule
                continue
            with each_backbone_once() as seen:
                parameters = build_on_meta(model).parameters()
            assert sum(p.numel() for p in parameters) > 1e6
            built.add(text)
        except Exception as error:  # all that fail are of interest, not the first one
            failed[path.name] = repr(error)
    assert not failed
    assert 20 <= len(seen) < len(built) / 2
