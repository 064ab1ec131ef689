"""Redis, MongoDB and Cassandra under the same operations: samples, and what they say."""
