"""Hooks that tell a recurrent block where it is: each starts as the identity."""
