"""The benchmarks: what they count is there, what they tell is so, and the guard bites."""
