"""What `model` needs besides its equations: options, checked inputs, the cache, hooks, and what makes it fast."""
