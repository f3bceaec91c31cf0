"""The formats' own readers, asked by tests: the Perfetto engine, perf, babeltrace2. One start for many events."""
