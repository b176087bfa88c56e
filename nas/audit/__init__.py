"""Whether an estimator can be trusted: children trained in full, against what it says of them."""
