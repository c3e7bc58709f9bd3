"""What the chain costs, each figure beside a named peer in the same run: `python -m benchmarks.chain`."""
