"""Every command that the documentation shows is one that its tool takes."""
import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path

import click
import pytest
import yaml
from blocks import ROOT, Block, all_blocks, blocks_of

from mmpanseg.cli.app import main
from mmpanseg.engine import load_config


class Parsed(Exception):
    """Ends a tool as soon as its arguments are parsed."""


def page_variables(page: str) -> dict[str, str]:
    """CONFIG and the like, as the page or (for tests of one line) its blocks set them."""
    text = '\n'.join(b.text for b in all_blocks() if b.page == page and b.kind == 'commands')
    return dict(re.findall(r'^([A-Z]+)=(\S+)$', text, re.M))


def commands(block: Block) -> list[list[str]]:
    """The block's commands in words: variables filled in, environment and comments left out."""
    variables = page_variables(block.page)
    found = []
    for line in block.text.replace('\\\n', ' ').splitlines():
        for name, value in variables.items():
            line = line.replace(f'${name}', value)
        words = shlex.split(line, comments=True)
        if '|' in words:
            words = words[words.index('|') + 1:]
        while words and re.fullmatch(r'\w+=.*', words[0]):
            words.pop(0)
        if words:
            found.append(words)
    return found


def parse_with(tool: str, arguments: list[str], monkeypatch) -> argparse.Namespace:
    """What a tool's own parser makes of the arguments; it ends there."""
    original, parsed = argparse.ArgumentParser.parse_args, []

    def parse_args(self, *args, **kwargs):
        parsed.append(original(self, *args, **kwargs))
        raise Parsed

    with monkeypatch.context() as patch, pytest.raises(Parsed):
        patch.setattr(argparse.ArgumentParser, 'parse_args', parse_args)
        patch.setattr(sys, 'argv', [tool, *arguments])
        if tool.endswith('.py'):
            runpy.run_path(str(ROOT / tool), run_name='__main__')
        else:
            runpy.run_module(tool, run_name='__main__')
    return parsed[0]


def check_python(words: list[str], monkeypatch) -> None:
    """python TOOL ARGS, python -m MODULE ARGS: parsed by the tool, and its overrides apply."""
    tool, arguments = (words[2], words[3:]) if words[1] == '-m' else (words[1], words[2:])
    if tool == 'venv':
        return
    if '--help' in arguments:
        with pytest.raises(SystemExit) as done:
            monkeypatch.setattr(sys, 'argv', [tool, '--help'])
            runpy.run_path(str(ROOT / tool), run_name='__main__')
        assert done.value.code == 0
        return
    args = parse_with(tool, arguments, monkeypatch)
    config = getattr(args, 'config', None)
    if config is not None and not re.fullmatch('[A-Z]+|my_config.py', config):
        load_config(str(ROOT / config), getattr(args, 'cfg_options', None))


def check_shell(words: list[str], monkeypatch) -> None:
    """tools/dist_*.sh, slurm_*.sh: executable, the rest is understood by train.py or test.py."""
    script = ROOT / words[0]
    assert script.is_file() and script.stat().st_mode & 0o100, words[0]
    match = re.fullmatch(r'tools/(dist|slurm)_(train|test)\.sh', words[0])
    if not match:
        assert words[0] == 'tools/install.sh'
        assert all(word in script.read_text() for word in words[1:] if word.startswith('--'))
        return
    launcher, kind = match.groups()
    arguments = words[1:]
    if launcher == 'slurm':  # PARTITION JOB_NAME CONFIG (WORK_DIR | CHECKPOINT) ...
        arguments = arguments[2:] if kind == 'test' else arguments[2:3] + arguments[4:]
    else:  # the number of processes stands behind config (and checkpoint)
        count = arguments.pop(1 if kind == 'train' else 2)
        assert count.isdigit()
    check_python(['python', f'tools/{kind}.py', *arguments], monkeypatch)


def check_verb(words: list[str]) -> None:
    """mmpanseg VERB ARGS: parsed by the verb."""
    if words[1].startswith('-'):
        assert words[1:] in (['--help'], ['--version'])
        return
    command = main.get_command(click.Context(main), words[1])
    assert command is not None, f'mmpanseg has no verb {words[1]}'
    command.make_context(words[1], words[2:])


def published_files() -> set[str]:
    """Addresses of weights in the metafiles."""
    return {address for path in ROOT.glob('configs/*/metafile.yml')
            for address in re.findall(r'Weights: (\S+)', path.read_text())}


def check_pip(words: list[str]) -> None:
    """pip install: what comes from here has the extras that are named."""
    assert words[1] == 'install'
    project = (ROOT / 'pyproject.toml').read_text()
    for word in words[2:]:
        for extra in re.findall(r'\[(.*)\]', word):
            assert all(f'\n{name} = [' in project for name in extra.split(',')), word
        if word.startswith(('torch==', 'mmdet==', 'mmcv-lite==')):
            assert re.fullmatch(r'[\w-]+==\d+\.\d+\.\d+', word)


@pytest.mark.parametrize('block', blocks_of('commands'), ids=str)
def test_commands_are_understood(block, monkeypatch):
    assert commands(block) or block.text.startswith('CONFIG=')
    for words in commands(block):
        program = Path(words[0]).name
        if program in ('python', 'python3'):
            check_python(words, monkeypatch)
        elif program == 'pip':
            check_pip(words)
        elif program == 'source':
            assert words[1:] == ['.venv/bin/activate']
        elif program == 'mmpanseg':
            check_verb(words)
        elif words[0].startswith('tools/'):
            check_shell(words, monkeypatch)
        elif program == 'make':
            assert f'\n{words[1]}:' in (ROOT / 'Makefile').read_text()
        elif program in ('wget', 'gdown'):
            address = next(word for word in words if '://' in word)
            assert address in published_files()
        else:
            assert program == 'mim', f'{block}: {words[0]} is checked by nothing'
            names = {model['Name'] for path in ROOT.glob('configs/*/metafile.yml')
                     for model in yaml.safe_load(path.read_text())['Models']}
            assert words[2] == 'mmpanseg'
            assert words[1] == 'search' or words[words.index('--config') + 1] in names


@pytest.mark.parametrize('line, text', [
    ('python tools/train.py CONFIG --fast', 'unrecognized arguments: --fast'),
    ('python tools/test.py CONFIG', 'required: checkpoint')])
def test_a_wrong_command_is_noticed(line, text, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        check_python(line.split(), monkeypatch)
    assert text in capsys.readouterr().err


def test_a_wrong_verb_or_option_is_noticed():
    with pytest.raises(AssertionError, match='no verb paint'):
        check_verb(['mmpanseg', 'paint'])
    with pytest.raises(click.UsageError, match='--jsom'):
        check_verb(['mmpanseg', 'models', '--jsom'])


def test_paths_of_the_documentation_exist():
    for block in all_blocks():
        pattern = r'(?:configs|tools|docs|projects)/[\w./-]+\.(?:py|sh|md)'
        for path in re.findall(pattern, block.text):
            assert (ROOT / path).is_file(), f'{block}: {path} does not exist'
