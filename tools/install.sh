#!/usr/bin/env bash
# Installs mmpanseg and everything it needs into a virtual environment; see usage below.
set -euo pipefail

TORCH=2.13.0
MMENGINE=0.10.12
MMCV=2.3.6
MMDET=3.5.1
CPU_TORCH_GB=3        # free disk for the whole environment with a CPU-only torch
STANDARD_TORCH_GB=12  # the same with the torch that brings CUDA's libraries

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=.venv
WITH_OPS=
HEARTBEAT=

usage() {
  cat <<'TEXT'
usage: tools/install.sh [VENV] [--with-ops]

Makes the virtual environment VENV (default .venv) with torch, mmengine, mmcv, mmdet and this
checkout of mmpanseg. What VENV already has stays, so a second run takes seconds, and a torch of
your own (with CUDA, say) is kept: install it into VENV first.

  --with-ops   also get mmcv's compiled operators: from a wheel where PIP_FIND_LINKS offers one
               that fits, else compiled here (about 12 minutes on 2 cores, needs a C++ compiler)

Environment: PYTHON names the Python to use (3.10 to 3.13); pip's own variables work as usual.
TEXT
}

say() { printf '[%3ds] %s\n' "$SECONDS" "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
in_venv() { "$VENV/bin/python" "$@"; }

# True for Python 3.10 to 3.13.
python_fits() {
  "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
  local candidate
  if [[ -n ${PYTHON:-} ]]; then
    command -v "$PYTHON" >/dev/null || die "PYTHON=$PYTHON is not a program: set PYTHON to the path of Python 3.10 to 3.13"
    python_fits "$PYTHON" || die "PYTHON=$PYTHON is $("$PYTHON" --version 2>&1 || true), but mmpanseg needs Python 3.10 to 3.13"
    return
  fi
  for candidate in python3 python3.12 python3.11 python3.13 python3.10 python; do
    if command -v "$candidate" >/dev/null && python_fits "$candidate"; then
      PYTHON=$candidate
      return
    fi
  done
  die "no Python 3.10 to 3.13 found ($(python3 --version 2>&1 || true)): install one, or set PYTHON to its path"
}

need_disk() {  # GB
  local folder=$VENV free
  while [[ ! -d $folder ]]; do folder=$(dirname "$folder"); done
  free=$(df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1048576) }')
  ((free >= $1)) || die "not enough disk space for $VENV: $1 GB needed, $free GB free in $(cd "$folder" && pwd)"
}

stop_heartbeat() {
  [[ -z $HEARTBEAT ]] || kill "$HEARTBEAT" 2>/dev/null || true
  HEARTBEAT=
}
trap stop_heartbeat EXIT

# Run quietly, with a line every 30 seconds; output goes to the log and, of this command alone, to LAST.
logged() {
  local status=0
  # a sleep that outlives its loop must not hold on to a pipe that we write to
  (while sleep 30 <&- >/dev/null 2>&1; do say '  ... still at it'; done) &
  HEARTBEAT=$!
  "$@" >"$LAST" 2>&1 </dev/null || status=$?
  stop_heartbeat
  { printf '\n$ %s\n' "$*"; cat "$LAST"; } >>"$LOG"
  return "$status"
}

pip() { logged in_venv -m pip --disable-pip-version-check install "$@"; }

network_failed() { grep -qE 'connection broken by|Max retries exceeded|NewConnectionError|ProxyError|Read timed out' "$LAST"; }

# One line on why the last pip failed, then exit.
die_of_pip() {  # what
  if network_failed; then
    die "no network: pip cannot reach its package index to install $1 (log: $LOG)"
  elif grep -q 'No space left on device' "$LAST"; then
    die "disk full while installing $1 (log: $LOG)"
  fi
  die "installing $1 failed: $(grep -E '^ *(ERROR|error):' "$LAST" | head -n 1 || true) (log: $LOG)"
}

installed() {  # distribution -> its version, empty when absent
  in_venv -c 'import sys
from importlib import metadata
try:
    print(metadata.version(sys.argv[1]))
except metadata.PackageNotFoundError:
    pass' "$1"
}

has_ops() { in_venv -c 'import torch, mmcv._ext' >/dev/null 2>&1; }

# True when nothing is left to do, but for the operators.
complete() {
  in_venv - "$ROOT" "$MMENGINE" "$MMCV" "$MMDET" 2>/dev/null <<'PY'
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

root, mmengine, mmcv, mmdet = sys.argv[1:]
pinned = {'onedl-mmengine': mmengine, 'onedl-mmcv': mmcv, 'onedl-mmdetection': mmdet}
assert all(metadata.version(name) == version for name, version in pinned.items())
for name in ('torch', 'pytest', 'pytest-xdist', 'transformers'):
    metadata.version(name)
# the editable install of this very checkout: the working directory must not count
sys.path = [path for path in sys.path if path]
assert metadata.version('mmpanseg')
assert Path(find_spec('mmpanseg').origin).parents[1].samefile(root)
PY
}

