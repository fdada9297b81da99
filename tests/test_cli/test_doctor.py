"""The verb doctor: targets, options, exit statuses, what it writes."""
import json

import pytest

from ..planted_mistakes import ABSENT, PlantedSet


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A clean set of ten images and four, in the current folder."""
    made = PlantedSet(tmp_path / 'data', train=10, val=4)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def doctor(mmpanseg_command, data):
    """Writes the set and runs the verb on its two JSONs, in this process."""
    def run(*options, targets=('data/train.json', 'data/val.json')):
        if not (data.root / 'train.json').exists():
            data.write()
        return mmpanseg_command('doctor', *targets, '--workers', '0', *options)
    return run


def wrong_area(data):
    data.pictures['train'][0].segments[0]['area'] += 1


def missing_image(data):
    data.pictures['train'][1].image_bytes = ABSENT


def test_a_clean_set_is_status_0(doctor):
    done = doctor('--strict')
    assert (done.status, done.err) == (0, '')
    lines = done.out.splitlines()
    assert lines[0].startswith('train  panoptic  10 images  40 segments  96x64')
    assert lines[1].startswith('val    panoptic   4 images  16 segments  96x64')
    assert 'no problems in 14 images in ' in lines[-1]
    assert ''.join(lines).count('PAN') == 0


def test_warnings_are_status_1_if_they_are_strict(doctor, data):
    wrong_area(data)
    done = doctor()
    assert done.status == 0
    assert 'WARNING PAN212  Area of a segment differs from its pixels\n' in done.out
    assert '(image 1, segment ' in done.out and '-> write the number of its pixels' in done.out
    assert doctor('--strict').status == 1


def test_errors_are_status_1_and_first(doctor, data):
    wrong_area(data)
    missing_image(data)
    done = doctor()
    assert done.status == 1
    assert done.out.index('ERROR   PAN031') < done.out.index('WARNING PAN212')
    assert '1 error, 1 warning in 14 images' in done.out


def test_fast_reads_no_pixels(doctor, data):
    wrong_area(data)
    missing_image(data)
    done = doctor('--fast')
    assert done.status == 1
    assert 'PAN031' in done.out and 'PAN212' not in done.out
    assert '--fast: the content of images and maps was not checked' in done.out


def test_groups_are_cut_without_all(doctor, data):
    for picture in data.pictures['train'][:5]:
        picture.segments[0]['area'] += 1
    done = doctor()
    assert 'PAN212  Area of a segment differs from its pixels  (5)' in done.out
    assert done.out.count('has "area"') == 3 and '... and 2 more' in done.out
    done = doctor('--all')
    assert done.out.count('has "area"') == 5 and 'more' not in done.out


def test_everything_as_json(doctor, data):
    wrong_area(data)
    text = doctor('--json', 'found.json').out
    assert text.endswith('everything as JSON: found.json\n')
    content = json.loads((data.root.parent / 'found.json').read_text())
    problem, = content['problems']
    assert {key: problem[key] for key in ('check', 'severity', 'split', 'image_id')} == dict(
        check='PAN212', severity='warning', split='train', image_id=1)
    assert content['counts'] == dict(error=0, warning=1, note=0)
    assert content['checks'] == dict(PAN212='Area of a segment differs from its pixels')
    assert [source['images'] for source in content['sources']] == [10, 4]
    assert content['statistics']['classes'][0]['train']['segments'] == 10
    alone = json.loads(doctor('--json', '-').out)
    assert alone['problems'] == content['problems']


def test_a_repaired_copy_is_written_and_checked(doctor, data):
    wrong_area(data)
    missing_image(data)
    done = doctor('--fix', 'out')
    assert done.status == 1
    assert 'out: a repaired copy' in done.out
    assert 'repaired 1 x PAN212' in done.out and 'for you 1 x PAN031' in done.out
    again = doctor(targets=['out/train.json', 'out/val.json'])
    assert 'PAN212' not in again.out and 'PAN031' in again.out
    done = doctor('--fix', 'out')
    assert done.status == 2 and done.err.count('\n') == 1 and 'out' in done.err


def test_an_image_above_the_limit(doctor):
    done = doctor('--max-pixels', 96 * 64 - 1, '--split', 'val')
    assert 'PAN108  Image has more pixels than --max-pixels  (4)' in done.out


def test_a_config(mmpanseg_command, tiny_config):
    done = mmpanseg_command('doctor', tiny_config, '--split', 'train', '--workers', 0)
    assert done.status == 0 and done.out.startswith('train  panoptic  ')
    done = mmpanseg_command('doctor', tiny_config, '--workers', 0, '--cfg-options',
                            'model.num_things_classes=2', 'train_dataloader.dataset.ann_file=none')
    assert done.status == 1
    assert 'ERROR   PAN001' in done.out and 'ERROR   PAN413' in done.out


@pytest.mark.parametrize(('arguments', 'text'), [
    (['no_such_config.py'], 'config file no_such_config.py does not exist'),
    (['no-such-name'], 'is no config'),
    (['none.json'], 'none.json does not exist'),
    (['data/train.json', '--images', 'a', '--images', 'b'], '--images is given 2 times for 1'),
    (['data/train.json', '--split', 'test'], 'none of the targets belongs to --split test'),
    (['data/train.json', '--things', 'a'], '--things is an option of --fix'),
    (['data/train.json', '--cfg-options', 'a=1'], '--cfg-options is for configs'),
    (['a.py', 'b.py'], 'give one config'),
    (['a.py', '--kind', 'panoptic'], '--kind is for JSONs and folders'),
    (['data/train.json', '--kind', 'boxes'], "'boxes' is not one of"),
    (['data/train.json', '--classes', ','], 'give names with commas between them'),
    ([], "Missing argument 'TARGET...'")])
def test_a_mistake_in_the_command_line_is_one_line_and_status_2(
        mmpanseg_command, data, arguments, text):
    data.write()
    done = mmpanseg_command('doctor', *arguments)
    assert (done.status, done.err.count('\n'), done.out) == (2, 1, '')
    assert done.err.startswith('mmpanseg doctor: error: ') and text in done.err
