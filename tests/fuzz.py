"""Settings of the tests with generated inputs.

``make test`` tries the same few hundred cases on each run; ``make fuzz`` tries many times as many,
others on each run, and prints a failing case with the line that repeats it.
"""
import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

FACTOR = float(os.environ.get('MMPANSEG_FUZZ_FACTOR', 1))


def cases(count: int) -> Callable[[Callable], Callable]:
    """Decorate a test with the number of its cases.

    Args:
        count: number of cases in ``make test``; ``MMPANSEG_FUZZ_FACTOR`` multiplies it.
    """
    # the machine of a test may be busy: no deadline for a case, and slow generation is no fault
    limits = settings(
        max_examples=max(1, round(count * FACTOR)), deadline=None, derandomize=FACTOR == 1,
        print_blob=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                                                HealthCheck.function_scoped_fixture])

    def decorate(test: Callable) -> Callable:
        return pytest.mark.fuzz(limits(test))

    return decorate
