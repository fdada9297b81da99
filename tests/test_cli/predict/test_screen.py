"""What the verb predict shows on a terminal and elsewhere."""
import io

import pytest
from rich.console import Console

from mmpanseg.cli import predict_screen
from mmpanseg.cli.predict_screen import Screen, failures_text, printable, rate_text
from mmpanseg.cli.sources import Failure


@pytest.fixture
def terminal(monkeypatch):
    """Output and messages of a terminal."""
    streams = io.StringIO(), io.StringIO()
    monkeypatch.setattr(predict_screen, 'console', lambda stderr=False: Console(
        file=streams[stderr], force_terminal=True, width=90, highlight=False, soft_wrap=True,
        color_system=None))
    return streams


def test_many_images_have_a_bar_and_no_lines(terminal):
    with Screen(21, 21) as screen:
        for number in range(20):
            screen.image_done(f'{number}.jpg: line')
        screen.failed(Failure('bad.jpg', 'bad.jpg cannot be read'))
        screen._progress.refresh()
        shown = terminal[1].getvalue()
        screen.summary('out')
    assert '21/21' in shown and '/s' in shown and 'bad.jpg cannot be read' in shown
    lines = terminal[0].getvalue().splitlines() + terminal[1].getvalue().splitlines()
    assert not any('line' in line for line in lines)
    assert any('20 done, 1 failed in 0.' in line and line.endswith(' -> out') for line in lines)


def test_few_images_have_lines_and_no_bar(terminal):
    with Screen(2, 2) as screen:
        screen.image_done('a.jpg: 2 segments')
        screen.image_done('[b].jpg: 1 segments')
        screen.summary('out')
    text = terminal[0].getvalue() + terminal[1].getvalue()
    assert 'a.jpg: 2 segments\n' in text and '[b].jpg: 1 segments\n' in text and '/2' not in text


def test_a_video_has_a_bar(terminal):
    with Screen(0, 1) as screen:
        task = screen.video('clip.mp4', 8)
        for _ in range(4):
            screen.frame_done(task)
        screen._progress.refresh()
        assert 'clip.mp4' in terminal[1].getvalue() and '4/8' in terminal[1].getvalue()
        screen.video_done(task, 'clip.mp4: 4 frames')
        screen.summary('out')
    assert 'clip.mp4: 4 frames' in terminal[0].getvalue() + terminal[1].getvalue()


def test_no_bar_without_a_terminal(capsys):
    with Screen(30, 30) as screen:
        for number in range(30):
            screen.image_done(f'{number}.jpg')
    done = capsys.readouterr()
    assert done.out.splitlines() == [f'{number}.jpg' for number in range(30)] and not done.err


def test_texts():
    assert rate_text(12.34) == '12.3/s' and rate_text(0.25) == '4.0 s each'
    assert rate_text(0) == '0.0/s'
    assert printable('a\nb\x1b[31m\udc80.jpg') == 'a?b?[31m?.jpg'
    assert failures_text([Failure('a', 'x'), Failure('b', 'y')], 5) == '2 of 5 inputs failed: a, b'
