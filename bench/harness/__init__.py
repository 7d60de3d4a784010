"""What `bench/run` is made of: parties, load, scenarios, report."""
