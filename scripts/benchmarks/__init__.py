"""The benchmarks behind scripts/bench: what users feel, each beside its physical limit from the same run."""
