"""The doctor finds every planted mistake in one pass, with its place, and nothing else."""
from collections import Counter

import pytest

from mmpanseg.doctor.run import run_doctor

from ..planted_mistakes import MAX_PIXELS, MISTAKES, Place, PlantedSet, plant_all


def place_of(problem) -> Place:
    return Place(problem.check, problem.split, problem.file, problem.image_id, problem.segment_id)


@pytest.mark.parametrize('kind', MISTAKES)
def test_a_valid_set_is_clean(tmp_path, kind):
    data = PlantedSet(tmp_path, kind)
    data.write()
    report = run_doctor(data.sources(), max_pixels=MAX_PIXELS, workers=0)
    assert report.problems == [] and report.exit_status(strict=True) == 0


@pytest.mark.parametrize('kind', MISTAKES)
def test_every_mistake_is_found_in_one_pass(tmp_path, kind):
    data, places = plant_all(tmp_path, kind)
    report = run_doctor(data.sources(), max_pixels=MAX_PIXELS, workers=0)
    found = Counter(map(place_of, report.problems))
    missed = {name: wanted for name, wanted in places.items()
              if not all(found[place] for place in wanted)}
    others = found - Counter(place for wanted in places.values() for place in wanted)
    assert not missed and not others


def test_there_are_more_than_40():
    assert sum(map(len, MISTAKES.values())) > 40
    assert len({name for plants in MISTAKES.values() for name in plants}) > 40
