"""The server without a browser: what it refuses, its end, its ports, the verb."""
import http.client
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from mmpanseg.cli.app import main
from mmpanseg.engine.command_line import UsageError
from mmpanseg.ui.run import require_gradio

from .conftest import Served


def request(server, path, method='GET', body=None, **headers):
    """Status, headers and body of an answer; the path is sent as it is."""
    connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()


@pytest.mark.slow
def test_answers(served):
    status, headers, body = request(served, '/')
    assert status == 200 and b'mmpanseg' in body and headers['cache-control'] == 'no-store'
    assert "default-src 'self'" in headers['content-security-policy']
    # names that lead elsewhere are nothing that a browser loads
    assert b'fonts.googleapis' not in body and b'<script src="http' not in body
    status, headers, body = request(served, '/app/example/0.jpg')
    assert status == 200 and body.startswith(b'\xff\xd8')
    for path in ('/app/example/99.jpg', '/app/page/none/1/image/0.jpg', '/app/page/none/1/frame/0',
                 '/app/page/none/1/files/picture.png', '/app/report/p0-gone/',
                 '/app/report/p0-first/../../../etc/passwd', '/app/report/p0-first/%2e%2e/second/',
                 '/app/report/p0-first/..%2fsecond%2findex.html', '/app/report//etc/passwd',
                 '/docs', '/openapi.json', '/gradio_api/file=/etc/passwd'):
        status, _, body = request(served, path)
        assert status in (403, 404), path
        assert b'root:' not in body and b'Traceback' not in body
    status, headers, body = request(served, '/app/report/p0-first/')
    assert status == 200 and b'<h1>first' in body
    assert headers['content-security-policy'] == 'sandbox allow-scripts'


@pytest.mark.slow
def test_other_sites(served):
    """A page elsewhere can neither call the server by its own name nor send files to it."""
    assert request(served, '/', Host='evil.example')[0] == 403
    assert request(served, '/gradio_api/upload', 'POST', b'', Origin='http://evil.example')[0] == (
        403)
    assert request(served, '/', Host='localhost')[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_port_and_end(model_files, tmp_path, number):
    pytest.importorskip('gradio', reason='gradio is not installed')
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = Served(tmp_path, '--port', str(port), '--model', model_files('mask2former'))
    assert f'Port {port} is in use; this is the next free one.' in server.said
    assert server.address.startswith('http://127.0.0.1:')
    assert urlsplit(server.address).port > port
    assert list(server.temporary.iterdir())
    assert server.end(number) == 0
    assert list(server.temporary.iterdir()) == []
    assert server.spied.read_text() == ''


@pytest.mark.slow
def test_other_machines(model_files, tmp_path):
    pytest.importorskip('gradio', reason='gradio is not installed')
    server = Served(tmp_path, '--port', '0', '--host', '0.0.0.0',
                    '--model', model_files('mask2former'))
    assert 'Warning: --host 0.0.0.0 lets every machine' in ' '.join(server.said)
    server.end()


def test_without_gradio(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'mmpanseg\[ui\]'"):
        require_gradio()


def test_mistakes_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv('MMPANSEG_CACHE', str(tmp_path))
    pytest.importorskip('gradio', reason='gradio is not installed')
    for arguments, text in ((['--model', 'no-such-model'], 'neither a file nor a model'),
                            (['--offline', '--report', str(tmp_path)], 'has no index.html')):
        done = CliRunner().invoke(main, ['ui', *arguments])
        assert done.exit_code == 1 and text in done.output, done.output


def test_the_page_is_not_needed_for_the_rest():
    code = ('import sys, mmpanseg.ui.workbench, mmpanseg.ui.downloads, mmpanseg.ui.run; '
            'assert not {"gradio", "uvicorn", "fastapi"} & set(sys.modules)')
    subprocess.run([sys.executable, '-c', code], check=True)
