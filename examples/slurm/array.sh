#!/bin/bash
# One sweep a task of a job array, each with a name of its own. sbatch examples/slurm/array.sh search_spaces/*.yaml
#SBATCH --job-name=sweeper
#SBATCH --array=0-3
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@60
set -u
spaces=("$@")
space=${spaces[$SLURM_ARRAY_TASK_ID]}
trap 'kill -TERM "$launch" 2>/dev/null' TERM
sweeper launch "$space" --set "name=$(basename "$space" .yaml)-$SLURM_ARRAY_JOB_ID" &
launch=$!
wait "$launch"; code=$?
while kill -0 "$launch" 2>/dev/null; do wait "$launch"; code=$?; done
exit "$code"
