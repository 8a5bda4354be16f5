"""The benchmark: how well the law controls, and what the agent costs, beside others in one run."""
