"""The parts of benchmarks/gpu.py. Each module has `rows(context)`, a generator of report.row."""
