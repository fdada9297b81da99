"""Downloads against a server on this machine: whole, broken, resumed, wrong."""
import hashlib
import json
import subprocess
import sys

import pytest

from mmpanseg.engine import UsageError
from mmpanseg.hub import download as module
from mmpanseg.hub.download import FileFacts, actual_address, check_file, download
from mmpanseg.utils.file_lock import exclusive
from mmpanseg.utils.messages import messages_to

DATA = bytes(range(256)) * 4000
MD5, SHA256 = hashlib.md5(DATA).hexdigest(), hashlib.sha256(DATA).hexdigest()
GOOD = FileFacts(MD5, SHA256, len(DATA))


@pytest.fixture
def url(server):
    server.files['/a/file.pkl'] = DATA
    return f'{server.url}/a/file.pkl'


@pytest.fixture
def path(tmp_path):
    (tmp_path / 'files').mkdir()
    return tmp_path / 'files/file.pkl'


def left(path):
    return sorted(file.name for file in path.parent.iterdir())


@pytest.mark.parametrize('facts', [FileFacts(), GOOD, FileFacts(MD5[:6])])
def test_good(server, url, path, facts, capsys):
    assert download(url, path, facts) == GOOD
    assert path.read_bytes() == DATA and left(path) == ['file.pkl']
    assert server.requests == [('/a/file.pkl', None)]
    assert capsys.readouterr().err == 'downloading from ' + url.split('/')[2] + ' (1.0 MB)\n'


def test_bar_with_rate_and_remaining_time_on_a_terminal(url, path):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    with messages_to(screen):
        download(url, path)
    assert '127.0.0.1' in screen.getvalue() and '1.0/1.0 MB' in screen.getvalue()


@pytest.mark.parametrize(('status', 'tries', 'reason'), [
    (404, 1, 'the server answers 404 (Not Found)'), (403, 1, 'answers 403 (Forbidden)'),
    (503, 4, 'the server answers 503 (Service Unavailable)')])
def test_refused(server, url, path, status, tries, reason):
    server.faults = [status] * 4
    with pytest.raises(UsageError) as error:
        download(url, path, GOOD)
    assert str(error.value).startswith(f'{url}: ') and reason in str(error.value)
    assert f'put the file at {path}' in str(error.value) and '\n' not in str(error.value)
    assert len(server.requests) == tries and left(path) == []


def test_busy_server_is_asked_again(server, url, path):
    server.faults = [503, 429]
    assert download(url, path, GOOD) == GOOD
    assert len(server.requests) == 3


def test_broken_connection_is_resumed(server, url, path):
    server.faults = ['cut', 'cut']
    assert download(url, path, GOOD) == GOOD
    half, quarter = len(DATA) // 2, len(DATA) // 4
    assert [start for _, start in server.requests] == [
        None, f'bytes={half}-', f'bytes={half + quarter}-']
    assert left(path) == ['file.pkl']


def test_interrupted_download_is_no_file_and_is_resumed_by_the_next(server, url, path):
    server.faults = ['cut'] * 4
    with pytest.raises(UsageError, match=r'the connection ended after 960.0 kB of 1.0 MB'):
        download(url, path, GOOD)
    assert left(path) == ['.file.pkl.part', '.file.pkl.part.json']
    assert download(url, path, GOOD) == GOOD
    assert server.requests[-1] == ('/a/file.pkl', f'bytes={len(DATA) * 15 // 16}-')
    assert left(path) == ['file.pkl']


def test_changed_file_starts_from_its_beginning(server, url, path):
    server.faults = ['cut'] * 4
    with pytest.raises(UsageError):
        download(url, path)
    server.files['/a/file.pkl'] = DATA[::-1]
    download(url, path)
    assert path.read_bytes() == DATA[::-1]


def test_part_of_another_address_is_not_continued(server, url, path):
    server.faults = ['cut'] * 4
    with pytest.raises(UsageError):
        download(url, path)
    server.files['/b'] = DATA
    assert download(f'{server.url}/b', path) == GOOD
    assert server.requests[-1] == ('/b', None)


def test_nothing_is_left_where_the_server_cannot_resume(server, url, path):
    server.etags, server.faults = False, ['cut'] * 4
    with pytest.raises(UsageError, match='the connection ended after 512.0 kB'):
        download(url, path, GOOD)
    assert left(path) == []
    assert [start for _, start in server.requests] == [None] * 4


def test_silent_server(server, url, path, monkeypatch):
    monkeypatch.setattr(module, 'STALLED', 0.2)
    server.faults = ['stall'] * 4
    with pytest.raises(UsageError, match=r'the connection broke after 960.0 kB \(no data for 0.2'):
        download(url, path, GOOD)
    assert 'file.pkl' not in left(path)
    server.faults = ['stall']
    assert download(url, path, GOOD) == GOOD


