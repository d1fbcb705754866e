"""What a study asks for, computed while Snakemake parses: nothing in here imports torch."""
