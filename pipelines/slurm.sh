#!/bin/bash
# Simulate and reconstruct many skies by Slurm jobs: sbatch pipelines/slurm.sh RECIPE RUN [SKIES [JOBS]]
#
# This job is the one that gives out work; it asks Slurm for JOBS more, each of which takes one sky at a time with all
# of its cores. They may start late, end early and be killed: a sky is begun again, and what is there is never redone.
# Run the same line again to go on. RUN must lie on a disk that all nodes see.
#SBATCH --job-name=lensrec
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=24:00:00
set -euo pipefail
recipe=${1:?give a recipe} run=${2:?give a run directory} skies=${3:-500} jobs=${4:-20}

# What a worker is; `lensrec info RECIPE` says how much memory it takes. Or write these into ~/.config/dask/jobqueue.yaml.
export DASK_JOBQUEUE__SLURM__CORES=${CORES:-16}
export DASK_JOBQUEUE__SLURM__MEMORY=${MEMORY:-32GB}
export DASK_JOBQUEUE__SLURM__WALLTIME=${WALLTIME:-04:00:00}
if [ -n "${QUEUE:-}" ]; then export DASK_JOBQUEUE__SLURM__QUEUE=$QUEUE; fi
if [ -n "${ACCOUNT:-}" ]; then export DASK_JOBQUEUE__SLURM__ACCOUNT=$ACCOUNT; fi
# The network between nodes, such as ib0, where it is not the first one:
if [ -n "${INTERFACE:-}" ]; then export DASK_JOBQUEUE__SLURM__INTERFACE=$INTERFACE; fi
# With GPUs, one a worker:
if [ -n "${GPUS:-}" ]; then export DASK_JOBQUEUE__SLURM__JOB_EXTRA_DIRECTIVES="[\"--gres=gpu:1\"]"; fi

lensrec simulate "$recipe" --out "$run" --set "sky.n_sims=$skies" --engine slurm --workers "$jobs"
lensrec reconstruct "$run" --engine slurm --workers "$jobs"
lensrec bandpowers "$run" --engine slurm --workers "$jobs"
