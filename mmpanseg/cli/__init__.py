"""The command ``mmpanseg``: one file per verb in :mod:`mmpanseg.cli.verbs`.

Nothing here imports torch, mmengine, mmcv or mmdet before a verb runs, so that ``--help`` answers
at once.
"""
