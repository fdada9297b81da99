"""The private folder, and the folders of reports."""
import os
import subprocess
import sys
import tempfile

import pytest

from mmpanseg.engine.command_line import UsageError
from mmpanseg.ui.private_folder import inside, private_folder, remove_files, take_file
from mmpanseg.ui.report_folders import ReportFolders


def test_private_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    monkeypatch.setenv('GRADIO_TEMP_DIR', 'before')
    left = tmp_path / 'mmpanseg-ui-999999999-abc'
    left.mkdir()
    with private_folder() as folder:
        assert not left.exists() and folder.stat().st_mode & 0o777 == 0o700
        assert os.environ['GRADIO_TEMP_DIR'] == str(folder) == tempfile.gettempdir()
        upload = folder / 'hash/a.png'
        upload.parent.mkdir()
        upload.write_bytes(b'123')
        assert take_file(upload, folder) == b'123'
        assert list(folder.iterdir()) == []
        upload.parent.mkdir()
        upload.write_bytes(b'123')
        (folder / 'file').touch()
        remove_files(folder)
        assert list(folder.iterdir()) == []
        (tmp_path / 'secret').write_bytes(b'x')
        for path in (tmp_path / 'secret', folder / '../secret', '/etc/passwd'):
            with pytest.raises(PermissionError):
                inside(path, folder)
    assert not folder.exists() and os.environ['GRADIO_TEMP_DIR'] == 'before'
    assert tempfile.gettempdir() == str(tmp_path)


def test_an_exit_removes_the_folder(tmp_path):
    code = ('import sys; from mmpanseg.ui.private_folder import private_folder\n'
            'context = private_folder()\nfolder = context.__enter__()\n'
            '(folder / "upload").touch()\nprint(folder)\nsys.exit(3)')
    done = subprocess.run([sys.executable, '-c', code], env={**os.environ, 'TMPDIR': str(tmp_path)},
                          capture_output=True, text=True)
    assert done.returncode == 3 and done.stdout.strip().startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def folders(tmp_path):
    for name in ('one', 'all/first', 'all/deep/second', 'outside'):
        (tmp_path / name / 'pictures').mkdir(parents=True)
        (tmp_path / name / 'index.html').write_text(name)
        (tmp_path / name / 'pictures/a b.png').write_bytes(b'png')
    (tmp_path / 'one/.hidden.json').write_text('{}')
    (tmp_path / 'one/model.pth').write_bytes(b'weights')
    (tmp_path / 'one/link.png').symlink_to(tmp_path / 'outside/pictures/a b.png')
    (tmp_path / 'all/linked').symlink_to(tmp_path / 'outside')
    (tmp_path / 'all/empty').mkdir()
    return ReportFolders([tmp_path / 'one'], [tmp_path / 'all']), tmp_path


def test_reports_are_found(folders):
    reports, path = folders
    assert [(one.key, one.title) for one in reports.list()] == [
        ('r0', 'one'), ('p0-deep~second', 'deep/second'), ('p0-first', 'first')]
    assert reports.file('r0', '') == (path / 'one/index.html', 'text/html')
    assert reports.file('p0-deep~second', 'pictures/a b.png') == (
        path / 'all/deep/second/pictures/a b.png', 'image/png')
    # one that is written later
    (path / 'all/new').mkdir()
    (path / 'all/new/index.html').touch()
    assert reports.list()[-1].title == 'new'


@pytest.mark.parametrize('key, path', [
    ('r0', '../outside/index.html'), ('r0', '/etc/passwd'), ('r0', 'pictures/../../outside'),
    ('r0', 'link.png'), ('r0', '.hidden.json'), ('r0', 'model.pth'), ('r0', 'pictures'),
    ('r0', 'gone.png'), ('r0', 'index.html\x00'), ('r1', ''), ('..', ''), ('p0-linked', ''),
    ('p0-..~outside', ''), ('p0-../outside', '')])
def test_nothing_else_is_sent(folders, key, path):
    with pytest.raises(FileNotFoundError):
        folders[0].file(key, path)


def test_folders_without_reports(tmp_path):
    with pytest.raises(UsageError, match='has no index.html'):
        ReportFolders([tmp_path])
    with pytest.raises(UsageError, match='--reports .*gone is no folder'):
        ReportFolders([], [tmp_path / 'gone'])
