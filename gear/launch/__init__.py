"""How the process of a job begins: alone, by torchrun, on SLURM, or forked from a warm process."""
