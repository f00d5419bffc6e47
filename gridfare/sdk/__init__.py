"""What `gridfare.Client` is made of: one file per noun, and `http` below them all."""
