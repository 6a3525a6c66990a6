#!/bin/bash
# A training on several machines under SLURM, which goes on after the time limit or a preemption:
#   sbatch --nodes=2 scripts/slurm.sh -opt options/train/smilenet_25.yml
#SBATCH --job-name=hiding
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# To this script alone, two minutes before the end. It passes the signal on as SIGTERM.
#SBATCH --signal=B:TERM@120

set -u
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
resume=()
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ]; then
    resume=(--resume)
fi

srun torchrun --nnodes="$SLURM_NNODES" --nproc_per_node="${SLURM_GPUS_ON_NODE:-8}" --max-restarts=3 \
    --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$first:29500" \
    train.py "$@" "${resume[@]}" &
training=$!

# All processes finish the step, the first one saves; then SLURM starts the job again, with --resume.
requeue() {
    scancel --signal=TERM "$SLURM_JOB_ID.0"
    wait "$training"
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}
trap requeue TERM
wait "$training"