@pytest.mark.parametrize(('facts', 'text'), [
    (FileFacts(md5='000000'), f'its MD5 begins with {MD5[:8]}, that of the published file with '
     '000000'),
    (FileFacts(sha256='1' * 64), f'its SHA-256 begins with {SHA256[:16]}, that of the'),
    (FileFacts(size=17), f'the server has {len(DATA)} bytes, the published file has 17')])
def test_another_file(server, url, path, facts, text):
    with pytest.raises(UsageError) as error:
        download(url, path, facts)
    assert text in str(error.value) and 'nothing is kept' in str(error.value)
    assert left(path) == []
    path.write_bytes(DATA)
    with pytest.raises(UsageError, match='; remove it$'):
        check_file(path, facts)


@pytest.mark.parametrize('fault', ['page', 'page as file'])
def test_page_in_place_of_a_file(server, url, path, fault):
    server.faults = [fault]
    with pytest.raises(UsageError, match='sends a page instead of the file: open the address in a '
                       'browser.*put the file at') as error:
        download(url, path)
    assert '\n' not in str(error.value) and left(path) == []


def test_empty_file(server, path):
    server.files['/empty'] = b''
    with pytest.raises(UsageError, match='the file is empty; nothing is kept'):
        download(f'{server.url}/empty', path)
    assert left(path) == []


def test_no_server(server, path):
    server.close()
    with pytest.raises(UsageError, match=r'no connection \(.*refused\); put the file at'):
        download(f'{server.url}/x', path)


def test_no_address(path, monkeypatch):
    monkeypatch.setenv(module.MIRROR_VARIABLE, 'no address')
    with pytest.raises(UsageError, match='not an address .* check MMPANSEG_MIRROR'):
        download('https://a.test/x', path)


def test_full_disk(url, path, monkeypatch):
    monkeypatch.setattr(module, 'free_space', lambda folder: 1000)
    with pytest.raises(UsageError, match='needs 1.0 MB, 1.0 kB are free: set MMPANSEG_CACHE'):
        download(url, path)
    assert left(path) == []


def test_folder_is_gone(url, tmp_path):
    with pytest.raises(UsageError, match='cannot write .*gone/x.*; set MMPANSEG_CACHE to another'):
        download(url, tmp_path / 'gone/x')


def test_proxy_of_the_environment(server, path, monkeypatch):
    monkeypatch.setenv('http_proxy', server.url)
    monkeypatch.delenv('no_proxy', raising=False)
    monkeypatch.delenv('NO_PROXY', raising=False)
    server.files['http://weights.test/x.pkl'] = DATA
    assert download('http://weights.test/x.pkl', path) == GOOD


def test_addresses(monkeypatch):
    page = 'https://drive.google.com/file/d/1YB_5d-c0/view'
    assert actual_address('https://a.test/b/c.pkl?d=1') == 'https://a.test/b/c.pkl?d=1'
    assert actual_address(page) == ('https://drive.usercontent.google.com/download?id=1YB_5d-c0'
                                    '&export=download&confirm=t')
    monkeypatch.setenv(module.MIRROR_VARIABLE, 'http://mirror.test/pub/')
    assert actual_address('https://a.test/b/c.pkl?d=1') == (
        'http://mirror.test/pub/a.test/b/c.pkl?d=1')
    assert actual_address(page) == 'http://mirror.test/pub/drive.google.com/file/d/1YB_5d-c0/view'


def test_damaged_notes_of_a_part(server, url, path):
    (path.parent / '.file.pkl.part').write_bytes(b'abc')
    for notes in ('{', '[]', json.dumps(dict(url='other', validator='"x"'))):
        (path.parent / '.file.pkl.part.json').write_text(notes)
        path.unlink(missing_ok=True)
        assert download(url, path, GOOD) == GOOD


def test_lock_of_a_process_that_ends(tmp_path):
    lock, waited = tmp_path / 'x.lock', []
    code = ('import sys\nfrom pathlib import Path\nfrom mmpanseg.utils.file_lock import exclusive\n'
            f'with exclusive(Path({str(lock)!r}), print): print(1, flush=True); sys.stdin.read()')
    holder = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b'1\n'

    def kill():
        waited.append(True)
        holder.kill()

    with exclusive(lock, kill) as held:
        assert held and waited == [True]
    holder.communicate()


def test_messages_reach_the_screen_while_libraries_are_silent(url, path, capsys):
    from mmpanseg.cli.screen import quiet_start

    with quiet_start() as log:
        print('noise')
        download(url, path)
    assert capsys.readouterr() == ('', f'downloading from {url.split("/")[2]} (1.0 MB)\n')
    assert log.read_text().endswith('noise\n')
