"""One module per phase: its rules, each a function of the world, and the chain that orders them."""
