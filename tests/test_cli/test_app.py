"""The group finds its verbs, and every end has its line and its exit status."""
import resource
import subprocess
import sys

import pytest

from mmpanseg.cli.app import main
from mmpanseg.cli.verb import SECTIONS
from mmpanseg.version import __version__

HEAVY = "{'numpy', 'torch', 'cv2', 'mmengine', 'mmcv', 'mmdet', 'rich', 'PIL'}"


def help_program(*arguments: str) -> str:
    return (f'import sys; sys.argv = ["mmpanseg", *{list(arguments)!r}]\n'
            'from mmpanseg.cli.app import main\n'
            f'try:\n    main()\nfinally:\n    assert not {HEAVY} & {{*sys.modules}}, '
            f'{HEAVY} & {{*sys.modules}}')


def test_help_has_every_verb_in_a_section_with_an_example(mmpanseg_command):
    done = mmpanseg_command('--help')
    assert done.status == 0
    lines = done.out.splitlines()
    titles = [line for line in lines if line.rstrip(':') in SECTIONS]
    assert titles == [f'{title}:' for title in SECTIONS if f'{title}:' in lines]
    examples = lines[lines.index('Examples:'):]
    for name in main.list_commands(None):
        assert [line for line in lines if line.startswith(f'  {name} ')], name
        assert [line for line in examples if line.startswith(f'  mmpanseg {name}')], name
    assert max(map(len, lines)) <= 140


def test_verb_help_ends_with_examples(mmpanseg_command):
    done = mmpanseg_command('convert', '-h')
    assert done.status == 0
    assert done.out.splitlines()[-2] == 'Example:'
    assert done.out.splitlines()[-1].startswith('  mmpanseg convert model_final_94dc52.pkl ')


def test_version(mmpanseg_command):
    assert mmpanseg_command('--version').out == f'mmpanseg {__version__}\n'


def test_a_file_is_a_verb(mmpanseg_command, add_verb):
    add_verb('paint_wall', 'print("blue")')
    assert mmpanseg_command('paint-wall').out == 'blue\n'
    assert 'paint-wall' in mmpanseg_command('--help').out


def test_a_verb_is_imported_when_it_is_called(mmpanseg_command, add_verb):
    add_verb('paint', 'print("blue")').write_text('raise ImportError("brush")')
    assert mmpanseg_command('env', '--help').status == 0
    with pytest.raises(ImportError, match='brush'):
        mmpanseg_command('paint')


@pytest.mark.parametrize(('arguments', 'line'), [
    (['enf'], 'mmpanseg: error: enf is no verb, did you mean env? (see mmpanseg --help)'),
    (['--jsn'], "mmpanseg: error: No such option '--jsn'"),
    (['env', '--jso'], "mmpanseg env: error: No such option '--jso'"),
    (['convert', 'a.pkl'], "mmpanseg convert: error: Missing argument 'DST' "
     '(see mmpanseg convert --help)'),
    (['convert', 'a', 'b', '--source', 'x'], "mmpanseg convert: error: Invalid value for "
     "'--source': 'x' is not one of 'huggingface'")])
def test_mistakes_in_the_command_line(mmpanseg_command, arguments, line):
    done = mmpanseg_command(*arguments)
    assert (done.status, done.out) == (2, '')
    assert done.err.startswith(line) and done.err.count('\n') == 1


def test_unknown_verb_without_near_names(mmpanseg_command):
    done = mmpanseg_command('xylophone')
    assert done.status == 2 and 'there are browse, ' in done.err and 'env, ' in done.err


@pytest.mark.parametrize(('body', 'status', 'line'), [
    ('return 1', 1, ''), ('return None', 0, ''), ('raise SystemExit(3)', 3, ''),
    ('click.get_current_context().exit(1)', 1, ''),
    ('raise KeyboardInterrupt', 130, ''), ('raise click.Abort', 130, ''),
    ('screen.fail("a\\nb")', 1, 'mmpanseg paint: error: a b\n'),
    ('screen.fail("a", 2)', 2, 'mmpanseg paint: error: a\n'),
    ('raise click.ClickException("a")', 1, 'mmpanseg paint: error: a\n'),
    ('raise click.UsageError("a.", click.get_current_context())', 2,
     'mmpanseg paint: error: a (see mmpanseg paint --help)\n'),
    ('from mmpanseg.engine import UsageError; raise UsageError("a: is b")', 1,
     'mmpanseg paint: error: a: is b\n'),
    ('open("/absent/file")', 1, 'mmpanseg paint: error: '),
    ('with screen.quiet_start():\n    from mmpanseg.checkpoints import CheckpointError\n'
     'raise CheckpointError("no key x")', 1,
     'mmpanseg paint: error: no key x\n')])
def test_ends(mmpanseg_command, add_verb, body, status, line):
    add_verb('paint', body)
    done = mmpanseg_command('paint')
    assert done.status == status and done.out == ''
    assert done.err.startswith(line) and done.err.count('\n') == bool(line)


@pytest.mark.parametrize('error', ['RuntimeError', 'ValueError', 'OSError'])
def test_bugs_keep_their_traceback(mmpanseg_command, add_verb, error):
    add_verb('paint', f'raise {error}("bug")')
    with pytest.raises(eval(error), match='bug'):
        mmpanseg_command('paint')


@pytest.mark.parametrize('verb', [None, *main.list_commands(None)])
def test_help_imports_nothing_heavy(verb):
    arguments = ['--help'] if verb is None else [verb, '--help']
    done = subprocess.run([sys.executable, '-c', help_program(*arguments)], capture_output=True,
                          text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('Usage: mmpanseg ')


def test_help_takes_little_time():
    """Computing time of the best of three: the wall time of a busy machine says nothing."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, '-m', 'mmpanseg', '--help'], check=True,
                       capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(times) <= 0.4
