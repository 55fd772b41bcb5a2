"""The fuzzer: random deployments and bad days by seed, judged by what must always hold."""
