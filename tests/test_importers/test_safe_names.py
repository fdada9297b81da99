"""Names of files: inside their folder and unique on every system, whatever the source has."""
import posixpath

import pytest

from mmpanseg.importers.safe_names import safe_name, unique_names


@pytest.mark.parametrize(('name', 'wanted'), [
    ('a/b.jpg', 'a/b.jpg'), ('../../etc/passwd', 'etc/passwd'), ('/etc/passwd', 'etc/passwd'),
    (r'C:\Users\me\a.jpg', 'Users/me/a.jpg'), (r'..\..\a.jpg', 'a.jpg'),
    ('a/./b//c.png', 'a/b/c.png'),
    ('a/../../b.png', 'a/b.png'), ('', 'unnamed'), ('..', 'unnamed'), ('CON.png', '_CON.png'),
    ('aux', '_aux'), ('ab:c?.png', 'ab_c_.png'), ('a:b.png', 'b.png'),
    ('a\0b\n.png', 'a_b_.png'), ('.hidden', '_hidden'),
    ('dir. /x .png', 'dir/x .png'), ('a.png ', 'a.png'), ('\\\\server\\share\\a.png',
                                                         'server/share/a.png')])
def test_a_name_stays_in_its_folder(name, wanted):
    assert safe_name(name) == wanted
    path = posixpath.normpath(posixpath.join('/dst', safe_name(name)))
    assert path.startswith('/dst/')


@pytest.mark.parametrize('name', ['x' * 300 + '.jpg', 'ü' * 300, 'a/' * 200 + 'b.png',
                                  '\ud800.png', 'a/' + 'b' * 140 + '/c.png'])
def test_long_and_broken_names_are_short_and_encodable(name):
    result = safe_name(name)
    assert len(result.encode()) <= 160 and all(len(part.encode()) <= 100
                                               for part in result.split('/'))
    assert safe_name(name) == result != safe_name(name + 'x')


def test_names_are_unique_without_endings_and_case():
    names = ['a.jpg', 'A.png', 'a.JPG', 'b/c.jpg', 'B/C.jpg', 'd', 'd/e.jpg', 'f/g.jpg', 'f.jpg',
             '../a.jpg', 'a_2.jpg', 'e\u0301.png', '\u00e9.jpg']
    result = unique_names(names)
    assert result == ['a.jpg', 'A_2.png', 'a_3.JPG', 'b/c.jpg', 'B/C_2.jpg', 'd', 'd_2/e.jpg',
                      'f/g.jpg', 'f_2.jpg', 'a_4.jpg', 'a_2_2.jpg', '\u00e9.png', '\u00e9_2.jpg']
    stems = [posixpath.splitext(name)[0].casefold() for name in result]
    assert len(set(stems)) == len(stems)
    assert unique_names(names) == result
