#!/bin/bash
# The same in one MPI job: sbatch pipelines/mpi.sh RECIPE RUN [SKIES]. Needs lensrec[mpi] and an MPI library.
#
# Rank 0 gives out work, rank 1 is the command, and each of the others takes one sky at a time: N ranks are N - 2 workers.
#SBATCH --job-name=lensrec
#SBATCH --ntasks=18
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=4G
#SBATCH --time=04:00:00
set -euo pipefail
recipe=${1:?give a recipe} run=${2:?give a run directory} skies=${3:-500}
export LENSREC_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

# Outside Slurm: LAUNCH="mpirun -n 18" bash pipelines/mpi.sh ...
launch=${LAUNCH-srun}
$launch lensrec simulate "$recipe" --out "$run" --set "sky.n_sims=$skies" --engine mpi
$launch lensrec reconstruct "$run" --engine mpi
$launch lensrec bandpowers "$run" --engine mpi
