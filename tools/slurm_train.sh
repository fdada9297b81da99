#!/usr/bin/env bash
# Usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]
# Environment: GPUS (all, default 8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS, MASTER_PORT.
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]" >&2
    exit 2
fi
exec "$(dirname "$0")/launch/slurm.sh" "$1" "$2" train.py "$3" --work-dir "$4" "${@:5}"
