#!/usr/bin/env bash
# Usage: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]
# Environment: GPUS (all, default 8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS, MASTER_PORT.
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]" >&2
    exit 2
fi
exec "$(dirname "$0")/launch/slurm.sh" "$1" "$2" test.py "$3" "$4" "${@:5}"
