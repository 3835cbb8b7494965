#!/bin/bash
# Several nodes as one Ray, behind a token. sbatch examples/slurm/many-nodes.sh search_spaces/quickstart.yaml
#SBATCH --job-name=sweeper
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@90
set -eu

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=$(srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 20000))

umask 077
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$PWD/.ray-token-$SLURM_JOB_ID # on a file system that the nodes share
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$RAY_AUTH_TOKEN_PATH"
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"' EXIT

on() { srun --nodes=1 --ntasks=1 --overlap --nodelist="$1" "${@:2}"; }
on "${nodes[0]}" ray start --head --node-ip-address="$head" --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" \
    --include-dashboard=false --block &
sleep 10
for node in "${nodes[@]:1}"; do
    on "$node" ray start --address="$head:$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
done
sleep 10

srun --nodes=1 --ntasks=1 --overlap --nodelist="${nodes[0]}" sweeper launch "$@" --address "$head:$port" &
launch=$! # srun itself, which passes the signal on; a function in the background would be a shell, and end by it
trap 'kill -USR1 "$launch" 2>/dev/null' USR1
set +e
wait "$launch"; code=$?
while kill -0 "$launch" 2>/dev/null; do wait "$launch"; code=$?; done
[ "$code" -eq 138 ] && scontrol requeue "$SLURM_JOB_ID"
exit "$code"
