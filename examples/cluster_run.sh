#!/usr/bin/env bash
# A run on a Dask cluster that you start yourself. Here the whole cluster is on this machine (127.0.0.1).
#
#     bash examples/cluster_run.sh IMAGE.zarr --diameter 8 [more options of bigcp3d segment]
#
# On several machines: start the scheduler on one of them, with its address in place of 127.0.0.1. Start workers on all
# of them. All need the same bigcp3d, and a file system that all see at the same paths. Whoever reaches the scheduler
# can run any code as you, so use a private network, or --tls (bigcp3d segment --help).
#
# On SLURM, LSF, PBS or SSH, bigcp3d starts and ends scheduler and workers by itself:
#
#     bigcp3d segment IMAGE.zarr --diameter 8 --cluster slurm --cluster-config deploy/slurm.yaml --workers 64
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit 2; }

room=$(mktemp -d)
scheduler= workers=
finish() { # workers first, so that they can say goodbye
    for process in $workers $scheduler; do kill "$process" 2>/dev/null && wait "$process" || true; done
    rm -rf "$room"
}
trap finish EXIT
export DASK_LOGGING__DISTRIBUTED=warning # Dask greets at length otherwise

# --scheduler-file: workers and bigcp3d read the address there, so that any free port will do.
dask scheduler --host 127.0.0.1 --port 0 --dashboard-address 127.0.0.1:0 --scheduler-file "$room/scheduler.json" &
scheduler=$!

# One thread a worker, and the memory that it may use: bigcp3d plans with that, and refuses blocks that do not fit.
# Where a worker has a GPU, start it with --resources "GPU=1" as well; predictions then go to such workers alone.
dask worker --scheduler-file "$room/scheduler.json" --host 127.0.0.1 --nworkers 2 --nthreads 1 --memory-limit 3GiB \
    --local-directory "$room" &
workers=$!

until [ -s "$room/scheduler.json" ]; do sleep 0.2; done
address=$(grep -o 'tcp://[0-9.:]*' "$room/scheduler.json" | head -n 1)

# Should it stop for any reason, the same command carries on, on this cluster or another; the labels are the same.
bigcp3d segment "$@" --scheduler "$address"
