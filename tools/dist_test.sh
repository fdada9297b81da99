#!/usr/bin/env bash
# Usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# GPUS is the number of processes on this machine; without GPUs they share its cores.
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [options of tools/test.py]" >&2
    exit 2
fi
exec "$(dirname "$0")/launch/dist.sh" "$0" "$3" test.py "$1" "$2" "${@:4}"
