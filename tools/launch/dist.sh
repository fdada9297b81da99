#!/usr/bin/env bash
# Starts processes on this machine; used by tools/dist_train.sh and tools/dist_test.sh.
# Usage: dist.sh CALLER GPUS SCRIPT CONFIG [arguments of SCRIPT]
set -euo pipefail

CALLER=$1
GPUS=$2
SCRIPT=$3
CONFIG=$4
shift 4
if [ ! -f "$CONFIG" ]; then
    echo "$CALLER: error: config file $CONFIG does not exist" >&2
    exit 1
fi
if ! [[ $GPUS =~ ^[1-9][0-9]*$ ]]; then
    echo "$CALLER: error: GPUS must be a positive number, got '$GPUS'" >&2
    exit 2
fi

TOOLS=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=${PYTHON:-python}
NNODES=${NNODES:-1}
if [ -z "${PORT:-}" ]; then
    if [ "$NNODES" -gt 1 ]; then
        PORT=29500
    else
        # Two runs on one machine must not meet on the same port.
        PORT=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    fi
fi
if [ -z "${OMP_NUM_THREADS:-}" ]; then
    # Every process would otherwise start a thread per core.
    CORES=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
    export OMP_NUM_THREADS=$((CORES > GPUS ? CORES / GPUS : 1))
fi

export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" "$TOOLS/launch/run_processes.py" \
    --nnodes="$NNODES" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$GPUS" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="$PORT" \
    "$TOOLS/$SCRIPT" "$CONFIG" "$@" --launcher pytorch
