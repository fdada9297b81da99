#!/usr/bin/env bash
# Usage: tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# GPUS is the number of processes on this machine; without GPUs they share its cores.
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG GPUS [options of tools/train.py]" >&2
    exit 2
fi
exec "$(dirname "$0")/launch/dist.sh" "$0" "$2" train.py "$1" "${@:3}"
