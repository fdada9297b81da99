"""Work of other packages that trainings repeat with one result: a process does it once."""
import copy
from functools import cache
from typing import Any

from mmengine.runner import runner
from yapf.yapflib import yapf_api


def do_once() -> None:
    """Keep formatted texts of configs, and the description of the machine.

    Every checkpoint contains the text of its run's config, and yapf takes longer for it than a
    small model for its training. Every log starts with the versions of compilers.
    """
    plain_format, plain_collect = yapf_api.FormatCode, cache(runner.collect_env)
    known: dict[tuple[str, str], Any] = {}

    def format_code(text: str, **options: Any) -> Any:
        key = text, repr(options)
        if key not in known:
            known[key] = plain_format(text, **options)
        return known[key]

    yapf_api.FormatCode = format_code
    runner.collect_env = lambda: copy.copy(plain_collect())
