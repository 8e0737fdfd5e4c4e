"""The plan, the graph, the executors and the cluster."""
