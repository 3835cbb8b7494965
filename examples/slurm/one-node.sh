#!/bin/bash
# One node: Ray starts there and ends there. sbatch examples/slurm/one-node.sh search_spaces/quickstart.yaml
#SBATCH --job-name=sweeper
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@60
set -u

# SLURM signals this shell (B:) a minute before the time limit; the launch, and it alone, is to end: not Ray's processes.
stop() { kill -USR1 "$launch" 2>/dev/null; }
trap stop USR1
trap 'kill -TERM "$launch" 2>/dev/null' TERM

sweeper launch "$@" &
launch=$!
wait "$launch"; code=$?
while kill -0 "$launch" 2>/dev/null; do wait "$launch"; code=$?; done # a trap ends the first wait early

# 138: stopped by SIGUSR1, so there is more to do. The same command continues the sweep.
[ "$code" -eq 138 ] && exec scontrol requeue "$SLURM_JOB_ID"
exit "$code"
