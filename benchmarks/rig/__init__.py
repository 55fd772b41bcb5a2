"""What several benchmarks share: samples, servers, robots, hot paths, a taught policy."""
