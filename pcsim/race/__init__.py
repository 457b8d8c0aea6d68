"""Who reaches a goal first: contenders tuned with the same effort, and what it cost them."""
