"""Parts for tests, the demonstration and benchmarks, shipped because users of an agent network need them too."""