make_venv() {
  if [[ -x $VENV/bin/python ]]; then
    python_fits "$VENV/bin/python" || die "$VENV has $(in_venv --version 2>&1 || true), but mmpanseg needs Python 3.10 to 3.13: remove it or name another folder"
    say "1/4 virtual environment $VENV: there"
    return
  fi
  [[ ! -e $VENV || -z $(ls -A "$VENV") ]] || die "$VENV exists and is not a virtual environment: name another folder"
  find_python
  need_disk "$CPU_TORCH_GB"
  say "1/4 virtual environment $VENV with $("$PYTHON" --version 2>&1)"
  "$PYTHON" -m venv "$VENV" >/dev/null 2>&1 || {
    rm -rf "$VENV"
    die "$PYTHON cannot make a virtual environment: install its venv module (Debian, Ubuntu: apt install python3-venv)"
  }
}

install_torch() {
  local found family
  for family in mmengine mmcv mmdet; do
    found=$(installed "$family")
    [[ -z $found ]] || die "$VENV holds the official $family $found, whose files onedl's would overwrite: name another folder, or use \`pip install -e '.[openmmlab,test]'\` there"
  done
  found=$(installed torch)
  if [[ -n $found ]]; then
    in_venv -c 'import sys; sys.exit(tuple(map(int, sys.argv[1].split(".")[:2])) < (2, 6))' "$found" ||
      die "$VENV has torch $found, but mmpanseg needs 2.6 or newer"
    say "2/4 torch $found: there"
    return
  fi
  need_disk "$CPU_TORCH_GB"
  say "2/4 torch $TORCH"
  # pip before 22 cannot install a project without setup.py in editable mode
  pip 'pip>=22' || die_of_pip pip
  if [[ $(uname -s) == Linux ]]; then
    pip "torch==$TORCH+cpu" && return
    if network_failed || ! grep -q 'No matching distribution found for torch' "$LAST"; then
      die_of_pip torch
    fi
    say "  no CPU-only torch in pip's sources; taking the standard one, which brings CUDA (see docs/install.md)"
    need_disk "$STANDARD_TORCH_GB"
  fi
  pip "torch==$TORCH" || die_of_pip torch
}

install_packages() {
  if complete; then
    say '3/4 mmengine, mmcv, mmdet, mmpanseg: there'
    return
  fi
  need_disk 1
  say "3/4 mmengine $MMENGINE, mmcv $MMCV, mmdet $MMDET, mmpanseg"
  pip --editable "$ROOT[onedl,test]" || die_of_pip 'mmengine, mmcv, mmdet and mmpanseg'
  if ! in_venv -c 'import cv2' >"$LAST" 2>&1 && grep -q libGL "$LAST"; then
    say '  no libGL here: OpenCV without windows takes the place of the one with'
    pip --force-reinstall --no-deps "opencv-python-headless==$(installed opencv-python)" || die_of_pip opencv-python-headless
  fi
}

install_ops() {
  if [[ -z $WITH_OPS ]]; then
    say '4/4 compiled operators: not asked for'
    return
  elif has_ops; then
    say '4/4 compiled operators: there'
    return
  fi
  # pip may have built and cached a wheel without operators: never take that one
  local fresh=(--force-reinstall --no-deps --no-cache-dir)
  say '4/4 compiled operators: looking for a wheel'
  if pip "${fresh[@]}" --only-binary onedl-mmcv "onedl-mmcv==$MMCV" && has_ops; then
    return
  fi
  command -v "${CXX:-c++}" >/dev/null || die "no wheel with mmcv's operators fits, and there is no C++ compiler to build them: install one (Debian, Ubuntu: apt install g++), or set CXX"
  say '4/4 compiled operators: no wheel fits, compiling (about 12 minutes on 2 cores)'
  pip 'setuptools>=80' wheel ninja 'packaging>=24.2' || die_of_pip 'the build tools'
  # mmcv compiles its operators wherever the build sees torch, and finds ninja on PATH
  PATH="$(cd "$VENV/bin" && pwd):$PATH" MAX_JOBS=${MAX_JOBS:-$(getconf _NPROCESSORS_ONLN)} \
    pip "${fresh[@]}" --no-build-isolation --no-binary onedl-mmcv "onedl-mmcv==$MMCV" ||
    die_of_pip "mmcv's operators"
  has_ops || die "mmcv's operators were compiled but do not import: $(in_venv -c 'import torch, mmcv._ext' 2>&1 | tail -n 1) (log: $LOG)"
}

print_versions() {
  in_venv - <<'PY'
import platform
import sys

import mmcv
import mmdet
import mmengine
import torch

try:
    import mmcv._ext
    compiled = 'yes'
except ImportError:
    compiled = 'no'
sys.path = [path for path in sys.path if path]
import mmpanseg

rows = {
    'python': platform.python_version(),
    'torch': torch.__version__,
    'mmengine': mmengine.__version__,
    'mmcv': f'{mmcv.__version__}   operators compiled: {compiled}',
    'mmdet': mmdet.__version__,
    'mmpanseg': mmpanseg.__version__,
}
for name, version in rows.items():
    print(f'  {name:10}{version}')
PY
}

for argument in "$@"; do
  case $argument in
    --with-ops) WITH_OPS=1 ;;
    -h | --help) usage; exit ;;
    -*) die "unknown option $argument (tools/install.sh --help)" ;;
    *) VENV=$argument ;;
  esac
done

make_venv
LOG=$VENV/install.log
LAST=$VENV/install.last.log
install_torch
install_packages
install_ops
rm -f "$LAST"
say 'ready:'
print_versions || die "mmpanseg does not import in $VENV (see above)"
