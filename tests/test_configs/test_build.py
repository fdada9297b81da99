"""Every config builds."""


def test_every_config_builds(repo_root, build):
    paths = [*repo_root.glob('configs/[a-z]*/**/*.py'), *repo_root.glob('projects/*/configs/*.py')]
    assert len(paths) > 70
    failed = {}
    for path in paths:
        try:
            assert sum(p.numel() for p in build(path)[1].parameters()) > 1e6
        except Exception as error:  # all that fail are of interest, not the first one
            failed[path.name] = repr(error)
    assert not failed
