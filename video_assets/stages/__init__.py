"""What each asset does to a partition, without Dagster."""
